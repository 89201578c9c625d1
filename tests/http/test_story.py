"""The newcomer's story over a real server with its worker beside it: from registering to a film in the public gallery.

Told on SQLite, on MariaDB with both of its drivers, and on PostgreSQL, with the effects of the demo's catalog.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from dataclasses import dataclass
from typing import Any

import av
import pytest
from gql import GraphQLRequest
from rich.console import Console

from cli.demo import frame
from tests import serving
from tests import world as worlds
from tests.actions import studio
from tests.http import gql_clients

EFFECT = "sepia"
WAIT_SECONDS_MAX = 60
SIGN_UP = 100
DRIVERS = [
    "sqlite",
    pytest.param("mysql+aiomysql", marks=pytest.mark.services),
    pytest.param("mysql+asyncmy", marks=pytest.mark.services),
    pytest.param("postgresql+asyncpg", marks=pytest.mark.services),
]

REGISTER = """mutation ($input: RegisterInput!) { register(input: $input) {
    token user { email } tenant { slug url domains } userErrors { code field message } } }"""
UPLOAD = """mutation ($input: CreateUploadInput!) { createUpload(input: $input) {
    file { id status url } uploadUrl uploadHeaders userErrors { code field message } } }"""
COMPLETE = """mutation ($id: ID!) { completeUpload(fileId: $id) {
    file { id status sizeBytes sha256 } userErrors { code field message } } }"""
CREATE = """mutation ($input: CreateVideoInput!) { createVideo(input: $input) {
    video { id status isPublished } userErrors { code field message } } }"""
SUBMIT = """mutation ($input: SubmitAiJobInput!) { submitAiJob(input: $input) {
    aiJob { id status tokensReserved } wallet { balance reserved } userErrors { code field message } } }"""
WATCH = "subscription ($id: ID!) { aiJob(id: $id) { status progress tokensConsumed video { status } } }"
VIDEO = """query ($id: ID!) { video(id: $id) { status durationSeconds isPublished effect { slug }
    outputFile { mimeType sizeBytes sha256 url } thumbnail { url mimeType } galleryVideo { id title viewCount }
    exports { nodes { id status format width file { mimeType url } } } } }"""
WALLET = """{ wallet { balance reserved debt transactions { nodes {
    kind amount balanceAfter aiJob { id } } } } }"""
PUBLISH = """mutation ($id: ID!) { publishVideo(id: $id) {
    galleryVideo { id title tenantSlug } userErrors { code field message } } }"""
UNPUBLISH = """mutation ($id: ID!) { unpublishVideo(id: $id) {
    video { isPublished galleryVideo { id } } userErrors { code field message } } }"""
EXPORT = """mutation ($input: CreateExportInput!) { createExport(input: $input) {
    export { id status } userErrors { code field message } } }"""
DELETE_VIDEO = "mutation ($id: ID!) { deleteVideo(id: $id) { deletedId userErrors { code field message } } }"
DELETE_FILE = "mutation ($id: ID!) { deleteFile(id: $id) { deletedId userErrors { code field message } } }"
GALLERY = """query ($slug: String!) { gallery(filter: {tenantSlug: $slug}) { totalCount nodes {
    id title tags processedFileUrl thumbnailUrl tenantSlug effect { slug name category { slug } } } } }"""
EFFECTS = """query ($slug: String!) { effect(slug: $slug) { id slug tokenCost category { slug } }
    effects(first: 100) { totalCount } categories { slug } }"""


@pytest.fixture
async def town(anyio_backend, request, templates, tmp_path):
    """The product with its worker as `make run` serves it, the demo's catalog loaded, nobody there yet."""
    driver = request.param
    engine = {"sqlite": "sqlite", "mysql": "mariadb", "postgresql": "postgresql"}[driver.partition("+")[0]]
    made = await templates.fresh(engine, tmp_path)
    if driver == "mysql+asyncmy":
        pools = {name: _by(driver, url) for name, url in made.pools.items()}
        made = worlds.Migrated(_by(driver, made.central_url), pools)
    async with worlds.opened(engine, made, tmp_path) as world:
        with frame.Bars(Console(quiet=True)) as bars:
            await frame.load(world.house, frame.Size(0, 0, 0), seed=1, password=worlds.PASSWORD, bars=bars)
        async with serving.serving(world, with_worker=True) as client:
            yield client


def _by(driver: str, url: str) -> str:
    return f"{driver}{url[url.index(':') :]}"


