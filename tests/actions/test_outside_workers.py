"""Workers that are not ours, over real HTTP: claim, fetch, heartbeat, upload, complete, fail; and providers we call."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from standardwebhooks import Webhook

from actions import jobs
from actions.jobs import lost
from db.tables.pool.jobs import AiJobStatus
from db.tables.pool.media import FileStatus, VideoStatus
from outside.store import Store
from tests.actions import studio
from tests.actions.studio import COSTS, SIGN_UP
from tests.outside.receiver import receiving
from tests.serving import serving
from tests.world import WORKER_TOKEN, on_every_engine, opened

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SUCCEEDED, FAILED, CANCELED = AiJobStatus.SUCCEEDED, AiJobStatus.FAILED, AiJobStatus.CANCELED

STATE = "{ canceled leaseExpiresAt userErrors { code field message } }"
CLAIM = """mutation ($input: ClaimAiJobsInput!) { claimAiJobs(input: $input) { userErrors { code field message }
    claims { jobId tenantSlug effectSlug params attempt inputUrl leaseToken leaseExpiresAt } } }"""
BEAT = f"mutation ($t: String!, $p: Float!) {{ heartbeatAiJob(leaseToken: $t, progress: $p) {STATE} }}"
OUTPUT = """mutation ($t: String!, $m: String!, $n: BigInt!, $s: String!) {
    createAiJobOutput(leaseToken: $t, mimeType: $m, sizeBytes: $n, sha256: $s) {
        uploadUrl uploadHeaders userErrors { code field message } } }"""
COMPLETE = f"mutation ($t: String!) {{ completeAiJob(leaseToken: $t) {STATE} }}"
FAIL = (
    f"mutation ($t: String!, $m: String!, $r: Boolean) {{ failAiJob(leaseToken: $t, message: $m, retry: $r) {STATE} }}"
)


async def _open(world, name="alice"):
    ctx = await world.of(await world.tenant(name))
    return ctx, await studio.catalog(world)


class Gpu:
    """A worker of somebody else's; without a bearer it has its lease token alone."""

    def __init__(self, served, *, bearer=WORKER_TOKEN) -> None:
        self.served = served
        self.bearer = bearer

    async def say(self, query, *, host="localhost", **variables):
        return await self.served.graphql(query, variables, host=host, token=self.bearer)

    async def told(self, query, **variables):
        (payload,) = (await self.say(query, **variables)).data.values()
        return payload

    async def claim(self, **more):
        asked = {"workerName": "gpu-7", "algorithms": ["gpu"], **more}
        payload = await self.told(CLAIM, input=asked)
        assert payload["userErrors"] == []
        return payload["claims"]

    async def one(self):
        """The one claim that there is; a submission is delivered a moment after its answer on a busy machine."""
        async with asyncio.timeout(30):
            while not (claims := await self.claim()):
                await asyncio.sleep(0.05)
        [claim] = claims
        return claim

    async def place(self, token, data, *, mime="video/mp4"):
        sha256 = hashlib.sha256(data).hexdigest()
        return await self.told(OUTPUT, t=token, m=mime, n=str(len(data)), s=sha256)

    async def put(self, place, data):
        return await self.served.stream("PUT", place["uploadUrl"], headers=place["uploadHeaders"], content=data)

    async def deliver(self, token, data):
        place = await self.place(token, data)
        assert place["userErrors"] == []
        assert (await self.put(place, data)).status_code == 200
        return await self.told(COMPLETE, t=token)


