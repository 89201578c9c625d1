"""What both stores promise, over real connections; what the local one's HTTP adds is in test_files_http.py."""

import asyncio
import dataclasses
import hashlib
import secrets
import socket
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from outside import files_s3
from outside import store as stores
from tests.outside import file_worlds
from tests.outside.s3_server import ORIGIN

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(range(256)) * 8
HOSTILE_KEYS = (
    "",
    "t",
    "t/aa/../bb/" + "0" * 32,
    "../" + "0" * 32,
    "/etc/passwd",
    "t//" + "0" * 32,
    "t/aa/%2e%2e",
    "t/aa/" + "0" * 31 + "\0",
    "t/aa/" + "0" * 32 + "\n",
    "t/aa/" + "A" * 32,
    "t/aa/" + "٠" * 32,
    "public/" + "0" * 32,
    "public/" + "0" * 32 + ".html",
    "public/" + "0" * 32 + ".mp4/x",
    "incoming/" + "0" * 32,
)


@pytest.fixture(scope="module", params=["local", pytest.param("s3", marks=pytest.mark.services)])
def world(request, tmp_path_factory):
    make = {"local": file_worlds.local_world, "s3": file_worlds.s3_world}[request.param]
    with make(tmp_path_factory.mktemp(request.param)) as made:
        yield made


def new_key(tenant: str = "616c69636531") -> str:
    return f"t/{tenant}/{secrets.token_hex(16)}"


async def upload(world, key, *, data=MP4, mime_type="video/mp4", sha256=None):
    return await world.store.upload_url(
        key, size_bytes=len(data), mime_type=mime_type, sha256=sha256, origin=world.origin
    )


async def put(world, upload, data, **changed):
    headers = {name: value for name, value in (upload.headers | changed).items() if value is not None}
    return await world.send("PUT", upload.url, content=data, headers=headers)


def download(world, key, *, mime_type="video/mp4", name="film.mp4", inline=False):
    return world.store.download_url(key, mime_type=mime_type, name=name, inline=inline, origin=world.origin)


def with_query(url, **changed):
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | changed
    return urlunsplit(parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})))


async def test_uploaded_bytes_come_back_with_type_and_disposition(world):
    key = new_key()
    promised = await upload(world, key, sha256=hashlib.sha256(MP4).hexdigest())
    assert (await put(world, promised, MP4)).status_code == 200
    found = await world.store.head(key)
    assert (found.key, found.size_bytes, found.modified_at.utcoffset().total_seconds()) == (key, len(MP4), 0)
    answer = await world.send("GET", download(world, key, name="Größe 'x'.mp4"))
    assert (answer.status_code, answer.content) == (200, MP4)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%27x%27.mp4" in answer.headers["content-disposition"]
    shown = await world.send("GET", download(world, key, inline=True))
    assert shown.headers["content-disposition"].startswith("inline; ")


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (MP4 + b"x", {"content-length": str(len(MP4) + 1)}),
        (MP4[:-1], {"content-length": str(len(MP4) - 1)}),
        (MP4, {"content-type": "text/html"}),
        (MP4, {"content-type": None}),
        (MP4[:-1] + b"\0", {}),
        (b"", {"content-length": "0"}),
    ],
    ids=["longer", "shorter", "other type", "no type", "other bytes", "nothing"],
)
async def test_an_upload_other_than_promised_is_refused_and_leaves_nothing(world, data, changed):
    key = new_key()
    promised = await upload(world, key, sha256=hashlib.sha256(MP4).hexdigest())
    answer = await put(world, promised, data, **changed)
    assert answer.status_code in (400, 403, 415)
    assert await world.store.head(key) is None
    assert (await put(world, promised, MP4)).status_code == 200


async def test_a_chunked_upload_is_refused(world):
    async def pieces():
        yield MP4

    key = new_key()
    promised = await upload(world, key)
    answer = await put(world, promised, pieces(), **{"content-length": None})
    assert answer.status_code in (403, 411)
    assert await world.store.head(key) is None


async def test_a_second_put_is_refused_and_the_first_bytes_stay(world):
    key, other = new_key(), MP4[::-1]
    promised = await upload(world, key)
    assert (await put(world, promised, MP4)).status_code == 200
    assert (await put(world, promised, other)).status_code == 412
    again = await upload(world, key)
    assert (await put(world, again, other)).status_code == 412
    assert await world.store.read(key, length=len(MP4)) == MP4


