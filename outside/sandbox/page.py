"""The checkout page: what is bought, for how much, and buttons in the place of a bank. Plainly marked as a test.

It has no script and asks nobody else for anything; whoever knows a session's address may pay it, as at the provider.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from outside.sandbox import checkout
from outside.sandbox.book import Book
from outside.sandbox.faults import ApiError
from outside.sandbox.forms import decoded, pairs_of
from outside.sandbox.shapes import Body

BODY_BYTES_MAX = 1_000
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
STYLE = PAGE.partition("<style>")[2].partition("</style>")[0]
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Digits behind the point; two where nothing is said.
NONE = ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
DIGITS = dict.fromkeys(NONE, 0) | dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 3)
SAYS = {
    "complete": "This checkout is complete.",
    "expired": "This checkout has expired. Nothing was paid.",
    "declined": "The card was declined. Try again, or pay in another way.",
    "late": "This checkout was completed or ended in the meantime.",
}
ACTS: dict[str, Callable[[Book, Body], Body]] = {
    "pay": checkout.pay,
    "debit": lambda book, session: checkout.pay(book, session, delayed=True),
    "decline": checkout.decline,
}


def routes(book: Book) -> list[Route]:
    """The page of a session, and its buttons."""

    async def show(request: Request) -> Response:
        return _page(book, request.path_params["id"])

    async def act(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return _plain(413, "That is too much for a button.")
        return _act(book, request.path_params["id"], body)

    return [Route("/pay/{id}", show, methods=["GET"]), Route("/pay/{id}", act, methods=["POST"])]


def money(amount: int, currency: str) -> str:
    """An amount in minor units as people read it: 1999 eur is 19.99 EUR, 500 jpy is 500 JPY."""
    digits = DIGITS.get(currency, 2)
    sign, figures = "-" * (amount < 0), str(abs(amount)).rjust(digits + 1, "0")
    whole, part = figures[: len(figures) - digits], figures[len(figures) - digits :]
    return f"{sign}{int(whole):,}{'.' * bool(part)}{part} {currency.upper()}"


def _act(book: Book, session_id: str, body: bytes) -> Response:
    try:
        wanted = decoded(pairs_of(body)).get("do")
        act = ACTS[str(wanted)]
    except (ApiError, KeyError):
        return _plain(400, "There is no such button.")
    try:
        with book.call():
            session = act(book, book.get("checkout.session", session_id))
    except ApiError as error:
        return _page(book, session_id, says="late", status=error.status if error.status == 404 else 409)
    if session["status"] == "complete":
        return RedirectResponse(_back(session), 303, {"cache-control": "no-store"})
    return _page(book, session_id, says="declined", status=402)


def _page(book: Book, session_id: str, *, says: str | None = None, status: int = 200) -> Response:
    try:
        session = book.get("checkout.session", session_id)
    except ApiError:
        return _plain(404, "There is no such checkout.")
    with book.call():
        if session["status"] == "open" and session["expires_at"] <= book.at:
            session = checkout.end(book, session)
    lines = checkout.lines_of(book, session_id)
    says = session["status"] if says is None and session["status"] != "open" else says
    trial = book.note(session_id)["about"].get("trial_period_days")
    drawn = Template(PAGE).substitute(
        title="Subscribe" if session["mode"] == "subscription" else "Pay",
        told="" if says is None else f'<p class="told" role="status">{html.escape(SAYS[says])}</p>',
        caption=f"What you buy, after {trial} days of trial" if trial else "What you buy",
        lines="\n".join(map(_row, lines)),
        total=html.escape(money(session["amount_total"], session["currency"])),
        actions=_actions(session),
    )
    return _html(drawn, session, status=status)


def _row(line: Body) -> str:
    recurring = line["price"]["recurring"]
    count = f"{line['quantity']} × " if line["quantity"] != 1 else ""
    every = ""
    if recurring is not None:
        number = recurring["interval_count"]
        every = f" every {number} {recurring['interval']}s" if number != 1 else f" every {recurring['interval']}"
    name, amount = f"{count}{line['description']}", f"{money(line['amount_total'], line['currency'])}{every}"
    return f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(amount)}</td></tr>'


def _actions(session: Body) -> str:
    if session["status"] != "open":
        back = _back(session) if session["status"] == "complete" else session["cancel_url"]
        return _link(back, "Back to the shop")
    buttons = [("pay", "Pay by test card" if session["amount_total"] else "Go on (nothing is due)", True)]
    if session["amount_total"] and len(session["payment_method_types"]) > 1:
        buttons.append(("debit", "Pay by bank debit (arrives later)", False))
    if session["amount_total"]:
        buttons.append(("decline", "Let the card be declined", False))
    drawn = "\n".join(
        f'<button name="do" value="{name}"{" class=first" * first}>{words}</button>' for name, words, first in buttons
    )
    return f'<form method="post">\n{drawn}\n{_link(session["cancel_url"], "Cancel")}\n</form>'


def _link(address: str | None, words: str) -> str:
    return "" if address is None else f'<a class="button" href="{html.escape(address)}">{words}</a>'


def _back(session: Body) -> str:
    address: str = session["success_url"]
    return address.replace("{CHECKOUT_SESSION_ID}", session["id"])


def _html(drawn: str, session: Body, *, status: int) -> Response:
    # A browser holds a form's redirect to this list too; the port is part of an origin.
    origins = {f"{parts.scheme}://{parts.netloc}" for parts in (urlsplit(session["success_url"]),)}
    policy = (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self' {' '.join(origins)}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return Response(drawn, status, {"content-security-policy": policy, **_plainly()}, "text/html")


def _plain(status: int, words: str) -> Response:
    return Response(words, status, _plainly(), "text/plain")


def _plainly() -> dict[str, str]:
    return {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