@on_every_engine
async def test_a_worker_takes_a_job_from_claim_to_poster(world, served):
    ctx, effects = await _open(world)
    film = await studio.film()
    made = await studio.submit(ctx, effects["upscale"], film)
    gpu = Gpu(served)
    [claim] = await gpu.claim(max=5)
    assert (claim["tenantSlug"], claim["effectSlug"], claim["attempt"], claim["params"]) == (
        "alice1",
        "upscale",
        1,
        None,
    )
    assert await gpu.claim() == []
    assert (await served.stream("GET", claim["inputUrl"])).content == film
    token = claim["leaseToken"]
    beat = await gpu.told(BEAT, t=token, p=0.5)
    assert (beat["canceled"], beat["userErrors"], beat["leaseExpiresAt"] > claim["leaseExpiresAt"]) == (False, [], True)
    assert (await studio.job(ctx, made.job_id)).progress == 0.5
    result = await studio.film(2.0)
    assert (await gpu.deliver(token, result))["canceled"] is False
    # A worker that did not hear the answer asks again.
    assert (await gpu.told(COMPLETE, t=token))["canceled"] is False
    await studio.work_off(world.house, "poster")
    job, video = await studio.job(ctx, made.job_id), await studio.the_video(ctx, made.video_id)
    assert (job.status, job.tokens_consumed, job.progress) == (SUCCEEDED, COSTS["upscale"], 1.0)
    assert await studio.bytes_of(ctx, video.output_file_id) == result
    assert (await studio.file(ctx, video.output_file_id)).user_id == job.user_id
    assert video.status is VideoStatus.READY
    assert video.duration_seconds == pytest.approx(2.0, abs=0.2)
    assert (await studio.file(ctx, video.thumbnail_file_id)).mime_type == "image/jpeg"
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["upscale"], 0)
    assert await studio.works(world.house) == [("DONE", 1)]
    await studio.sound(ctx)


async def test_who_may_speak_where(world, served):
    ctx, effects = await _open(world)
    await studio.submit(ctx, effects["upscale"])
    claim = {"input": {"workerName": "x", "algorithms": ["gpu"]}}
    alice = await world.of(await world.tenant("bob"))
    assert alice.viewer is not None
    for bearer in (None, "w" * 39, "x" * 40):
        assert (await Gpu(served, bearer=bearer).say(CLAIM, **claim)).codes == ["UNAUTHENTICATED"]
    assert (await Gpu(served).say(CLAIM, host="alice1.localhost", **claim)).codes == ["FORBIDDEN"]
    [claimed] = await Gpu(served).claim()
    token = claimed["leaseToken"]
    nobody = Gpu(served, bearer=None)
    assert (await nobody.told(BEAT, t=token, p=0.1))["canceled"] is False
    assert (await nobody.say(BEAT, host="alice1.localhost", t=token, p=0.1)).codes == ["FORBIDDEN"]
    body, _, signature = token.partition(".")
    for forged in (
        "",
        "x",
        body,
        f"{body}.",
        f"{body[:-2]}AA.{signature}",
        f"{body}.{signature[:-1]}",
        "é" * 20,
        "." * 5,
    ):
        [error] = (await Gpu(served).told(BEAT, t=forged, p=0.1))["userErrors"]
        assert (error["code"], error["field"]) == ("INVALID", ["leaseToken"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max": 0}, "max"),
        ({"max": 21}, "max"),
        ({"leaseSeconds": 9}, "leaseSeconds"),
        ({"leaseSeconds": 601}, "leaseSeconds"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["a"] * 51}, "algorithms"),
        ({"algorithms": ["x" * 81]}, "algorithms"),
        ({"algorithms": ["é"]}, "algorithms"),
        ({"workerName": " "}, "workerName"),
    ],
)
async def test_a_claim_out_of_range_names_its_field(served, change, field):
    asked = {"workerName": "gpu-7", "algorithms": ["gpu"], **change}
    payload = await Gpu(served).told(CLAIM, input=asked)
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("INVALID", ["input", field])]


