"""What ids promise: none is ever made twice, whatever the clocks do; later is larger; an altered one finds nothing."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import errors, ids
from base.ids import Cursors, GlobalId, IdGenerator, IdsExhausted, Lease, global_id

pytestmark = pytest.mark.anyio

START_MS = ids.EPOCH_MS + 10**9


class Video:
    """A table as ids see it."""


class File:
    """Another."""


class Central:
    """Rows of worker numbers as central keeps them: a span begins at the number's old end or later."""

    def __init__(self, numbers=4) -> None:
        self.until = dict.fromkeys(range(numbers), 0)

    async def take(self, now_ms):
        number, old = min(self.until.items(), key=lambda item: item[1])
        start = max(now_ms, old)
        self.until[number] = start + ids.LEASE_MS
        return Lease(number, start, self.until[number])


class Wandering:
    """A clock that jumps up to ninety seconds either way."""

    def __init__(self, seed) -> None:
        self.random = random.Random(seed)
        self.ms = START_MS

    def __call__(self) -> int:
        self.ms += self.random.choice((0, 0, 0, 1, 1, 5, 400))
        return self.ms + (self.random.randint(-90_000, 90_000) if self.random.random() < 0.05 else 0)


async def test_processes_with_jumping_clocks_never_make_an_id_twice():
    central = Central()
    generators = [IdGenerator(central.take, clock_ms=Wandering(seed)) for seed in range(6)]
    made = []
    for _ in range(1_500):
        for generator in generators:
            await generator.ensure()
            one = [generator.next() for _ in range(20)]
            assert one == sorted(one)
            made += one
    assert len(set(made)) == len(made) == 1_500 * 6 * 20


async def test_ids_of_one_process_grow_even_when_its_clock_goes_back():
    clock = [START_MS]
    generator = IdGenerator(Central().take, clock_ms=lambda: clock[0])
    await generator.ensure()
    made = []
    for step in (0, 5, -3_000, 1, -10, 7_000):
        clock[0] += step
        made += [generator.next() for _ in range(5_000)]
    assert made == sorted(set(made))


async def test_a_process_that_cannot_renew_makes_no_ids_rather_than_doubtful_ones():
    clock, central = [START_MS], Central()
    generator = IdGenerator(central.take, clock_ms=lambda: clock[0])
    with pytest.raises(IdsExhausted):
        generator.next()
    await generator.ensure()
    generator.next()
    clock[0] += ids.LEASE_MS
    with pytest.raises(IdsExhausted):
        generator.next()
    await generator.ensure()
    assert ids.made_at_ms(generator.next()) >= clock[0]


async def test_a_lease_is_renewed_when_half_of_it_is_left_and_no_earlier():
    clock, central, takes = [START_MS], Central(), 0

    async def take(now_ms):
        nonlocal takes
        takes += 1
        return await central.take(now_ms)

    generator = IdGenerator(take, clock_ms=lambda: clock[0])
    for step in (0, ids.LEASE_MS // 2, 1):
        clock[0] += step
        await asyncio.gather(*(generator.ensure() for _ in range(3)))
    assert takes >= 2
    before = takes
    await generator.ensure()
    assert takes == before


async def test_an_id_tells_its_moment_and_fits_a_signed_64_bit_column():
    generator = IdGenerator(Central().take, clock_ms=lambda: START_MS)
    await generator.ensure()
    made = generator.next()
    assert ids.made_at_ms(made) == START_MS
    assert ids.first_id_at(START_MS) <= made < ids.first_id_at(START_MS + 1)
    assert ids.first_id_at(0) == 0
    last_ms = ids.EPOCH_MS + (1 << 41) - 1
    assert (last_ms - ids.EPOCH_MS) << 22 | (ids.WORKER_NUMBERS_MAX - 1) << 12 | ids.SEQUENCE_MAX < 1 << 63


def refused(text, table, here):
    try:
        GlobalId.read(text, here=here, path=("id",)).of(table)
    except errors.NotFound as refusal:
        return refusal.field == ("id",)
    return False


def test_a_global_id_is_good_for_its_type_and_tenant_alone():
    made = global_id("Video", 0x5D2A, "alice1")
    assert GlobalId.read(made, here="alice1", path=()).of(Video) == 0x5D2A
    assert refused(made, File, "alice1")
    assert refused(made, Video, "bob2")
    assert refused(made, Video, None)
    assert refused(made.replace("Video", "File"), Video, "alice1")
    shared = global_id("Video", 7)
    assert GlobalId.read(shared, here="bob2", path=()).of(Video) == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Video",
        "Video_",
        "Video_616c69636531_",
        "Video_616c69636531_0",
        "Video_616c69636531_05d2a",
        "Video_616c69636531_5D2A",
        "Video_616C69636531_5d2a",
        "Video_616c69636531_8000000000000000",
        "Video_616c69636531_5d2a_1",
        "Video_616c69636531_+5d2a",
        "Video_616c69636531_5d2a\n",
        "Video_ff_5d2a",
        "Video_616c6963653_5d2a",
        "Video__5d2a",
        "Video_616c69636531_" + "1" * 400,
        "Video_616c69636531_٥",
        "%00",
        "🎬",
    ],
)
def test_what_is_no_id_of_ours_is_not_found_and_nothing_else(text):
    assert refused(text, Video, "alice1")


@given(st.text(max_size=60), st.sampled_from(["alice1", None]))
def test_any_text_is_an_id_or_not_found(text, here):
    assert refused(text, Video, here) or text == global_id(
        "Video", GlobalId.read(text, here=here, path=()).of(Video), here
    )


def test_a_cursor_opens_in_its_own_list_only():
    cursors = Cursors(b"k" * 40)
    here = cursors.context("alice1", "videos", "NEWEST", {"search": "x"})
    sealed = cursors.seal(["2026-01-01", 5, None, "ü"], here)
    assert cursors.open(sealed, here) == ["2026-01-01", 5, None, "ü"]
    for other in (
        cursors.context("bob2", "videos", "NEWEST", {"search": "x"}),
        cursors.context("alice1", "exports", "NEWEST", {"search": "x"}),
        cursors.context("alice1", "videos", "OLDEST", {"search": "x"}),
        cursors.context("alice1", "videos", "NEWEST", {"search": "y"}),
    ):
        with pytest.raises(errors.BadUserInput):
            cursors.open(sealed, other)
    with pytest.raises(errors.BadUserInput):
        Cursors(b"j" * 40).open(sealed, here)


@given(st.data())
def test_a_cursor_with_any_character_changed_is_refused(data):
    cursors = Cursors(b"k" * 40)
    here = cursors.context("x")
    sealed = cursors.seal([12345, "abc"], here)
    place = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=+/ é").filter(lambda one: one != sealed[place]))
    altered = sealed[:place] + letter + sealed[place + 1 :]
    try:
        opened = cursors.open(altered, here)
    except errors.BadUserInput:
        return
    # The last character of base64 holds bits that mean nothing: the same values, never others.
    assert opened == [12345, "abc"]


@pytest.mark.parametrize("text", ["", "=", "AAAA", "A" * 2_000, "é", "\x00", "-", "____"])
def test_what_is_no_cursor_is_refused_by_name(text):
    with pytest.raises(errors.BadUserInput, match="after"):
        Cursors(b"k" * 40).open(text, b"0" * 16)
