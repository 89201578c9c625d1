"""A batch of stored events turned into facts, statuses and settlements, in one central transaction.

An event that misses something waits for it by name; one whose object has to be asked for is handed back to the
caller, who asks the provider outside the transaction and comes again with the answer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from actions.billing import book as books
from actions.billing import deployment, holding, invoices, marks, readings, recording
from actions.billing.book import Book
from actions.billing.facts import Facts, Held, Invoiced, Thing
from actions.billing.readings import Unreadable
from base.ids import Id
from db import alike
from db.session import SystemSession
from db.tables.central.billing import PaymentEvent, PaymentEventState, PaymentRef, PlanSubscription, Purchase
from db.zones import TenantId

OPEN = (PaymentEventState.STORED, PaymentEventState.WAITING, PaymentEventState.FAILED)
BACKOFF_SECONDS = 2
BACKOFF_SECONDS_MAX = 3_600
# What waits by name is woken by what it waits for; its own tries are for what nobody tells.
WAITING_SECONDS_MAX = 86_400
# So long the provider can still tell of what would say whose it is; after that it was never ours.
NAMELESS_DAYS_MAX = 30
ERROR_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """An object that has to be fetched before an event can be understood; `refunds` lists those of a charge.

    `seen_at` is its plan's when it was asked for: where that has moved since, the answer is to another question.
    """

    kind: str
    name: str
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The provider's answer: the object as it was at `at`, by our clock."""

    thing: Thing
    at: datetime


@dataclass(slots=True)
class Outcome:
    """What a batch did: tenants whose wallets are owed something, what is to be fetched, whether others were woken."""

    owed: set[TenantId] = field(default_factory=set)
    asked: dict[Id[PaymentEvent], Asked] = field(default_factory=dict)
    woken: int = 0


@dataclass(slots=True)
class _Case:
    """One event in hand, and the purchase that it is about once that is known."""

    row: PaymentEvent
    facts: Facts
    answers: Mapping[Asked, Fetched]
    target: Target | None = None


Target = tuple[TenantId, Id[Purchase]]
Answers = Mapping[Id[PaymentEvent], Mapping[Asked, Fetched]]


async def process(db: SystemSession, ids: Sequence[Id[PaymentEvent]], answers: Answers, /) -> Outcome:
    """Process these of the open events; of two callers at once the second finds nothing left. All or nothing."""
    return await _Batch(db, answers, await deployment.name(db)).run(ids)


async def postpone(db: SystemSession, event_id: Id[PaymentEvent], error: str, /) -> None:
    """It failed by itself: try it again later, twice as late each time."""
    row = await db.first(_open_events([event_id]))
    if row is not None:
        _put_off(row, db.now, PaymentEventState.FAILED)
        row.error = error[:ERROR_CHARACTERS_MAX]