async def test_of_many_puts_at_once_one_wins_whole(world):
    key = new_key()
    promised = await upload(world, key, data=bytes(100_000))
    bodies = [bytes([n]) * 100_000 for n in range(6)]
    answers = await asyncio.gather(*(put(world, promised, body) for body in bodies))
    assert sorted(a.status_code for a in answers) in ([200] + [412] * 5, [200] + [409] * 5)
    won = bodies[[a.status_code for a in answers].index(200)]
    assert await world.store.read(key, length=100_000) == won


async def test_an_upload_that_stops_half_way_leaves_nothing(world):
    key = new_key()
    promised = await upload(world, key)
    parts = urlsplit(promised.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    head = [f"PUT {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
    head += [f"{name}: {value}" for name, value in promised.headers.items()]
    writer.write("\r\n".join([*head, "", ""]).encode() + MP4[:100])
    await writer.drain()
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    assert await world.store.head(key) is None
    if world.kind == "local":
        async with asyncio.timeout(20):
            # The server hears of the hang-up in its own time.
            while any((world.root / "incoming").iterdir()):
                await asyncio.sleep(0.01)
    assert (await put(world, promised, MP4)).status_code == 200


async def test_expired_links_open_nothing(world):
    key, old = new_key(), world.aged(2 * stores.URL_SECONDS_MAX)
    late = await old.upload_url(key, size_bytes=len(MP4), mime_type="video/mp4", sha256=None, origin=world.origin)
    assert (await put(world, late, MP4)).status_code == 403
    assert await world.store.head(key) is None
    await world.store.put_bytes(key, MP4, mime_type="video/mp4")
    link = old.download_url(key, mime_type="video/mp4", name="a", inline=False, origin=world.origin)
    assert (await world.send("GET", link)).status_code == 403
    await old.close()


async def test_every_changed_part_of_a_link_is_refused(world):
    key, other = new_key(), new_key("626f6232")
    await world.store.put_bytes(key, MP4, mime_type="video/mp4")
    await world.store.put_bytes(other, b"the other tenant's", mime_type="video/mp4")
    link = download(world, key)
    changed = [link.replace(key, other)]
    for name, value in parse_qsl(urlsplit(link).query, keep_blank_values=True):
        changed += [with_query(link, **{name: value + "1"}), with_query(link, **{name: None})]
    changed += [link.split("?")[0], with_query(link, **{"response-content-type": "text/html", "type": "text/html"})]
    for url in changed:
        answer = await world.send("GET", url)
        assert answer.status_code in (400, 403), url
        assert MP4 not in answer.content
        assert b"the other tenant's" not in answer.content
    assert (await world.send("GET", link)).status_code == 200


async def test_every_changed_part_of_an_upload_link_is_refused(world):
    key, other = new_key(), new_key("626f6232")
    promised = await upload(world, key)
    changed = [promised.url.replace(key, other)]
    for name, value in parse_qsl(urlsplit(promised.url).query, keep_blank_values=True):
        changed += [with_query(promised.url, **{name: value + "1"}), with_query(promised.url, **{name: None})]
    for url in changed:
        answer = await put(world, stores.Upload(url, promised.headers), MP4)
        assert answer.status_code in (400, 403), url
    assert await world.store.head(key) is None
    assert await world.store.head(other) is None


async def test_a_link_serves_one_method_alone(world):
    key = new_key()
    promised = await upload(world, key)
    assert (await world.send("GET", promised.url)).status_code in (403, 405)
    assert (await world.send("DELETE", promised.url)).status_code in (403, 405)
    await world.store.put_bytes(key, MP4, mime_type="video/mp4")
    assert (await world.send("PUT", download(world, key), content=b"x")).status_code in (403, 405)
    assert (await world.send("DELETE", download(world, key))).status_code in (403, 405)
    assert await world.store.read(key, length=10_000) == MP4


async def test_html_that_calls_itself_html_is_never_shown(world):
    key, page = new_key(), b"<script>alert(1)</script>"
    promised = await upload(world, key, data=page, mime_type="text/html")
    assert (await put(world, promised, page)).status_code == 200
    for declared in ("text/html", "image/svg+xml", "text/xml", "application/javascript"):
        answer = await world.send("GET", download(world, key, mime_type=declared, name="a.html", inline=True))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; ")


@pytest.mark.parametrize(
    "name",
    [
        'a"; filename="b.html',
        "a\r\nSet-Cookie: x=1",
        "../../etc/passwd",
        "a\0b",
        "\u202egpj.exe",
        "\ud800",
        "",
        "é" * 500,
    ],
)
async def test_a_hostile_name_stays_inside_the_header(world, name):
    key = new_key()
    await world.store.put_bytes(key, MP4, mime_type="video/mp4")
    answer = await world.send("GET", download(world, key, name=name))
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    told = answer.headers["content-disposition"]
    assert told.count('"') == 2
    assert told.count(";") == 2
    assert not set(told) & set("/\\\r\n\0")


async def test_ranges_are_answered_as_ranges(world):
    key = new_key()
    await world.store.put_bytes(key, MP4, mime_type="video/mp4")
    link, size = download(world, key), len(MP4)
    for asked, start, stop in (("0-99", 0, 100), ("100-", 100, size), ("-10", size - 10, size), ("5-99999", 5, size)):
        answer = await world.send("GET", link, headers={"range": f"bytes={asked}"})
        assert (answer.status_code, answer.content) == (206, MP4[start:stop]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    past = await world.send("GET", link, headers={"range": f"bytes={size}-"})
    assert past.status_code == 416
    tag = (await world.send("GET", link)).headers["etag"]
    same = await world.send("GET", link, headers={"if-none-match": tag})
    assert (same.status_code, same.content) == (304, b"")


async def test_a_public_object_is_read_without_a_signature_and_a_private_one_is_not(world):
    key, public = new_key(), f"public/{secrets.token_hex(16)}.mp4"
    promised = await upload(world, key, mime_type="text/html")
    await put(world, promised, MP4)
    await world.store.copy(key, public)
    await world.store.copy(key, public)
    url = world.store.public_url(public, world.origin)
    answer = await world.send("GET", url)
    assert (answer.status_code, answer.content) == (200, MP4)
    assert answer.headers["content-type"] == "video/mp4"
    assert (await world.send("GET", url.replace(public, key))).status_code == 403
    with pytest.raises(stores.InvalidKey):
        world.store.public_url(key, world.origin)
    await world.store.delete(key)
    assert (await world.send("GET", url)).content == MP4
    await world.store.delete(public)
    await world.store.delete(public)
    assert (await world.send("GET", url)).status_code == 404


async def test_our_own_transfers_keep_every_byte_and_never_overwrite(world, tmp_path):
    key, path = new_key(), tmp_path / "big"
    data = secrets.token_bytes(1024**2) * 9 + b"end"
    path.write_bytes(data)
    await world.store.put_file(key, path, mime_type="video/mp4")
    with pytest.raises(stores.AlreadyThere):
        await world.store.put_file(key, path, mime_type="video/mp4")
    with pytest.raises(stores.AlreadyThere):
        await world.store.put_bytes(key, b"other", mime_type="video/mp4")
    pieces = [piece async for piece in world.store.stream(key)]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) < 8 * 1024**2
    await world.store.fetch_to(key, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert await world.store.read(key, start=len(data) - 3, length=100) == b"end"
    assert await world.store.read(key, start=len(data), length=100) == b""


async def test_what_is_missing_is_said_to_be_missing(world, tmp_path):
    key = new_key()
    assert await world.store.head(key) is None
    with pytest.raises(stores.Missing):
        await world.store.read(key, length=1)
    with pytest.raises(stores.Missing):
        await world.store.fetch_to(key, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(stores.Missing):
        await world.store.copy(key, new_key())
    await world.store.delete(key)
    assert (await world.send("GET", download(world, key))).status_code == 404


async def test_a_list_holds_one_tenants_objects_and_no_neighbours(world):
    mine = {new_key("aabb") for _ in range(3)}
    for key in (*mine, new_key("aabbcc"), new_key("aa")):
        await world.store.put_bytes(key, b"x", mime_type="image/gif")
    assert {found.key async for found in world.store.list("t/aabb/")} == mine
    everything = {found.key async for found in world.store.list("")}
    assert mine < everything
    assert {found.key async for found in world.store.list("t/ffff/")} == set()


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_a_key_that_is_not_ours_is_refused_everywhere(world, key, tmp_path):
    good, store = new_key(), world.store
    with pytest.raises(stores.InvalidKey):
        await upload(world, key)
    with pytest.raises(stores.InvalidKey):
        download(world, key)
    with pytest.raises(stores.InvalidKey):
        store.public_url(key, world.origin)
    for call in (
        lambda: store.head(key),
        lambda: store.read(key, length=1),
        lambda: store.fetch_to(key, tmp_path / "x"),
        lambda: store.put_bytes(key, b"x", mime_type="image/gif"),
        lambda: store.put_file(key, tmp_path, mime_type="image/gif"),
        lambda: store.copy(key, good),
        lambda: store.copy(good, key),
        lambda: store.delete(key),
    ):
        with pytest.raises(stores.InvalidKey):
            await call()
    with pytest.raises(stores.InvalidKey):
        _ = [piece async for piece in store.stream(key)]


@pytest.mark.parametrize("prefix", ["t", "t/aa", "t/../", "/", "t/aa/..", "publi", "incoming/"])
async def test_a_prefix_that_is_not_ours_is_refused(world, prefix):
    with pytest.raises(stores.InvalidKey):
        _ = [found async for found in world.store.list(prefix)]


@pytest.mark.parametrize(
    "changed",
    [
        {"size_bytes": 0},
        {"size_bytes": -1},
        {"size_bytes": file_worlds.UPLOAD_BYTES_MAX + 1},
        {"mime_type": "video/mp4\r\nx-amz-acl: public-read"},
        {"mime_type": "video"},
        {"mime_type": "text/html; charset=utf-8"},
        {"sha256": "abc"},
        {"sha256": "A" * 64},
        {"origin": "javascript:alert(1)"},
        {"origin": "http://evil.example/path"},
        {"origin": "http://user@evil.example"},
        {"key": f"public/{'0' * 32}.mp4"},
    ],
    ids=str,
)
async def test_an_upload_beyond_the_limits_is_not_promised(world, changed):
    asked = {"key": new_key(), "size_bytes": 5, "mime_type": "video/mp4", "sha256": None, "origin": world.origin}
    given = asked | changed
    with pytest.raises((stores.InvalidUpload, stores.InvalidKey)):
        await world.store.upload_url(given.pop("key"), **given)


async def test_a_public_key_takes_only_the_type_it_says(world):
    key = f"public/{secrets.token_hex(16)}.mp4"
    with pytest.raises(stores.InvalidUpload):
        await world.store.put_bytes(key, b"x", mime_type="text/html")
    assert await world.store.head(key) is None


async def test_a_browser_of_an_allowed_origin_may_upload_and_another_may_not(world):
    promised = await upload(world, new_key())
    asked = {"access-control-request-method": "PUT", "access-control-request-headers": ",".join(promised.headers)}
    answer = await world.send("OPTIONS", promised.url, headers={"origin": ORIGIN, **asked})
    assert answer.is_success
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "PUT" in answer.headers["access-control-allow-methods"]
    foreign = await world.send("OPTIONS", promised.url, headers={"origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in foreign.headers


async def test_doctor_finds_nothing_wrong_with_a_store_that_is_set_up(world):
    assert list(await world.store.check([ORIGIN])) == []
    assert await world.store.tidy() == 0
    found = [entry async for entry in world.store.list("public/") if entry.size_bytes == 35]
    assert found == []


async def test_doctor_names_what_is_wrong_with_a_bucket(world):
    if world.place is None:
        return
    [cors] = await world.store.check(["https://evil.example"])
    assert "does not allow PUT from https://evil.example" in cors
    for wrong in ({"secret_access_key": "another"}, {"bucket": "no-such-bucket", "access_key_id": "nobody"}):
        place = dataclasses.replace(world.place, **wrong)
        store = files_s3.S3Store(place, upload_bytes_max=10)
        [told] = await store.check([ORIGIN])
        assert told.startswith("the bucket cannot be written to"), wrong


async def test_a_store_that_does_not_answer_is_said_to_be_unavailable(world):
    if world.place is None:
        return
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    place = dataclasses.replace(world.place, endpoint=f"http://127.0.0.1:{port}")
    store = files_s3.S3Store(place, upload_bytes_max=10)
    with pytest.raises(stores.StoreUnavailable):
        await store.head(new_key())
    with pytest.raises(stores.StoreUnavailable):
        await store.copy(new_key(), new_key())