async def test_other_words_out_of_range_name_their_argument_and_change_nothing(world, served):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["upscale"])
    gpu = Gpu(served)
    claim = await gpu.one()
    token, sha = claim["leaseToken"], "0" * 64
    for query, variables, field in (
        (BEAT, {"p": 1.5}, "progress"),
        (BEAT, {"p": -0.1}, "progress"),
        (OUTPUT, {"m": "image/png", "n": "10", "s": sha}, "mimeType"),
        (OUTPUT, {"m": "text/plain", "n": "10", "s": sha}, "mimeType"),
        (OUTPUT, {"m": "video/mp4", "n": "0", "s": sha}, "sizeBytes"),
        (OUTPUT, {"m": "video/mp4", "n": str(2**40), "s": sha}, "sizeBytes"),
        (OUTPUT, {"m": "video/mp4", "n": "10", "s": "xyz"}, "sha256"),
        (FAIL, {"m": " "}, "message"),
        (FAIL, {"m": "m" * 1_001}, "message"),
        (COMPLETE, {}, "leaseToken"),
    ):
        [error] = (await gpu.told(query, t=token, **variables))["userErrors"]
        assert error["field"] == [field], variables
    assert (await studio.job(ctx, made.job_id)).status is AiJobStatus.RUNNING


async def test_the_upload_takes_the_promised_bytes_alone(world, served):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["upscale"])
    gpu = Gpu(served)
    claim = await gpu.one()
    token, film = claim["leaseToken"], await studio.film()
    place = await gpu.place(token, film)
    # Of another length is a client's own protocol error (tests/http); of another content is found by its checksum.
    assert (await gpu.put(place, film[:-1] + bytes([film[-1] ^ 1]))).status_code >= 400
    [error] = (await gpu.told(COMPLETE, t=token))["userErrors"]
    assert (error["code"], (await studio.job(ctx, made.job_id)).status) == ("CONFLICT", AiJobStatus.RUNNING)
    assert (await gpu.put(place, film)).status_code == 200
    assert (await gpu.told(COMPLETE, t=token))["canceled"] is False
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["upscale"], 0)
    await studio.sound(ctx)


async def test_bytes_that_are_no_film_are_discarded_and_the_worker_may_try_again(world, served):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["upscale"])
    gpu = Gpu(served)
    claim = await gpu.one()
    token = claim["leaseToken"]
    [error] = (await gpu.deliver(token, b"ffconcat version 1.0\nfile 'x'\n"))["userErrors"]
    assert error["code"] == "INVALID"
    assert (await studio.job(ctx, made.job_id)).status is AiJobStatus.RUNNING
    assert (await studio.tokens(ctx))[1] == COSTS["upscale"]
    assert (await gpu.deliver(token, await studio.film()))["canceled"] is False
    assert (await studio.job(ctx, made.job_id)).status is SUCCEEDED
    await studio.sound(ctx)


async def test_what_came_to_nothing_leaves_no_file_and_no_bytes_in_the_quota(world, served):
    ctx, effects = await _open(world)
    film = await studio.film()
    gpu = Gpu(served)
    for end in ("cancel", "fail", "replaced", "lost"):
        made = await studio.submit(ctx, effects["upscale"])
        claim = await gpu.one()
        token = claim["leaseToken"]
        place = await gpu.place(token, film)
        await gpu.put(place, film)
        first = await studio.file(ctx, (await studio.job(ctx, made.job_id)).output_file_id)
        if end == "fail":
            assert (await gpu.told(FAIL, t=token, m="no memory", r=False))["canceled"] is False
        elif end == "replaced":
            assert (await gpu.deliver(token, await studio.film(2.0)))["canceled"] is False
        elif end == "lost":
            await studio.expire_leases(world.house)
            assert await lost.take_back(world.house) == 1
            await jobs.cancel_ai_job(ctx, made.job_id)
        else:
            await jobs.cancel_ai_job(ctx, made.job_id)
        assert (await studio.file(ctx, first.id)).status is FileStatus.DELETED, end
        assert await world.house.service(Store).head(first.key) is None
        late = await gpu.told(COMPLETE, t=token)
        assert late["canceled"] is (end != "replaced")
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["upscale"], 0)
    await studio.sound(ctx)


