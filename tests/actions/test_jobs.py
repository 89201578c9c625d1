"""Jobs and their tokens: reserved once, settled once, whoever is late, twice or first; on every engine."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actions import jobs, media, wallet
from actions.jobs import lost, popularity, render, states
from actions.jobs.states import Result
from actions.media import files
from actions.media.files import Facts
from base import errors
from base.ids import Id
from db import work
from db.tables.central.catalog import Effect
from db.tables.pool.jobs import AiJob, AiJobStatus
from db.tables.pool.media import FileStatus, Video, VideoStatus
from db.zones import TenantState
from tenancy.handlers import PutOff
from tests.actions import studio
from tests.actions.studio import COSTS, SIGN_UP
from tests.world import on_every_engine

QUEUED, RUNNING = AiJobStatus.QUEUED, AiJobStatus.RUNNING
SUCCEEDED, FAILED, CANCELED = AiJobStatus.SUCCEEDED, AiJobStatus.FAILED, AiJobStatus.CANCELED


def _result(ctx, name="out.mp4", *, seconds=1.5):
    facts = Facts(key=files.new_key(ctx.tenant_id), name=name, mime_type="video/mp4", size_bytes=11, sha256="0" * 64)
    still = Facts(key=files.new_key(ctx.tenant_id), name="t.jpg", mime_type="image/jpeg", size_bytes=7, sha256="1" * 64)
    return Result(output=facts, thumbnail=still, duration_seconds=seconds)


async def _open(world, name="alice"):
    """Somebody's request, the system's for the same tenant, and the catalog."""
    person = await world.tenant(name)
    return await world.of(person), await world.system(person.tenant_id), await studio.catalog(world)


async def _count(db, /):
    return int(await db.first(sa.select(sa.func.count(AiJob.id))) or 0)


# ------------------------------------------------------------------------------------------- submitting


@on_every_engine
async def test_submitting_holds_the_price_and_puts_the_job_before_workers(world):
    ctx, _system, effects = await _open(world)
    made = await studio.submit(ctx, effects["vivid"], params={"saturation": 2})
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.tokens_reserved, job.tokens_consumed, job.attempts) == (QUEUED, COSTS["vivid"], 0, 0)
    assert job.params == {"saturation": 2, "contrast": 1.15}
    assert (await studio.the_video(ctx, made.video_id)).status is VideoStatus.PROCESSING
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["vivid"], COSTS["vivid"])
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE"]
    assert await studio.works(world.house) == [("READY", 0)]
    await studio.sound(ctx)


@on_every_engine
async def test_a_second_job_of_a_video_is_refused_until_the_first_has_ended(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])
    with pytest.raises(errors.Conflict) as refused:
        await jobs.submit_ai_job(ctx, made.video_id, effects["crop"])
    assert refused.value.field == ("input", "videoId")
    await jobs.cancel_ai_job(ctx, made.job_id)
    again = await jobs.submit_ai_job(ctx, made.video_id, effects["crop"])
    assert again != made.job_id
    assert await system.on_pool(_count) == 2
    await studio.sound(ctx)


@on_every_engine
async def test_many_jobs_of_one_video_at_once_are_one(world):
    ctx, system, effects = await _open(world)
    [video_id] = await studio.drafts(ctx, 1)

    async def one():
        try:
            return await jobs.submit_ai_job(ctx, video_id, effects["crop"])
        except errors.Conflict:
            return None

    answers = await asyncio.gather(*(one() for _ in range(20)))
    assert len([job_id for job_id in answers if job_id is not None]) == 1
    assert await system.on_pool(_count) == 1
    assert await studio.tokens(ctx) == (SIGN_UP - 1, 1)


@on_every_engine
async def test_the_same_key_at_once_is_one_job_and_everybody_gets_it(world):
    ctx, system, effects = await _open(world)
    [video_id] = await studio.drafts(ctx, 1)
    asked = (jobs.submit_ai_job(ctx, video_id, effects["crop"], idempotency_key="k1") for _ in range(20))
    assert len(set(await asyncio.gather(*asked))) == 1
    assert await system.on_pool(_count) == 1
    assert await studio.tokens(ctx) == (SIGN_UP - 1, 1)
    assert await studio.works(world.house) == [("READY", 0)]


@on_every_engine
async def test_one_key_for_several_videos_at_once_is_one_job_and_refused_to_the_others(world):
    ctx, system, effects = await _open(world)

    async def one(video_id):
        try:
            return await jobs.submit_ai_job(ctx, video_id, effects["crop"], idempotency_key="k1")
        except errors.Conflict as refused:
            return refused.field, refused.message

    answers = await asyncio.gather(*(one(video_id) for video_id in await studio.drafts(ctx, 8)))
    assert answers.count((("input", "idempotencyKey"), "This key was used with another input.")) == 7
    assert await system.on_pool(_count) == 1
    assert await studio.tokens(ctx) == (SIGN_UP - 1, 1)
    await studio.sound(ctx)


async def test_a_key_answers_with_its_job_also_when_that_has_ended_and_its_effect_is_gone(world):
    ctx, _, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"], idempotency_key="k1")
    await jobs.cancel_ai_job(ctx, made.job_id)

    async def archive(db):
        await db.change(sa.update(Effect).where(Effect.slug == "crop").values(archived_at=db.now))

    await world.house.system().on_system(archive)
    assert await jobs.submit_ai_job(ctx, made.video_id, effects["crop"], idempotency_key="k1") == made.job_id
    with pytest.raises(errors.NotFound):
        await jobs.submit_ai_job(ctx, made.video_id, effects["crop"], idempotency_key="k2")
    assert await studio.tokens(ctx) == (SIGN_UP, 0)


@pytest.mark.parametrize("key", ["", " ", "k ", "\tk", "k" * 201])
async def test_a_key_that_engines_would_compare_differently_is_refused(world, key):
    ctx, _, effects = await _open(world)
    video_id = await studio.video(ctx)
    with pytest.raises(errors.Invalid) as refused:
        await jobs.submit_ai_job(ctx, video_id, effects["vivid"], idempotency_key=key)
    assert refused.value.field == ("input", "idempotencyKey")
    assert await studio.tokens(ctx) == (SIGN_UP, 0)


@pytest.mark.parametrize("change", ["effect", "params", "video"])
async def test_a_key_with_another_input_is_refused(world, change):
    ctx, _, effects = await _open(world)
    made = await studio.submit(ctx, effects["vivid"], idempotency_key="k1")
    video_id = await studio.video(ctx) if change == "video" else made.video_id
    effect_id = effects["grayscale" if change == "effect" else "vivid"]
    params = {"saturation": 3} if change == "params" else None
    with pytest.raises(errors.Conflict) as refused:
        await jobs.submit_ai_job(ctx, video_id, effect_id, idempotency_key="k1", params=params)
    assert refused.value.field == ("input", "idempotencyKey")
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["vivid"], COSTS["vivid"])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"saturation": "loud"}, ("saturation",)),
        ({"saturation": 99}, ("saturation",)),
        ({"saturation": float("nan")}, ("saturation",)),
        ({"saturation": True}, ("saturation",)),
        ({"speed": 2}, ("speed",)),
        ({"saturation": {"deep": [1]}}, ("saturation",)),
        ([1, 2], ()),
        ("x", ()),
    ],
)
async def test_a_parameter_that_the_effect_does_not_take_is_named(world, params, field):
    ctx, _, effects = await _open(world)
    video_id = await studio.video(ctx)
    with pytest.raises(errors.Invalid) as refused:
        await jobs.submit_ai_job(ctx, video_id, effects["vivid"], params=params)
    assert refused.value.field == ("input", "params", *field)
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    assert (await studio.the_video(ctx, video_id)).status is VideoStatus.DRAFT


@on_every_engine
async def test_unknown_ids_and_those_of_other_tenants_are_told_in_the_same_words(world):
    ctx, _, effects = await _open(world)
    bob = await world.of(await world.tenant("bob"))
    made = await studio.submit(bob, effects["crop"])
    told = set()
    for video_id in (made.video_id, Id(12345)):
        with pytest.raises(errors.NotFound) as refused:
            await jobs.submit_ai_job(ctx, video_id, effects["crop"])
        told.add((refused.value.message, refused.value.field))
    for job_id in (made.job_id, Id(12345)):
        with pytest.raises(errors.NotFound) as refused:
            await jobs.cancel_ai_job(ctx, job_id)
        told.add((refused.value.message, refused.value.field))
    assert len(told) == 2
    with pytest.raises(errors.NotFound) as refused:
        await jobs.submit_ai_job(ctx, await studio.video(ctx), Id(12345))
    assert refused.value.field == ("input", "effectId")
    assert (await studio.job(bob, made.job_id)).status is QUEUED


async def test_a_second_member_neither_sees_nor_ends_nor_uses_what_is_the_firsts(world):
    alice = await world.tenant("alice")
    ctx, effects = await world.of(alice), await studio.catalog(world)
    mary = await world.of(await world.member(alice.tenant_id))
    made = await studio.submit(ctx, effects["crop"], idempotency_key="k1")
    assert await mary.on_pool(_count) == 0
    with pytest.raises(errors.NotFound):
        await jobs.cancel_ai_job(mary, made.job_id)
    await jobs.cancel_ai_job(ctx, made.job_id)
    with pytest.raises(errors.NotFound):
        await jobs.submit_ai_job(mary, made.video_id, effects["crop"])
    own = await studio.submit(mary, effects["crop"], idempotency_key="k1")
    assert own.job_id != made.job_id
    assert await studio.tokens(ctx) == (SIGN_UP - 1, 1)


async def test_a_video_whose_file_is_not_there_or_a_price_beyond_the_balance_is_refused_whole(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])

    async def price(db):
        await db.change(sa.update(Effect).where(Effect.slug == "grayscale").values(token_cost=SIGN_UP))

    await world.house.system().on_system(price)
    video_id = await studio.video(ctx)
    with pytest.raises(errors.InsufficientTokens):
        await jobs.submit_ai_job(ctx, video_id, effects["grayscale"])
    assert (await studio.the_video(ctx, video_id)).status is VideoStatus.DRAFT
    assert await system.on_pool(_count) == 1
    await jobs.cancel_ai_job(ctx, made.job_id)
    assert await jobs.submit_ai_job(ctx, video_id, effects["grayscale"])
    assert await studio.tokens(ctx) == (0, SIGN_UP)


@pytest.mark.slow
@on_every_engine
async def test_200_submits_at_once_with_tokens_for_100_are_exactly_100(world):
    ctx, system, effects = await _open(world)
    videos = await studio.drafts(ctx, 200)

    async def one(video_id):
        while True:
            try:
                return await jobs.submit_ai_job(ctx, video_id, effects["crop"])
            except errors.InsufficientTokens:
                return None
            except errors.PoolUnavailable:
                # A busy machine has no connection for each within ten seconds; "try again in a moment".
                continue

    answers = await asyncio.gather(*(one(video_id) for video_id in videos))
    assert len([job_id for job_id in answers if job_id is not None]) == 100
    assert await system.on_pool(_count) == 100
    assert await studio.tokens(ctx) == (0, 100)

    async def busy(db):
        return await db.first(sa.select(sa.func.count(Video.id)).where(Video.status == VideoStatus.PROCESSING))

    assert await system.on_pool(busy) == 100
    assert await system.on_pool(wallet.broken) is None


# ------------------------------------------------------------------------------------------- ending


@on_every_engine
async def test_success_consumes_once_and_gives_the_video_its_output(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"])
    assert await system.on_pool(states.begin, made.job_id, attempt=1)
    result = _result(ctx)
    assert await system.on_pool(states.complete, made.job_id, attempt=1, result=result)
    assert not await system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx))
    assert not await system.on_pool(states.fail, made.job_id, attempt=1, message="late", retry=False)
    assert not await system.on_pool(states.progress, made.job_id, attempt=1, done=0.3)
    job, video = await studio.job(ctx, made.job_id), await studio.the_video(ctx, made.video_id)
    assert (job.status, job.tokens_consumed, job.progress, job.error_message) == (SUCCEEDED, 10, 1.0, None)
    assert (video.status, video.duration_seconds, video.effect_id) == (VideoStatus.READY, 1.5, effects["grayscale"])
    assert video.output_file_id == job.output_file_id
    assert video.thumbnail_file_id is not None
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "CONSUME"]
    assert await studio.tokens(ctx) == (SIGN_UP - 10, 0)
    with pytest.raises(errors.Conflict, match="SUCCEEDED"):
        await jobs.cancel_ai_job(ctx, made.job_id)
    assert await studio.works(world.house) == [("DONE", 0)]
    await studio.sound(ctx)


@on_every_engine
async def test_failure_releases_once_and_a_new_job_may_follow(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"])
    assert await system.on_pool(states.begin, made.job_id, attempt=1)
    for expected in (True, False):
        done = await system.on_pool(states.fail, made.job_id, attempt=1, message=" it\nbroke ", retry=False)
        assert done is expected
    assert not await system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx))
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.tokens_consumed, job.error_message) == (FAILED, 0, "it broke")
    assert (await studio.the_video(ctx, made.video_id)).status is VideoStatus.FAILED
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "RELEASE"]
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    assert await jobs.submit_ai_job(ctx, made.video_id, effects["crop"])
    await studio.sound(ctx)


async def test_what_a_video_had_stays_when_a_later_job_comes_to_nothing_and_goes_when_it_succeeds(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])
    await system.on_pool(states.begin, made.job_id, attempt=1)
    await system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx))
    first = await studio.the_video(ctx, made.video_id)
    for ends in (CANCELED, FAILED):
        job_id = await jobs.submit_ai_job(ctx, made.video_id, effects["crop"])
        await system.on_pool(states.begin, job_id, attempt=1)
        if ends is CANCELED:
            await jobs.cancel_ai_job(ctx, job_id)
        else:
            await system.on_pool(states.fail, job_id, attempt=1, message="no", retry=False)
        video = await studio.the_video(ctx, made.video_id)
        assert (video.status, video.output_file_id) == (VideoStatus.READY, first.output_file_id)
    job_id = await jobs.submit_ai_job(ctx, made.video_id, effects["crop"])
    await system.on_pool(states.begin, job_id, attempt=1)
    await system.on_pool(states.complete, job_id, attempt=1, result=_result(ctx, seconds=2.5))
    video = await studio.the_video(ctx, made.video_id)
    assert video.output_file_id != first.output_file_id
    assert (await studio.file(ctx, first.output_file_id)).status is FileStatus.DELETED
    assert (await studio.file(ctx, first.thumbnail_file_id)).status is FileStatus.DELETED
    assert await studio.tokens(ctx) == (SIGN_UP - 2, 0)
    await studio.sound(ctx)


async def test_an_output_that_another_video_is_made_of_stays(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])
    await system.on_pool(states.begin, made.job_id, attempt=1)
    await system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx))
    output = (await studio.the_video(ctx, made.video_id)).output_file_id
    assert output is not None
    other = await media.create_video(ctx, "Of a result", output)
    await ctx.on_pool(media.delete_video, made.video_id)
    assert (await studio.file(ctx, output)).status is FileStatus.READY
    assert await jobs.submit_ai_job(ctx, other, effects["crop"])
    await studio.sound(ctx)


@on_every_engine
async def test_canceling_waits_for_nobody_and_takes_the_work_away(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"])
    lease = await studio.claim(world.house)
    await system.on_pool(states.begin, made.job_id, attempt=lease.attempt)
    assert await jobs.cancel_ai_job(ctx, made.job_id) == made.job_id
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.finished_at is None) == (CANCELED, False)
    assert (await studio.the_video(ctx, made.video_id)).status is VideoStatus.DRAFT
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "RELEASE"]
    assert not await system.on_system(work.extend, lease, seconds=60)
    with pytest.raises(errors.Conflict, match="CANCELED"):
        await jobs.cancel_ai_job(ctx, made.job_id)
    await studio.sound(ctx)


@on_every_engine
async def test_cancel_racing_complete_has_one_winner_and_the_ledger_agrees(world):
    ctx, system, effects = await _open(world)
    seen = set()
    for turn in range(8):
        made = await studio.submit(ctx, effects["crop"])
        await system.on_pool(states.begin, made.job_id, attempt=1)

        async def cancel(job_id=made.job_id, pause=turn % 3):
            await asyncio.sleep(pause / 1000)
            try:
                await jobs.cancel_ai_job(ctx, job_id)
            except errors.Conflict:
                return False
            return True

        completing = (system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx)) for _ in range(2))
        canceled, *completed = await asyncio.gather(cancel(), *completing)
        assert [canceled, *completed].count(True) == 1
        job = await studio.job(ctx, made.job_id)
        assert job.status is (CANCELED if canceled else SUCCEEDED)
        assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "RELEASE" if canceled else "CONSUME"]
        seen.add(canceled)
    await studio.sound(ctx)


@on_every_engine
async def test_deleting_a_video_cancels_its_job_and_nothing_is_paid(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"])
    await system.on_pool(states.begin, made.job_id, attempt=1)
    await ctx.on_pool(media.delete_video, made.video_id)
    assert (await studio.job(ctx, made.job_id)).status is CANCELED
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    await studio.sound(ctx)


async def test_completing_after_its_video_was_deleted_pays_nothing_and_leaves_no_file(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["grayscale"])
    await system.on_pool(states.begin, made.job_id, attempt=1)
    # The pool's transaction alone: the process died before anybody was told.
    await world.house.sessions.pool(ctx.route, ctx.pool_permit(), "x", media.delete_video, made.video_id)
    assert not await system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx))
    assert (await studio.job(ctx, made.job_id)).status is CANCELED
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    assert await system.on_pool(media.broken) is None


# ------------------------------------------------------------------------------------------- leases


@on_every_engine
async def test_a_stale_attempt_changes_nothing_once_another_has_begun(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])
    first = await studio.claim(world.house)
    assert await system.on_pool(states.begin, made.job_id, attempt=first.attempt)
    await studio.expire_leases(world.house)
    second = await studio.claim(world.house, owner="b")
    assert second.attempt == 2
    assert await system.on_pool(states.begin, made.job_id, attempt=second.attempt)
    assert await system.on_pool(states.begin, made.job_id, attempt=first.attempt) is None
    assert not await system.on_pool(states.progress, made.job_id, attempt=1, done=0.9)
    assert not await system.on_pool(states.complete, made.job_id, attempt=1, result=_result(ctx))
    assert not await system.on_pool(states.fail, made.job_id, attempt=1, message="late", retry=True)
    assert not await system.on_pool(states.fail, made.job_id, attempt=1, message="late", retry=False)
    assert not await system.on_system(work.finish, first)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.attempts, job.progress) == (RUNNING, 2, 0.0)
    assert await system.on_pool(states.complete, made.job_id, attempt=2, result=_result(ctx))
    assert await studio.tokens(ctx) == (SIGN_UP - 1, 0)


@on_every_engine
async def test_workers_that_never_come_back_release_the_tokens_after_the_last_attempt(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["upscale"])
    for attempt in (1, 2, 3):
        lease = await studio.claim(world.house, algorithm="gpu")
        assert await system.on_pool(states.begin, made.job_id, attempt=lease.attempt)
        assert await lost.take_back(world.house) == 0
        await studio.expire_leases(world.house)
        taken = await asyncio.gather(*(lost.take_back(world.house) for _ in range(3)))
        assert [count for count in taken if count] == [1]
        job = await studio.job(ctx, made.job_id)
        assert (job.status, job.attempts) == (FAILED if attempt == 3 else QUEUED, attempt)
        await studio.expire_leases(world.house)
    assert (await studio.job(ctx, made.job_id)).error_message == states.LOST
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "RELEASE"]
    assert (await studio.works(world.house), await studio.dead(world.house)) == ([], [("ai_job", 4)])
    await studio.sound(ctx)


async def test_jobs_of_a_suspended_tenant_wait(world):
    ctx, system, effects = await _open(world)
    made = await studio.submit(ctx, effects["crop"])
    lease = await studio.claim(world.house)
    route = dataclasses.replace(system.route, state=TenantState.SUSPENDED)
    with pytest.raises(PutOff):
        await render.process(dataclasses.replace(system, route=route), lease, studio.alive)
    assert (await studio.job(ctx, made.job_id)).status is QUEUED


@on_every_engine
async def test_popularity_counts_what_succeeded_in_30_days_over_all_tenants(world):
    ctx, system, effects = await _open(world)
    bob = await world.tenant("bob")
    for person, its in ((ctx, system), (await world.of(bob), await world.system(bob.tenant_id))):
        for slug in ("crop", "crop", "vivid"):
            made = await studio.submit(person, effects[slug])
            await its.on_pool(states.begin, made.job_id, attempt=1)
            await its.on_pool(states.complete, made.job_id, attempt=1, result=_result(person))
        canceled = await studio.submit(person, effects["vivid"])
        await jobs.cancel_ai_job(person, canceled.job_id)
    await popularity.see_to_it(world.house)
    await popularity.see_to_it(world.house)

    async def shown(db):
        return {e.slug: e.popularity for e in await db.all(sa.select(Effect)) if e.popularity}

    async def age(db):
        await db.change(sa.update(AiJob).values(finished_at=db.now - timedelta(days=31)))

    lease = work.Lease(Id(1), popularity.POPULARITY, work.NO_TENANT, 0, 0, 1, "t", ctx.house.sessions.clock.now(), "")
    await popularity.count_popularity(world.house.system(), lease, studio.alive)
    assert await world.house.system().on_system(shown) == {"crop": 4, "vivid": 2}
    await system.on_pool(age)
    await popularity.count_popularity(world.house.system(), lease, studio.alive)
    assert await world.house.system().on_system(shown) == {"crop": 2, "vivid": 1}
