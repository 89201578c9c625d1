"""The embedded store's two HTTP endpoints under attack, and how they hold a disk and a slow network."""

import asyncio
import json
import os
import secrets
import tracemalloc
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette

from outside import files_local
from outside.files_local import disk
from tests.outside import file_worlds
from tests.outside.s3_server import ORIGIN

DATA = bytes(range(256)) * 40
HOSTILE_PATHS = (
    "/files/../secret.key",
    "/files/t/aa/../../../secret.key",
    "/files/%2e%2e/secret.key",
    "/files/t%2faa%2f" + "0" * 32,
    "/files/t/aa/%00" + "0" * 31,
    "/files//t/aa/" + "0" * 32,
    "/files/t//aa/" + "0" * 32,
    "/files/incoming/" + "0" * 32,
    "/files//etc/passwd",
    "/files/public/" + "0" * 32 + ".html",
    "/files/public/../t/aa/" + "0" * 32,
    "/files/t/aa/" + "0" * 32 + "/",
    "/files/",
    "/uploads/",
    "/uploads/public/" + "0" * 32 + ".html",
    "/uploads/..%5c..%5cx",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("http")
    with file_worlds.local_world(folder) as made:
        (folder / "secret.key").write_text("canary")
        (made.root / "secret.key").write_text("canary")
        yield made


def new_key() -> str:
    return f"t/aa/{secrets.token_hex(16)}"


async def promise(world, key, data=DATA):
    return await world.store.upload_url(
        key, size_bytes=len(data), mime_type="video/mp4", sha256=None, origin=world.origin
    )


def link(world, key, **changed):
    asked = {"mime_type": "video/mp4", "name": "a.mp4", "inline": True, "origin": world.origin} | changed
    return world.store.download_url(key, **asked)


async def raw(world, head: str, *, body: bytes = b"", end: bool = True) -> bytes:
    """What comes back for exactly these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(world.origin).port)
    writer.write(head.encode("latin-1") + body)
    await writer.drain()
    if end:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    return answer


def request(method: str, url: str, **headers: str) -> str:
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""])


def refusal(answer: httpx.Response) -> str:
    """The code of a GraphQL-shaped refusal."""
    assert answer.headers["content-type"] == "application/json"
    [error] = answer.json()["errors"]
    assert error["message"]
    return error["extensions"]["code"]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
async def test_a_path_that_is_no_key_is_not_found(world, path):
    host = urlsplit(world.origin).netloc
    for method in ("GET", "PUT"):
        answer = await raw(world, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404"), (method, path, head)
        assert b"canary" not in answer
        assert json.loads(body)["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_a_link_of_one_host_opens_nothing_on_another(world):
    key, foreign = new_key(), f"bob2.localhost:{urlsplit(world.origin).port}"
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    answer = await world.send("GET", link(world, key), headers={"host": foreign})
    assert (answer.status_code, refusal(answer)) == (403, "FORBIDDEN")
    promised = await promise(world, other := new_key())
    answer = await world.send("PUT", promised.url, content=DATA, headers=promised.headers | {"host": foreign})
    assert (answer.status_code, refusal(answer)) == (403, "FORBIDDEN")
    assert await world.store.head(other) is None
    upper = urlsplit(world.origin).netloc.upper()
    assert (await world.send("GET", link(world, key), headers={"host": upper})).status_code == 200


async def test_a_download_link_is_no_upload_link_and_the_reverse(world):
    key = new_key()
    promised = await promise(world, key)
    swapped = link(world, key).replace("/files/", "/uploads/")
    answer = await world.send("PUT", swapped, content=DATA, headers=promised.headers)
    assert (answer.status_code, await world.store.head(key)) == (403, None)
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    assert (await world.send("GET", promised.url.replace("/uploads/", "/files/"))).status_code == 403


async def test_a_link_that_says_a_thing_twice_or_one_too_many_is_refused(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    good = link(world, key)
    for more in (
        "&type=text%2Fhtml",
        "&expires=99999999999",
        "&x=1",
        "&",
        "&signature=a",
        "&x=%ff",
        "&" + "a=1&" * 2000,
    ):
        answer = await world.send("GET", good + more)
        assert (answer.status_code, refusal(answer)) == (403, "FORBIDDEN"), more
    # The true value last, where a careless reader would find it.
    assert (await world.send("GET", good.replace("?", "?type=text%2Fhtml&"))).status_code == 403


async def test_every_answer_forbids_the_browser_to_guess_or_run(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    for url in (link(world, key), link(world, new_key()), world.origin + "/files/x"):
        answer = await world.send("GET", url)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


async def test_other_methods_are_refused_and_told_which_are_served(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    answer = await world.send("POST", link(world, key), content=b"x")
    assert (answer.status_code, refusal(answer)) == (405, "BAD_USER_INPUT")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    answer = await world.send("GET", (await promise(world, new_key())).url)
    assert (answer.status_code, answer.headers["allow"]) == (405, "PUT, OPTIONS")


async def test_refused_uploads_say_why(world):
    key = new_key()
    promised = await promise(world, key)
    for changed, status, named in (
        ({"content-length": "5"}, 400, "Content-Length"),
        ({"content-type": "text/html"}, 415, "Content-Type"),
        ({"content-encoding": "gzip"}, 415, "Content-Encoding"),
    ):
        given = promised.headers | changed
        answer = await world.send("PUT", promised.url, content=DATA[: int(given["content-length"])], headers=given)
        assert (answer.status_code, refusal(answer)) == (status, "BAD_USER_INPUT"), changed
        assert named in answer.json()["errors"][0]["message"]
    assert await world.store.head(key) is None


@pytest.mark.parametrize("body", [DATA[:-1], DATA + b"x", b""], ids=["shorter", "longer", "nothing"])
async def test_the_bytes_are_counted_whatever_the_header_said(world, body):
    key, sent = new_key(), []
    promised = await promise(world, key)
    parts = urlsplit(promised.url)
    headers = [(b"host", parts.netloc.encode()), *((k.encode(), v.encode()) for k, v in promised.headers.items())]
    scope = {"type": "http", "method": "PUT", "path": parts.path, "raw_path": parts.path.encode(), "headers": headers}
    scope |= {"query_string": parts.query.encode(), "root_path": ""}

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    [uploads, _] = files_local.routes(world.store, cors=lambda _: False)
    await uploads.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert await world.store.head(key) is None


async def test_a_head_has_the_headers_and_no_body(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    answer = await world.send("HEAD", link(world, key))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(DATA))
    missing = await world.send("HEAD", link(world, new_key()))
    assert (missing.status_code, missing.content) == (404, b"")


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=", "bytes=-", "bytes=9-3", "items=0-1", "bytes=a-b", "x" * 999]
)
async def test_a_range_that_is_none_is_answered_whole(world, asked):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    answer = await world.send("GET", link(world, key), headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


async def test_a_range_of_another_version_is_answered_whole(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    tag = (await world.send("HEAD", link(world, key))).headers["etag"]
    for known, status in ((tag, 206), ('"other"', 200)):
        given = {"range": "bytes=0-9", "if-range": known}
        assert (await world.send("GET", link(world, key), headers=given)).status_code == status
    past = await world.send("GET", link(world, key), headers={"range": "bytes=-0"})
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{len(DATA)}")


async def test_only_an_allowed_origin_reads_across(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    for origin, expected in ((ORIGIN, ORIGIN), ("https://evil.example", None), ("null", None)):
        answer = await world.send("GET", link(world, key), headers={"origin": origin})
        assert (answer.status_code, answer.headers["vary"]) == (200, "origin")
        assert answer.headers.get("access-control-allow-origin") == expected
    asked = {"origin": "https://evil.example", "access-control-request-method": "PUT"}
    refused = await world.send("OPTIONS", (await promise(world, key)).url, headers=asked)
    assert (refused.status_code, refusal(refused)) == (403, "FORBIDDEN")
    assert "access-control-allow-origin" not in refused.headers


async def test_an_upload_that_stalls_is_ended_and_leaves_nothing(tmp_path):
    with file_worlds.local_world(tmp_path, idle_seconds=0.3) as world:
        key = new_key()
        promised = await promise(world, key)
        head = request("PUT", promised.url, **promised.headers)
        answer = await raw(world, head, body=DATA[:50], end=False)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"TIMEOUT"' in answer
        assert await world.store.head(key) is None
        assert list((world.root / "incoming").iterdir()) == []


async def test_a_second_large_upload_is_refused_before_its_bytes_are_taken(world):
    key, big = new_key(), bytes(8 * 1024**2)
    promised = await promise(world, key, big)
    assert (await world.send("PUT", promised.url, content=big, headers=promised.headers)).status_code == 200
    # The client sends nothing of its body and has its answer all the same.
    answer = await raw(world, request("PUT", promised.url, expect="100-continue", **promised.headers), end=False)
    assert answer.startswith(b"HTTP/1.1 412")


async def test_bytes_pass_both_ways_without_being_held(world):
    key, piece, count = new_key(), bytes(1024**2), 40

    async def pieces():
        for _ in range(count):
            yield piece

    promised = await world.store.upload_url(
        key, size_bytes=len(piece) * count, mime_type="video/mp4", sha256=None, origin=world.origin
    )
    port = urlsplit(world.origin).port
    taken = 0
    tracemalloc.start()
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            url = promised.url.replace("alice1.localhost", "127.0.0.1")
            headers = promised.headers | {"host": f"alice1.localhost:{port}"}
            assert (await client.put(url, content=pieces(), headers=headers)).status_code == 200
            url = link(world, key).replace("alice1.localhost", "127.0.0.1")
            async with client.stream("GET", url, headers={"host": headers["host"]}) as answer:
                async for data in answer.aiter_raw():
                    taken += len(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken == len(piece) * count
    assert peak < 12 * 1024**2


async def test_a_reader_that_hangs_up_ends_the_reading(world):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    # Nothing but a hole, and more of it than anyone reads to the end.
    os.truncate(world.root / key, 2**40)
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(world.origin).port)
    writer.write(request("GET", link(world, key)).encode())
    await reader.readexactly(1000)
    stored = (world.root / key).stat().st_ino
    assert stored in open_inodes()
    writer.transport.abort()
    async with asyncio.timeout(20):
        # The server hears of the hang-up in its own time.
        while stored in open_inodes():
            await asyncio.sleep(0.01)


def open_inodes() -> set[int]:
    """Inodes of the files that this process, server thread included, has open."""
    found = set()
    for fd in Path("/dev/fd").iterdir():
        try:
            found.add(os.fstat(int(fd.name)).st_ino)
        except OSError:
            continue
    return found


async def test_a_symbolic_link_in_the_store_is_not_followed(world):
    key = new_key()
    (world.root / "t/aa").mkdir(parents=True, exist_ok=True)
    (world.root / key).symlink_to(world.root / "secret.key")
    answer = await world.send("GET", link(world, key))
    assert b"canary" not in answer.content
    assert answer.status_code == 404
    assert await world.store.head(key) is None


async def test_leftovers_of_dead_processes_are_tidied_and_running_uploads_are_not(world):
    left, running = world.root / "incoming/left", world.root / "incoming/running"
    left.write_bytes(b"x")
    running.write_bytes(b"x")
    old = left.stat().st_mtime - disk.INCOMING_SECONDS_MAX - 60
    os.utime(left, (old, old))
    assert await world.store.tidy() == 1
    assert (left.exists(), running.exists()) == (False, True)
    running.unlink()


async def test_a_fresh_copy_looks_fresh_although_it_shares_its_bytes(world):
    key, public = new_key(), f"public/{secrets.token_hex(16)}.mp4"
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    os.utime(world.root / key, (1, 1))
    await world.store.copy(key, public)
    assert (await world.store.head(public)).modified_at.year > 1970
    assert (world.root / key).stat().st_ino == (world.root / public).stat().st_ino


async def test_what_a_job_does_to_its_own_copy_stays_there(world, tmp_path):
    key = new_key()
    await world.store.put_bytes(key, DATA, mime_type="video/mp4")
    await world.store.fetch_to(key, tmp_path / "mine")
    (tmp_path / "mine").write_bytes(b"changed")
    assert await world.store.read(key, length=len(DATA)) == DATA


async def test_behind_a_proxy_the_forwarded_host_is_what_counts(world, tmp_path):
    store = files_local.LocalStore(tmp_path, secret=file_worlds.SECRET, upload_bytes_max=1000)
    routes = files_local.routes(store, cors=lambda _: False, host=lambda _: "alice1.example")
    key = new_key()
    await store.put_bytes(key, DATA, mime_type="video/mp4")
    with file_worlds.served(Starlette(routes=routes)) as port:
        url = link(world, key, origin="https://alice1.example:443").replace("https://alice1.example:443", "")
        answer = await world.send("GET", f"http://127.0.0.1:{port}{url}")
    assert (answer.status_code, answer.content) == (200, DATA)
