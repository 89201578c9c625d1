"""`atrium payments …`: how money stands, events processed anew, repairs from the provider, refunds, decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import commands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from actions.billing.desk import Person, Status
    from tenancy.context import House

NO_REASON = "no reason was given"
AGO = {"m": 60, "h": 3_600, "d": 86_400}
RECONCILED_AGO = "4d"
# Why a person has to decide, by ParkReason.
PARKED = {
    "AMOUNT": "another amount or currency was paid than was asked for",
    "ERASED": "the tenant is erased",
    "PAID_TWICE": "the purchase was paid twice",
}

Since = Annotated[
    str | None, typer.Option(help="A moment (2026-01-31, 2026-01-31T12:00Z) or how long ago (90m, 12h, 3d).")
]
Reason = Annotated[str | None, typer.Option(help="Why; written down with your name.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Money: status, replay, reconcile, refund, resolve.", no_args_is_help=True)
    for name, command in (
        ("status", status),
        ("replay", replay),
        ("reconcile", reconcile),
        ("refund", refund),
        ("resolve", resolve),
    ):
        group.command(name)(command)
    app.add_typer(group, name="payments")


def status() -> None:
    """Counts by state, what wallets are still owed and since when, and the newest event."""
    from rich.table import Table

    from actions.billing import desk

    now = _run(desk.status)
    if now.counts:
        table = Table("table", "state", "rows")
        for (name, state), count in sorted(now.counts.items()):
            table.add_row(name, state, f"{count:,}")
        commands.OUT.print(table)
    else:
        commands.say("Nobody has bought anything yet.")
    _show_what_waits(now)
    if now.last_received_at is None or now.last_event_at is None:
        # Where nothing was sold there may be no provider to ask.
        do = "atrium payments reconcile" if now.counts else "atrium doctor"
        commands.say(f"No event of the provider has come yet. Next: {do}")
    else:
        commands.say(f"The newest event came {_ago(now.now - now.last_received_at)} ago.")


def _show_what_waits(now: Status) -> None:
    for row in now.unsettled:
        age = _ago(now.now - row.created_at)
        if row.state.name == "PARKED":
            do = f"atrium payments resolve {row.id:x} --credit|--refund|--close REASON"
            why = PARKED.get(row.reason.name, row.reason.name)
            commands.say(f"PARKED, {age} ago: {row.tokens} tokens of {row.tenant_id}, as {why}. Next: {do}")
        else:
            why = f": {row.error}" if row.error else ""
            tried = f"tried {_count(row.tries, 'time')}"
            commands.say(
                f"DUE for {age}: {row.tokens} tokens of {row.tenant_id}, {tried}{why}. The worker goes on trying."
            )
    for state in ("PARKED", "DUE"):
        more = now.counts.get(("settlements", state), 0) - sum(row.state.name == state for row in now.unsettled)
        if more > 0:
            commands.say(f"{state}: {_count(more, 'settlement')} more, not shown.")
    for order in now.open_orders:
        age = _ago(now.now - order.created_at)
        what = f"{order.kind.name} {order.subject} of {order.tenant_id}"
        commands.say(f"ASKED {age} ago and not answered: {what}. The worker asks again, or: atrium payments reconcile")
    if now.counts and not now.unsettled and not now.open_orders:
        commands.say("Nothing waits: every wallet has what it is owed, and the provider has answered every order.")


def replay(
    *,
    event: Annotated[str | None, typer.Option(help="One event by the provider's id, evt_….")] = None,
    since: Since = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed, or wait for something.")] = False,
    reason: Reason = None,
) -> None:
    """Process stored events anew; what has had its effect has none again."""
    from actions.billing import desk

    if (event is None) == (since is None and not failed):
        commands.fail("Say which: --event ID, or --since and --failed, one or both.", code=commands.MISUSED)
    by, began = _person(reason), None if since is None else _moment(since)
    done = _run(lambda house: desk.replay(house.system(), event=event, since=began, failed=failed, by=by))
    commands.say(f"{_count(done, 'event')} {_were(done)} processed anew. Next: atrium payments status")


def reconcile(*, since: Since = RECONCILED_AGO, reason: Reason = None) -> None:
    """Ask the provider for events that never came, and what became of every purchase that waits."""
    from actions.billing import desk
    from actions.billing.reconcile import DAYS_MAX

    by, began = _person(reason), _moment(since or RECONCILED_AGO)
    done = _run(lambda house: desk.repair(house.system(), began, by=by))
    listed = f"The provider listed {_count(done.listed, 'event')} since {began:%Y-%m-%d %H:%M} UTC"
    commands.say(f"{listed}: {done.new} {_were(done.new)} new. It lists the last {DAYS_MAX} days.")
    commands.say(
        f"{_count(done.purchases, 'purchase')} waited for money: {done.undecided} still {_do(done.undecided)}."
    )
    unknown = f"; the provider does not know {done.unknown} of them" if done.unknown else ""
    commands.say(f"{_count(done.plans, 'plan')} {_were(done.plans)} asked for{unknown}.")
    commands.say(f"{_count(done.orders, 'order')} without an answer {_were(done.orders)} answered now.")
    commands.say("Next: atrium payments status")


def refund(
    payment: Annotated[str, typer.Argument(help="The payment: pi_…, ch_…, in_…, or our id of it.")],
    *,
    cents: Annotated[
        int | None, typer.Option(min=1, help="How much, in minor units of its currency; all that is left otherwise.")
    ] = None,
    reason: Reason = None,
) -> None:
    """Give a payment's money back; its tokens are taken from the wallet, or become a debt."""
    from actions.billing import desk

    by = _person(reason)
    done = _run(lambda house: desk.refund(house.system(), payment, cents=cents, by=by))
    commands.say(
        f"{done.cents} {done.currency} (minor units) of {payment} go back to the buyer, who is of {done.tenant}."
    )
    commands.say("Next: atrium payments status")