@on_every_engine
async def test_a_canceled_or_lost_job_is_told_at_every_word_and_nothing_changes(world, served):
    ctx, effects = await _open(world)
    gpu = Gpu(served)
    made = await studio.submit(ctx, effects["upscale"])
    [first] = await gpu.claim()
    await studio.expire_leases(world.house)
    [second] = await gpu.claim()
    assert (first["attempt"], second["attempt"]) == (1, 2)
    stale, film = first["leaseToken"], await studio.film()
    assert (await gpu.told(BEAT, t=stale, p=0.9))["canceled"]
    assert (await gpu.place(stale, film))["userErrors"][0]["code"] == "CONFLICT"
    assert (await gpu.told(COMPLETE, t=stale))["canceled"]
    assert (await gpu.told(FAIL, t=stale, m="late"))["canceled"]
    assert (await studio.job(ctx, made.job_id)).progress == 0.0
    assert (await gpu.told(BEAT, t=second["leaseToken"], p=0.1))["canceled"] is False
    place = await gpu.place(second["leaseToken"], film)
    await jobs.cancel_ai_job(ctx, made.job_id)
    assert (await gpu.told(BEAT, t=second["leaseToken"], p=0.2))["canceled"]
    await gpu.put(place, film)
    assert (await gpu.told(COMPLETE, t=second["leaseToken"]))["canceled"]
    assert await studio.ledger(ctx, made.job_id) == ["RESERVE", "RELEASE"]
    await studio.sound(ctx)


@on_every_engine
async def test_completing_at_once_and_canceling_meanwhile_has_one_end(world, served):
    ctx, effects = await _open(world)
    gpu, film = Gpu(served), await studio.film()
    for _ in range(3):
        made = await studio.submit(ctx, effects["upscale"])
        claim = await gpu.one()
        place = await gpu.place(claim["leaseToken"], film)
        await gpu.put(place, film)
        completing = [gpu.say(COMPLETE, t=claim["leaseToken"]) for _ in range(4)]
        await asyncio.gather(jobs.cancel_ai_job(ctx, made.job_id), *completing, return_exceptions=True)
        job = await studio.job(ctx, made.job_id)
        assert job.status in (SUCCEEDED, CANCELED)
        end = "CONSUME" if job.status is SUCCEEDED else "RELEASE"
        assert await studio.ledger(ctx, made.job_id) == ["RESERVE", end]
    await studio.sound(ctx)


async def test_a_worker_that_fails_is_asked_again_and_the_last_time_ends_it(world, served):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["upscale"])
    gpu = Gpu(served)
    for attempt in (1, 2, 3):
        claim = await gpu.one()
        assert claim["attempt"] == attempt
        assert (await gpu.told(FAIL, t=claim["leaseToken"], m=f"no.  {attempt}", r=None))["canceled"] is False
        assert await gpu.claim() == []
        await studio.expire_leases(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.error_message, job.attempts) == (FAILED, "no. 3", 3)
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    await studio.sound(ctx)


async def test_claims_go_round_the_tenants_of_all_pools(world, served):
    effects = await studio.catalog(world)
    people = [await world.of(await world.tenant(name)) for name in ("alice", "bob", "carol")]
    assert {person.route.pool for person in people} == {"tenant_pool_1", "tenant_pool_2"}
    for person, count in zip(people, (5, 1, 1), strict=True):
        for video_id in await studio.drafts(person, count):
            await jobs.submit_ai_job(person, video_id, effects["upscale"])
    claims = await Gpu(served).claim(max=3)
    assert {claim["tenantSlug"] for claim in claims} == {"alice1", "bob1", "carol1"}
    rest = await Gpu(served).claim(max=20)
    assert [claim["tenantSlug"] for claim in rest] == ["alice1"] * 4


# ------------------------------------------------------------------------------------------- providers


