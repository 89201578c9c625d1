"""What an endpoint reads of a video's and a job's end, word for word: from the real actions to the body in the log."""

from __future__ import annotations

import json

import pytest

from actions import gallery, jobs, media
from actions.jobs import states
from base.ids import global_id
from tests.actions import studio
from tests.actions import test_gallery as showing
from tests.actions import test_webhooks_out as acting
from tests.world import on_every_engine

ctx, receiver = acting.ctx, acting.receiver


async def _told(ctx):
    """Type and body's data of what was made for the endpoints."""
    rows = await acting.deliveries(ctx)
    bodies = [json.loads(row.body) for row in rows]
    assert [body["type"] for body in bodies] == [row.event_type for row in rows]
    assert {(body["version"], body["tenant"]) for body in bodies} <= {(1, ctx.tenant_id)}
    return [(body["type"], body["data"]) for body in bodies]


def _ours(ctx, name, row_id):
    return global_id(name, row_id, ctx.tenant_id)


@on_every_engine
async def test_a_job_that_failed_is_told_once_and_no_other_word_of_it(world, ctx, receiver):
    effects, system = await studio.catalog(world), await world.system(ctx.tenant_id)
    shown = await acting.hook(ctx, receiver, "ai_job.failed", "ai_job.succeeded", "video.ready")
    made = await studio.submit(ctx, effects["grayscale"])
    assert await system.on_pool(states.begin, made.job_id, attempt=1)
    assert await system.on_pool(states.fail, made.job_id, attempt=1, message="again", retry=True)
    assert await _told(ctx) == [], "it is tried again"
    assert await system.on_pool(states.begin, made.job_id, attempt=2)
    for is_first in (True, False):
        done = await system.on_pool(states.fail, made.job_id, attempt=2, message="it broke", retry=False)
        assert done is is_first
    job = {
        "ai_job_id": _ours(ctx, "AiJob", made.job_id),
        "video_id": _ours(ctx, "Video", made.video_id),
        "effect_id": global_id("Effect", effects["grayscale"]),
    }
    assert await _told(ctx) == [("ai_job.failed", job)]
    await acting.send(world.house)
    [event] = acting.events_of(receiver, shown.secret)
    assert (event["type"], event["data"]) == ("ai_job.failed", job)


async def test_a_canceled_job_is_told_by_no_event(world, ctx, receiver):
    effects = await studio.catalog(world)
    await acting.hook(ctx, receiver, "ai_job.failed", "ai_job.succeeded")
    made = await studio.submit(ctx, effects["grayscale"])
    await jobs.cancel_ai_job(ctx, made.job_id)
    assert await _told(ctx) == []


@on_every_engine
async def test_a_published_video_that_is_deleted_is_told_as_unpublished(world, ctx, receiver):
    shown = await acting.hook(ctx, receiver, "video.unpublished")
    video_id = await showing._ready(ctx)
    done = await gallery.publish(ctx, video_id)
    await ctx.on_pool(media.delete_video, video_id)
    gone = {"video_id": _ours(ctx, "Video", video_id), "gallery_video_id": global_id("GalleryVideo", done.id)}
    assert await _told(ctx) == [("video.unpublished", gone)]
    await acting.send(world.house)
    [event] = acting.events_of(receiver, shown.secret)
    assert (event["type"], event["data"]) == ("video.unpublished", gone)


@pytest.mark.parametrize("was_published", [False, True])
async def test_a_deleted_video_that_nobody_saw_any_more_is_told_by_no_event(ctx, receiver, was_published):
    video_id = await showing._ready(ctx)
    if was_published:
        await gallery.publish(ctx, video_id)
        await ctx.on_pool(gallery.unpublish_video, video_id)
    await acting.hook(ctx, receiver, "video.unpublished")
    await ctx.on_pool(media.delete_video, video_id)
    assert await _told(ctx) == []