@dataclass
class Newcomer:
    """Somebody's program: what it knows is what it was answered."""

    served: serving.Client
    host: str = "localhost"
    token: str | None = None

    async def ask(self, query: str, **variables: Any) -> Any:
        """The one root field's answer, refused by nobody."""
        async with gql_clients.over_http(self.served, host=self.host, token=self.token) as session:
            data = await session.execute(GraphQLRequest(query, variable_values=variables))
        answer = next(iter(data.values())) if len(data) == 1 else data
        if isinstance(answer, dict):
            assert answer.get("userErrors", []) == []
        return answer

    async def watch(self, job_id: str) -> list[dict[str, Any]]:
        """What the job's subscription tells until it completes by itself."""
        async with gql_clients.over_socket(self.served, host=self.host, token=self.token) as session:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                asked = GraphQLRequest(WATCH, variable_values={"id": job_id})
                return [told["aiJob"] async for told in session.subscribe(asked)]

    async def until(self, query: str, ready: Any, **variables: Any) -> Any:
        """Ask again until the answer is ready."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not ready(answer := await self.ask(query, **variables)):
                await asyncio.sleep(0.2)
        return answer

    async def download(self, url: str) -> bytes:
        """What a link gives to whoever has it, without a token."""
        got = await self.served.stream("GET", url)
        assert got.status_code == 200
        return got.content


# ------------------------------------------------------------------------------------------- chapters


async def _register(visitor: Newcomer) -> Newcomer:
    said = {"name": "Nora", "email": "nora@example.com", "password": worlds.PASSWORD, "slug": "nora"}
    done = await visitor.ask(REGISTER, input=said)
    assert (done["user"]["email"], done["tenant"]["slug"]) == ("nora@example.com", "nora1")
    assert done["tenant"]["domains"] == ["nora1.localhost"]
    assert done["tenant"]["url"] == f"http://nora1.localhost:{visitor.served.port}/graphql"
    return Newcomer(visitor.served, "nora1.localhost", done["token"])


async def _upload(nora: Newcomer, film: bytes) -> str:
    said = {"name": "walk.mp4", "mimeType": "video/mp4", "sizeBytes": len(film)}
    new = await nora.ask(UPLOAD, input={**said, "sha256": hashlib.sha256(film).hexdigest()})
    assert (new["file"]["status"], new["file"]["url"]) == ("UPLOADING", None)
    assert new["uploadUrl"].startswith(f"http://nora1.localhost:{nora.served.port}/uploads/")
    put = await nora.served.stream("PUT", new["uploadUrl"], headers=new["uploadHeaders"], content=film)
    assert put.status_code == 200
    done = await nora.ask(COMPLETE, id=new["file"]["id"])
    sha256 = hashlib.sha256(film).hexdigest()
    assert done["file"] == {"id": new["file"]["id"], "status": "READY", "sizeBytes": len(film), "sha256": sha256}
    return new["file"]["id"]


async def _make(nora: Newcomer, file_id: str) -> tuple[str, int]:
    """A video with the effect applied: its id and what it has cost."""
    shop = await nora.ask(EFFECTS, slug=EFFECT)
    effect = shop["effect"]
    assert shop["effects"]["totalCount"] >= 40
    assert len(shop["categories"]) >= 8
    said = {"title": "A walk", "inputFileId": file_id, "effectId": effect["id"], "tags": ["Evening"]}
    made = await nora.ask(CREATE, input=said)
    assert (made["video"]["status"], made["video"]["isPublished"]) == ("DRAFT", False)
    video_id, cost = made["video"]["id"], effect["tokenCost"]
    asked = {"videoId": video_id, "effectId": effect["id"], "idempotencyKey": "my first"}
    job = await nora.ask(SUBMIT, input=asked)
    assert (job["aiJob"]["tokensReserved"], job["wallet"]) == (cost, {"balance": SIGN_UP - cost, "reserved": cost})
    told = await nora.watch(job["aiJob"]["id"])
    assert [each["progress"] for each in told] == sorted(each["progress"] for each in told)
    assert told[-1] == {"status": "SUCCEEDED", "progress": 1, "tokensConsumed": cost, "video": {"status": "READY"}}
    # The answer was lost on the way: the same key is the same job, and nothing is paid twice.
    again = await nora.ask(SUBMIT, input=asked)
    assert again["aiJob"]["id"] == job["aiJob"]["id"]
    wallet = await nora.ask(WALLET)
    assert (wallet["balance"], wallet["reserved"], wallet["debt"]) == (SIGN_UP - cost, 0, 0)
    entries = [(each["kind"], each["amount"], each["balanceAfter"]) for each in wallet["transactions"]["nodes"]]
    left = SIGN_UP - cost
    assert entries == [("CONSUME", 0, left), ("RESERVE", -cost, left), ("REWARD", SIGN_UP, SIGN_UP)]
    assert [each["aiJob"] for each in wallet["transactions"]["nodes"]] == [*([{"id": job["aiJob"]["id"]}] * 2), None]
    return video_id, cost


async def _look_at(nora: Newcomer, video_id: str, film: bytes) -> bytes:
    """The result is a real film of the same length with a real picture beside it."""
    video = await nora.until(VIDEO, lambda video: video["thumbnail"] is not None, id=video_id)
    assert (video["status"], video["effect"]["slug"], video["isPublished"]) == ("READY", EFFECT, False)
    output = video["outputFile"]
    result = await nora.download(output["url"])
    assert (output["mimeType"], output["sizeBytes"]) == ("video/mp4", len(result))
    assert output["sha256"] in (None, hashlib.sha256(result).hexdigest())
    assert result != film
    with av.open(io.BytesIO(result), "r") as opened, av.open(io.BytesIO(film), "r") as original:
        assert "mp4" in opened.format.name
        (made, was) = opened.streams.video[0], original.streams.video[0]
        assert (made.width, made.height) == (was.width, was.height)
        assert opened.duration == pytest.approx(original.duration, rel=0.1)
        assert len(list(opened.decode(made))) > 10
    assert video["durationSeconds"] == pytest.approx(1.0, abs=0.15)
    with av.open(io.BytesIO(await nora.download(video["thumbnail"]["url"])), "r") as picture:
        assert next(picture.decode(video=0)).width > 0
    return result


async def _publish(nora: Newcomer, visitor: Newcomer, video_id: str, result: bytes) -> str:
    """Published, and seen by somebody without a token on the central host; the public address of the film."""
    shown = (await nora.ask(PUBLISH, id=video_id))["galleryVideo"]
    assert (shown["title"], shown["tenantSlug"]) == ("A walk", "nora1")
    seen = await visitor.ask(GALLERY, slug="nora1")
    assert seen["totalCount"] == 1
    (row,) = seen["nodes"]
    assert (row["id"], row["title"], row["tags"]) == (shown["id"], "A walk", ["Evening"])
    assert (row["tenantSlug"], row["effect"]["slug"]) == ("nora1", EFFECT)
    assert await visitor.download(row["processedFileUrl"]) == result
    assert (await visitor.served.stream("GET", row["thumbnailUrl"])).headers["content-type"] == "image/jpeg"
    mine = await nora.ask(VIDEO, id=video_id)
    assert (mine["isPublished"], mine["galleryVideo"]["id"]) == (True, shown["id"])
    return str(row["processedFileUrl"])


async def _export(nora: Newcomer, video_id: str) -> None:
    done = await nora.ask(EXPORT, input={"videoId": video_id, "format": "GIF", "width": 80})
    assert done["export"]["status"] in ("QUEUED", "RUNNING")
    video = await nora.until(VIDEO, lambda video: video["exports"]["nodes"][0]["file"] is not None, id=video_id)
    (export,) = video["exports"]["nodes"]
    assert (export["id"], export["status"], export["format"]) == (done["export"]["id"], "READY", "GIF")
    assert export["file"]["mimeType"] == "image/gif"
    moving = await nora.download(export["file"]["url"])
    assert moving.startswith(b"GIF89a")
    with av.open(io.BytesIO(moving), "r") as opened:
        assert opened.streams.video[0].width == 80
        assert len(list(opened.decode(video=0))) > 1


async def _take_back(nora: Newcomer, visitor: Newcomer, video_id: str, *, address: str, file_id: str) -> None:
    """Unpublished it is gone for everybody; deleted it is gone for its owner too, and nothing of it can be loaded."""
    hidden = await nora.ask(UNPUBLISH, id=video_id)
    assert hidden["video"] == {"isPublished": False, "galleryVideo": None}
    assert await visitor.ask(GALLERY, slug="nora1") == {"totalCount": 0, "nodes": []}
    assert (await visitor.served.stream("GET", address)).status_code == 404
    links = await nora.ask(VIDEO, id=video_id)
    assert (await nora.ask(DELETE_VIDEO, id=video_id))["deletedId"] == video_id
    assert await nora.ask(VIDEO, id=video_id) is None
    assert (await nora.ask(DELETE_FILE, id=file_id))["deletedId"] == file_id
    assert await nora.ask("{ files { totalCount } }") == {"totalCount": 0}
    for url in (links["outputFile"]["url"], links["thumbnail"]["url"], links["exports"]["nodes"][0]["file"]["url"]):
        assert (await nora.served.stream("GET", url)).status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("town", DRIVERS, indirect=True)
async def test_a_newcomer_gets_from_registering_to_a_film_in_the_gallery_and_takes_it_back(town):
    film = await studio.film(1.0)
    visitor = Newcomer(town)
    nora = await _register(visitor)
    file_id = await _upload(nora, film)
    video_id, _ = await _make(nora, file_id)
    result = await _look_at(nora, video_id, film)
    address = await _publish(nora, visitor, video_id, result)
    await _export(nora, video_id)
    await _take_back(nora, visitor, video_id, address=address, file_id=file_id)
    rewards = await nora.ask("{ rewards { nodes { kind claimedAt } } }")
    waiting = {each["kind"] for each in rewards["nodes"] if each["claimedAt"] is None}
    assert waiting == {"DAILY", "FIRST_PUBLISH"}
