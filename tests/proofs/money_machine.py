"""Anything that people, banks, workers and crashes can do about one tenant's money, drawn at random by hypothesis.

After every act the ledger is its own sum; at the end, when all events have come and a worker had its round, the wallet
has what the provider's own books say that it should have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from actions import jobs
from actions.billing import events
from actions.jobs import states
from actions.jobs.states import Result
from actions.media import files
from actions.media.files import Facts
from base import errors
from outside import services
from outside.sandbox.faults import ApiError
from outside.sandbox.provider import Provider
from tenancy.house import close_house, open_house
from tests.actions import shop as goods
from tests.actions import studio, till
from tests.proofs import money_rules
from tests.world import World

CENTS, TOKENS = 1_000, 100
ANSWER_SECONDS_MAX = 240
STEPS_TO_DIE_MAX = 12
R = TypeVar("R")
PLACES = st.integers(0, 10_000)
PARTS = st.integers(1, CENTS)


class Died(BaseException):
    """The process is no more: nothing in it goes on, and nothing in it may notice."""


@dataclass
class Stage:
    """A shop in the test's loop, for machines that run in a thread; what is on sale in it."""

    shop: World
    provider: Provider
    loop: asyncio.AbstractEventLoop
    package: Any = None
    effects: dict[str, Any] = field(default_factory=dict)
    deaths: int = 0

    async def set_up(self) -> Stage:
        """Put the goods on sale."""
        self.package = await goods.package(self.shop, cents=CENTS, tokens=TOKENS)
        self.effects = await studio.catalog(self.shop)
        return self

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Do it in the shop's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(ANSWER_SECONDS_MAX)

    async def die_while(self, told: list[dict[str, Any]], step: int) -> None:
        """Another process takes these events and is gone before or after one of its transactions."""
        house = await open_house(self.shop.settings, services.open_services(self.shop.settings), hears=False)
        sessions: Any = house.sessions
        plain, left = sessions._run, step

        async def mortal(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Died
            answer = await plain(*args)
            left -= 1
            if left <= 0:
                raise Died
            return answer

        sessions._run = mortal
        try:
            for event in told:
                await events.handle(house, await till.stored(house, [event]))
        except Died:
            self.deaths += 1
        sessions._run = plain
        await close_house(house)


class Money(RuleBasedStateMachine):
    """One tenant's story; `stage` is set by `on`."""

    stage: Stage
    sessions = Bundle("sessions")
    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[str] = set()
        self.mine: list[str] = []
        self.spent = 0

    # ---------------------------------------------------------------- the buyer

    @initialize(target=sessions)
    def arrive(self) -> Any:
        """Somebody comes and buys the first time."""
        self.person = self.stage.run(self.stage.shop.tenant("alice"))
        self.last = self.stage.provider.events()[-1:]
        return self.buy("pay")

    @rule(target=sessions, then=st.sampled_from(["pay", "pay", "decline", "nothing"]))
    def buy(self, then: str) -> Any:
        done = self.stage.run(goods.buy(self.stage.shop, self.person, self.stage.package))
        session = goods.session_at(self.stage.provider, done.url)
        self.mine.append(session)
        if then != "nothing":
            self._bank(then, session)
        return session

    @rule(session=sessions, delayed=st.booleans())
    def pay(self, session: str, delayed: bool) -> None:
        self._bank("pay", session, delayed=delayed)

    @rule(session=sessions, act=st.sampled_from(["settle", "bounce", "decline", "expire"]))
    def go_on(self, session: str, act: str) -> None:
        self._bank(act, session)

    # ---------------------------------------------------------------- banks

    @rule(place=PLACES, cents=PARTS, pending=st.booleans())
    def refund(self, place: int, cents: int, pending: bool) -> None:
        self._bank("refund", self._paid(place), cents, pending=pending)

    @rule(place=PLACES, act=st.sampled_from(["settle_refund", "fail_refund", "cancel_refund"]))
    def end_refund(self, place: int, act: str) -> None:
        self._of("refund", place, act)

    @rule(place=PLACES, cents=PARTS, kind=st.sampled_from(["chargeback", "chargeback", "inquiry"]))
    def dispute(self, place: int, cents: int, kind: str) -> None:
        self._bank("dispute", self._paid(place), kind, amount=cents)

    @rule(place=PLACES, act=st.sampled_from(["escalate", "appeal", "withdraw", "reinstate"]))
    def move_dispute(self, place: int, act: str) -> None:
        self._of("dispute", place, act)

    @rule(place=PLACES, won=st.booleans())
    def decide(self, place: int, won: bool) -> None:
        self._of("dispute", place, "close_dispute", won=won)

    # ---------------------------------------------------------------- events, workers, crashes

    @rule(places=st.lists(PLACES, min_size=1, max_size=5))
    def tell(self, places: list[int]) -> None:
        told = self._some(places)
        if told:
            self.stage.run(till.tell(self.stage.shop.house, told))

    @rule(places=st.lists(PLACES, min_size=1, max_size=3), step=st.integers(1, STEPS_TO_DIE_MAX))
    def crash(self, places: list[int], step: int) -> None:
        told = self._some(places)
        if told:
            self.stage.run(self.stage.die_while(told, step))

    @rule()
    def work(self) -> None:
        self.stage.run(till.catch_up(self.stage.shop.house))

    # ---------------------------------------------------------------- jobs

    @rule(target=running, effect=st.sampled_from(["crop", "grayscale", "upscale"]))
    def submit(self, effect: str) -> Any:
        try:
            return self.stage.run(self._submit(effect))
        except errors.InsufficientTokens:
            return multiple()

    @rule(job=running, act=st.sampled_from(["complete", "fail", "cancel"]))
    def end_job(self, job: Any, act: str) -> None:
        self.spent += self.stage.run(self._end_job(job, act))

    # ---------------------------------------------------------------- what always holds

    @invariant()
    def the_ledger_is_the_wallet(self) -> None:
        if hasattr(self, "person"):
            broken, held, reserved = self.stage.run(self._ledger())
            assert broken is None
            assert held == reserved

    def teardown(self) -> None:
        if not hasattr(self, "person"):
            return
        self.stage.run(till.tell(self.stage.shop.house, self._events()))
        assert self.stage.run(money_rules.of_one(self.stage.shop, self.person)) == []
        balance, debt = self.stage.run(till.funds(self.stage.shop, self.person))
        held = self.stage.run(self._ledger())[1]
        assert balance + held - debt == sum(self._stays(session) for session in self.mine) - self.spent

    # ---------------------------------------------------------------- how

    def _stays(self, session: str) -> int:
        """How many of a session's tokens the provider's own books leave: paid, less refunds, less what is withdrawn."""
        provider = self.stage.provider
        intent = provider.get("checkout.session", session)["payment_intent"]
        if intent is None or provider.get("payment_intent", intent)["amount_received"] != CENTS:
            return 0
        gone = sum(
            each["amount"]
            for each in provider.all("refund", payment_intent=intent)
            if each["status"] in ("pending", "succeeded")
        )
        for dispute in provider.all("dispute", payment_intent=intent):
            gone -= sum(each["amount"] for each in dispute["balance_transactions"])
        return TOKENS - min(TOKENS, TOKENS * gone // CENTS)

    def _bank(self, act: str, *args: Any, **more: Any) -> None:
        # What cannot be done the bank refuses, and nothing has happened.
        with contextlib.suppress(ApiError):
            getattr(self.stage.provider, act)(*args, **more)

    def _of(self, kind: str, place: int, act: str, **more: Any) -> None:
        intents = {self._intent(session) for session in self.mine} - {""}
        found = [each["id"] for each in self.stage.provider.all(kind) if each["payment_intent"] in intents]
        if found:
            self._bank(act, found[place % len(found)], **more)

    def _paid(self, place: int) -> str:
        """The intent of one of the sessions, of one that was paid if there is any."""
        intents = [intent for session in self.mine if (intent := self._intent(session))]
        return intents[place % len(intents)] if intents else ""

    def _intent(self, session: str) -> str:
        return self.stage.provider.get("checkout.session", session)["payment_intent"] or ""

    def _events(self) -> list[dict[str, Any]]:
        """This example's, in the provider's order: no other is on its way."""
        return self.stage.provider.events(since=self.last[0] if self.last else None)

    def _some(self, places: list[int]) -> list[dict[str, Any]]:
        """Drawn from what was never told yet, and now and then from what was."""
        told = []
        for place in places:
            every = self._events()
            unheard = [each for each in every if each["id"] not in self.heard]
            drawn = unheard if unheard and place % 4 else every
            if drawn:
                told.append(drawn[place % len(drawn)])
                self.heard.add(told[-1]["id"])
        return told

    async def _ledger(self) -> tuple[object, int, int]:
        system = await self.stage.shop.system(self.person.tenant_id)
        _, held, reserved, broken = await system.on_pool(money_rules.of_pool)
        return broken, held, reserved

    async def _submit(self, effect: str) -> Any:
        ctx = await self.stage.shop.of(self.person)
        (video_id,) = await studio.drafts(ctx, 1)
        return await jobs.submit_ai_job(ctx, video_id, self.stage.effects[effect])

    async def _end_job(self, job: Any, act: str) -> int:
        """What it cost now."""
        ctx, system = await self.stage.shop.of(self.person), await self.stage.shop.system(self.person.tenant_id)
        if act == "cancel":
            with contextlib.suppress(errors.Conflict):
                await jobs.cancel_ai_job(ctx, job)
            return 0
        await system.on_pool(states.begin, job, attempt=1)
        if act == "fail":
            await system.on_pool(states.fail, job, attempt=1, message="It broke.", retry=False)
            return 0
        output = Facts(
            key=files.new_key(ctx.tenant_id), name="o.mp4", mime_type="video/mp4", size_bytes=9, sha256="0" * 64
        )
        result = Result(output=output, duration_seconds=1.0)
        won = await system.on_pool(states.complete, job, attempt=1, result=result)
        return (await studio.job(ctx, job)).tokens_reserved if won else 0


def on(stage: Stage) -> type[Money]:
    """The machine on a stage."""
    return type("MoneyOnStage", (Money,), {"stage": stage})


async def play(shop: World, provider: Provider, *, examples: int, steps: int, derandomize: bool = True) -> None:
    """So many examples of so many acts each; what is found is told with the acts that lead to it."""
    stage = await Stage(shop, provider, asyncio.get_running_loop()).set_up()
    drawn = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        database=None,
        deadline=None,
        # What is found is told as it was found: to shrink it, hundreds of stories are told in a row, whose dead
        # processes use up the numbers that ids are made with, and that would be told instead.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, on(stage), settings=drawn)
    # A run in which nothing happened would prove nothing. What is drawn differs with what else is loaded.
    paid = sum(each["payment_status"] == "paid" for each in provider.all("checkout.session"))
    back = len(provider.all("refund")) + len(provider.all("dispute"))
    assert min(paid, back, stage.deaths) > 0, (paid, back, stage.deaths)