@pytest.fixture
async def provided(templates, tmp_path):
    """A world whose `http` algorithms go to a receiver, and its server."""
    made = await templates.fresh("sqlite", tmp_path)
    async with receiving(status=202) as receiver:
        named = json.dumps({"acme": {"url": receiver.url, "secret": SECRET}})
        async with (
            opened("sqlite", made, tmp_path, ATRIUM_JOB_PROVIDERS=named, ATRIUM_EGRESS_ALLOW="127.0.0.0/8:*") as world,
            serving(world) as client,
        ):
            yield world, client, receiver


async def _until(world, wanted):
    async with asyncio.timeout(studio.WAIT_SECONDS_MAX):
        while not await wanted():
            await asyncio.sleep(0.05)


async def test_a_provider_gets_the_signed_claim_and_goes_on_with_its_token_alone(provided):
    world, served, receiver = provided
    ctx, effects = await _open(world)
    film = await studio.film()
    made = await studio.submit(ctx, effects["dream"], film)
    async with studio.working(world.house):

        async def offered():
            return receiver.requests

        await _until(world, offered)
    [(_, headers, body)] = receiver.requests
    claim = Webhook(SECRET).verify(body, headers)
    assert (claim["effectSlug"], claim["attempt"], claim["tenantSlug"]) == ("dream", 1, "alice1")
    # The worker has stopped meanwhile: what was handed over is not given back.
    assert await studio.works(world.house) == [("LEASED", 1)]
    provider = Gpu(served, bearer=None)
    assert (await served.stream("GET", claim["inputUrl"])).content == film
    assert (await provider.told(BEAT, t=claim["leaseToken"], p=0.3))["canceled"] is False
    assert (await provider.deliver(claim["leaseToken"], film))["canceled"] is False
    assert (await studio.job(ctx, made.job_id)).status is SUCCEEDED
    assert await studio.tokens(ctx) == (SIGN_UP - COSTS["dream"], 0)
    assert await studio.works(world.house) == [("DONE", 1)]
    await studio.sound(ctx)


async def test_a_provider_that_refuses_ends_the_job_and_one_that_is_away_is_asked_again(provided):
    world, _, receiver = provided
    ctx, effects = await _open(world)
    receiver.status = 400
    refused = await studio.submit(ctx, effects["dream"])
    await studio.work_off(world.house)
    assert (await studio.job(ctx, refused.job_id)).status is FAILED
    assert len(receiver.requests) == 1
    receiver.status = 503
    away = await studio.submit(ctx, effects["dream"])
    await studio.work_off(world.house)
    job = await studio.job(ctx, away.job_id)
    assert (job.status, job.attempts, len(receiver.requests)) == (FAILED, 3, 4)
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    await studio.sound(ctx)


async def test_a_provider_that_accepted_and_went_silent_is_asked_again(provided):
    world, _, receiver = provided
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["dream"])
    async with studio.working(world.house):
        for attempt in (1, 2, 3):

            async def offered(attempt=attempt):
                return len(receiver.requests) == attempt and await studio.works(world.house) == [("LEASED", attempt)]

            await _until(world, offered)
            await asyncio.sleep(0.2)
            await studio.expire_leases(world.house)

        async def ended():
            return await studio.dead(world.house)

        await _until(world, ended)
    assert await studio.dead(world.house) == [("ai_job", 4)]
    assert (await studio.job(ctx, made.job_id)).status is FAILED
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
    await studio.sound(ctx)


async def test_an_effect_whose_provider_is_not_set_up_fails_with_that_reason(world):
    ctx, effects = await _open(world)
    made = await studio.submit(ctx, effects["dream"])
    await studio.work_off(world.house)
    job = await studio.job(ctx, made.job_id)
    assert (job.status, job.error_message) == (FAILED, "No provider is set up for this effect.")
    assert await studio.tokens(ctx) == (SIGN_UP, 0)