def resolve(
    settlement: Annotated[str, typer.Argument(help="The settlement's id, as `atrium payments status` shows it.")],
    reason: Annotated[str, typer.Argument(help="Why; written down with your name.")],
    *,
    credit: Annotated[bool, typer.Option("--credit", help="Give the tenant the tokens.")] = False,
    refund: Annotated[bool, typer.Option("--refund", help="Give the buyer the money back.")] = False,
    close: Annotated[bool, typer.Option("--close", help="Neither: it was dealt with elsewhere.")] = False,
) -> None:
    """Decide about a parked settlement."""
    from actions.billing import desk
    from base.ids import Id
    from db.tables.central.billing import Resolution

    if credit + refund + close != 1:
        commands.fail("Say one of --credit, --refund, --close.", code=commands.MISUSED)
    how = Resolution.CREDIT if credit else Resolution.REFUND if refund else Resolution.CLOSE
    number: Id[Any] = Id(_hexadecimal(settlement))
    if not number:
        commands.fail(
            f"SETTLEMENT must be an id as `atrium payments status` shows it; {settlement} is none.",
            code=commands.MISUSED,
        )
    by = _person(reason)
    placed = _run(lambda house: desk.resolve(house.system(), number, how, by=by))
    given = "" if placed is None else f" {placed.cents} {placed.currency} (minor units) go back to the buyer."
    commands.say(f"Settlement {settlement} is resolved by {how.name}.{given} Next: atrium payments status")


# ------------------------------------------------------------------------------------------- words


def _run(doing: Callable[[House], Awaitable[Any]]) -> Any:
    """Run it; what the provider says no to is told in its words."""
    from outside.stripe_api import ProviderError

    try:
        return commands.run(commands.within(doing))
    except ProviderError as error:
        commands.fail(f"The payment provider: {error}. Next: atrium doctor")


def _person(reason: str | None) -> Person:
    """Who is at the terminal, by the machine's own word."""
    import getpass
    import socket

    from actions.billing.desk import Person

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return Person(who=f"{name}@{socket.gethostname()}", why=(reason or "").strip() or NO_REASON)


def _hexadecimal(text: str) -> int:
    """An id of ours; 0 where it is none."""
    try:
        number = int(text, 16)
    except ValueError:
        return 0
    return number if 0 < number < 1 << 63 else 0


def _moment(text: str) -> datetime:
    """A moment, or how long ago; one without a zone is UTC."""
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    try:
        if text[:-1].isdecimal() and text[-1:] in AGO and len(text) < 8:
            return now - timedelta(seconds=int(text[:-1]) * AGO[text[-1]])
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        commands.fail(
            "--since must be a moment (2026-01-31T12:00Z) or how long ago (90m, 12h, 3d).", code=commands.MISUSED
        )
    return min(found, now)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _do(number: int) -> str:
    return "does" if number == 1 else "do"


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("days", AGO["d"]), ("hours", AGO["h"]), ("minutes", AGO["m"])):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