def _open_events(ids: Sequence[Id[PaymentEvent]]) -> sa.Select[PaymentEvent]:
    return (
        sa.select(PaymentEvent)
        .where(PaymentEvent.id.in_(alike.even(ids)), PaymentEvent.state.in_(OPEN))
        .order_by(PaymentEvent.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def _put_off(row: PaymentEvent, now: datetime, state: PaymentEventState) -> None:
    most = WAITING_SECONDS_MAX if state is PaymentEventState.WAITING else BACKOFF_SECONDS_MAX
    seconds = min(most, BACKOFF_SECONDS * 2 ** min(row.tries, 16))
    row.state, row.tries, row.next_try_at = state, row.tries + 1, now + timedelta(seconds=seconds)


class _Batch:
    """One transaction's work; nothing of it outlives the transaction."""

    def __init__(self, db: SystemSession, answers: Answers, name: str) -> None:
        self._db = db
        self._answers = answers
        self._deployment = name
        self._outcome = Outcome()
        self._books: dict[Id[Purchase], Book] = {}
        self._named: dict[str, Book] = {}

    async def run(self, ids: Sequence[Id[PaymentEvent]]) -> Outcome:
        rows = await self._db.all(_open_events(ids))
        opened = [self._opened(row) for row in rows]
        await alike.write(self._db, rows)
        cases = [case for case in opened if case is not None and await self._of_plan(case)]
        await self._match(cases)
        self._books = await books.locked(self._db, [case.target for case in cases if case.target is not None])
        self._named = {ref: book for book in self._books.values() for ref in book.refs}
        await self._record(cases)
        pages = [page for book in self._books.values() for page in book.sessions.values()]
        await alike.write(self._db, [*rows, *pages])
        self._outcome.owed = await books.conclude_all(self._db, list(self._books.values()))
        news = [ref for book in self._books.values() for ref in book.new_refs]
        self._outcome.woken = await recording.wake(self._db, news)
        return self._outcome

    # ---------------------------------------------------------------- one event

    def _opened(self, row: PaymentEvent) -> _Case | None:
        """The event as a case; None where it is at an end, or its object has to be fetched first."""
        thing = _thing(row)
        answers = self._answers.get(row.id, {})
        kind = readings.kind_of(row.type)
        if kind is None or thing is None:
            self._end(row, PaymentEventState.IGNORED)
            return None
        itself = Asked(kind, str(thing.get("id")))
        if itself in answers:
            thing = answers[itself].thing
        if marks.is_foreign(readings.metadata_of(thing), self._deployment):
            self._end(row, PaymentEventState.FOREIGN)
            return None
        try:
            facts = readings.read(row.type, row.occurred_at, thing, event_id=row.provider_event_id)
        except Unreadable:
            if itself in answers:
                raise
            self._ask(row, itself)
            return None
        if facts is None:
            self._end(row, PaymentEventState.IGNORED)
            return None
        if facts.mark is None and (facts.session is not None or facts.held is not None):
            # Ours always carry a mark, so nothing can come that would tell whose this is.
            self._end(row, PaymentEventState.FOREIGN)
            return None
        target = None if facts.mark is None else (facts.mark.tenant, facts.mark.purchase_id)
        return _Case(row, facts, answers, target)

    async def _of_plan(self, case: _Case) -> bool:
        """Bring a plan up to date, and find an invoice's purchase; False where that was all, or has to wait."""
        facts = case.facts
        if facts.held is not None:
            await self._hold(case, facts.held)
            return False
        if facts.session is not None and facts.mark is not None and facts.mark.plan_id is not None:
            begun = facts.session.subscription
            if begun is not None:
                await holding.name(self._db, facts.mark.tenant, facts.mark.plan_id, subscription=begun)
        return facts.invoice is None or await self._find_purchase(case, facts.invoice)

    async def _find_purchase(self, case: _Case, invoice: Invoiced) -> bool:
        if case.facts.mark is None:
            asked = Asked("subscriptions", invoice.subscription)
            told = case.answers.get(asked)
            if told is None:
                self._ask(case.row, asked)
                return False
            metadata = told.thing.get("metadata")
            case.facts = dataclasses.replace(case.facts, mark=marks.read(metadata))
            if case.facts.mark is None or marks.is_foreign(metadata, self._deployment):
                self._end(case.row, PaymentEventState.FOREIGN)  # another product's, or another deployment's
                return False
        plan = await self._plan(case, invoice.subscription)
        if plan is None:
            return False
        purchase_id = await invoices.purchase_of(self._db, plan, case.facts)
        if purchase_id is None:
            self._end(case.row, PaymentEventState.PROCESSED)
            return False
        case.target = (plan.tenant_id, purchase_id)
        return True

    async def _hold(self, case: _Case, held: Held) -> None:
        plan = await self._plan(case, held.name)
        if plan is None:
            return
        asked = Asked("subscriptions", held.name, plan.seen_at)
        told = case.answers.get(asked)
        if told is not None:
            await holding.believe(self._db, plan, told.thing, at=told.at)
        elif holding.is_newer(plan, held.at):
            await holding.believe(self._db, plan, held.thing, at=held.at)
        else:
            self._ask(case.row, asked)
            return
        self._end(case.row, PaymentEventState.PROCESSED)

    async def _plan(self, case: _Case, subscription: str) -> PlanSubscription | None:
        mark = case.facts.mark
        plan = None
        if mark is not None:
            plan = await holding.plan_of(self._db, mark.tenant, name=subscription, plan_id=mark.plan_id)
        if plan is None:
            self._wait(case, subscription)
        return plan

    # ---------------------------------------------------------------- all of them

    async def _match(self, cases: Sequence[_Case]) -> None:
        """Find by name the purchases of events that carry no mark."""
        wanted = {ref for case in cases if case.target is None for ref in case.facts.refs}
        if not wanted:
            return
        rows = await self._db.all(sa.select(PaymentRef).where(PaymentRef.provider_ref.in_(alike.even(sorted(wanted)))))
        known: dict[str, Target] = {row.provider_ref: (row.tenant_id, row.purchase_id) for row in rows}
        for case in cases:
            if case.target is None:
                case.target = next((known[ref] for ref in case.facts.refs if ref in known), None)

    async def _record(self, cases: Sequence[_Case]) -> None:
        """Add what each says to its book; what an earlier one of the batch makes known counts for the others."""
        left = list(cases)
        for _ in range(2):
            left = [case for case in left if not await self._add(case)]
        for case in left:
            missing = case.facts.refs[-1] if case.facts.refs else None
            if missing is None and case.target is not None:
                missing = f"purchase:{case.target[1]:x}"
            self._wait(case, missing)

    async def _add(self, case: _Case) -> bool:
        facts, row = case.facts, case.row
        book = self._books.get(case.target[1]) if case.target is not None else None
        if book is None:
            book = next((self._named[ref] for ref in facts.refs if ref in self._named), None)
        if book is None:
            return False
        if facts.invoice is not None and facts.invoice.reason == invoices.FIRST:
            book.tokens = await invoices.first_tokens(self._db, book.purchase, facts)
        if not recording.add(self._db, book, facts, at=row.occurred_at):
            return False
        self._named |= dict.fromkeys(book.new_refs, book)
        if recording.lacks_refunds(book, facts):
            asked = Asked("refunds", facts.refs[0])
            told = case.answers.get(asked)
            if told is None:
                self._ask(row, asked)
                return True
            more = dataclasses.replace(facts, refunds=readings.refunds_of(told.thing))
            recording.add(self._db, book, more, at=row.occurred_at)
        self._end(row, PaymentEventState.PROCESSED)
        return True

    # ---------------------------------------------------------------- how an event ends

    def _end(self, row: PaymentEvent, state: PaymentEventState) -> None:
        row.state, row.processed_at, row.tries = state, self._db.now, row.tries + 1
        row.waits_for = row.error = None

    def _wait(self, case: _Case, missing: str | None) -> None:
        row = case.row
        if case.facts.mark is None and row.created_at < self._db.now - timedelta(days=NAMELESS_DAYS_MAX):
            self._end(row, PaymentEventState.FOREIGN)
            return
        _put_off(row, self._db.now, PaymentEventState.WAITING)
        row.waits_for = missing

    def _ask(self, row: PaymentEvent, asked: Asked) -> None:
        # It stays as it is: whoever called asks the provider and comes again.
        self._outcome.asked[row.id] = asked


def _thing(row: PaymentEvent) -> Thing | None:
    """The object that a stored event is about; None where it has none, or its body was pruned."""
    try:
        event = json.loads(row.body or "null")
    except ValueError:
        return None
    data = event.get("data") if isinstance(event, dict) else None
    thing = data.get("object") if isinstance(data, dict) else None
    return thing if isinstance(thing, dict) else None
