"""Uploading over HTTP as a client does it: ask, PUT, complete; half a PUT and a wrong one leave nothing behind."""

from __future__ import annotations

import asyncio
import hashlib

import httpx

CREATE = """mutation ($input: CreateUploadInput!) { createUpload(input: $input) {
    file { id status sizeBytes url } uploadUrl uploadHeaders userErrors { code field message } } }"""
COMPLETE = """mutation ($id: ID!) { completeUpload(fileId: $id) {
    file { id status mimeType url } userErrors { code field message } } }"""
DELETE = "mutation ($id: ID!) { deleteFile(id: $id) { deletedId userErrors { code field } } }"
FILES = "{ files { totalCount nodes { id status } } }"
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08free" * 5_000


async def _ask(served, person, query, **variables):
    answer = await served.graphql(query, variables, host=person.host, token=person.token)
    (payload,) = answer.data.values()
    return payload


async def _begin(served, person, **change):
    said = {"name": "film.mp4", "mimeType": "video/mp4", "sizeBytes": str(len(MP4)), **change}
    return await _ask(served, person, CREATE, input=said)


async def test_a_film_is_uploaded_completed_and_downloaded_again(served, world):
    alice = await world.tenant("alice")
    new = await _begin(served, alice, sha256=hashlib.sha256(MP4).hexdigest())
    assert (new["userErrors"], new["file"]["status"], new["file"]["url"]) == ([], "UPLOADING", None)
    put = await served.stream("PUT", new["uploadUrl"], headers=new["uploadHeaders"], content=MP4)
    assert put.status_code == 200
    done = await _ask(served, alice, COMPLETE, id=new["file"]["id"])
    assert (done["userErrors"], done["file"]["status"]) == ([], "READY")
    got = await served.stream("GET", done["file"]["url"])
    assert got.content == MP4
    assert got.headers["content-type"] == "video/mp4"
    assert (await served.stream("PUT", new["uploadUrl"], headers=new["uploadHeaders"], content=MP4)).status_code == 412


async def test_an_upload_that_stops_half_way_leaves_nothing_and_may_begin_again(served, world):
    alice = await world.tenant("alice")
    new = await _begin(served, alice)
    url = httpx.URL(new["uploadUrl"])
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = f"PUT {url.raw_path.decode()} HTTP/1.1\r\nhost: {url.netloc.decode()}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in new["uploadHeaders"].items())
    writer.write(head.encode() + b"\r\n" + MP4[:1_000])
    await writer.drain()
    writer.transport.abort()
    refused = await _ask(served, alice, COMPLETE, id=new["file"]["id"])
    assert (refused["file"], refused["userErrors"][0]["code"]) == (None, "CONFLICT")
    assert refused["userErrors"][0]["field"] == ["fileId"]
    put = await served.stream("PUT", new["uploadUrl"], headers=new["uploadHeaders"], content=MP4)
    assert put.status_code == 200
    assert (await _ask(served, alice, COMPLETE, id=new["file"]["id"]))["file"]["status"] == "READY"


async def test_a_text_renamed_to_a_film_is_refused_by_its_bytes(served, world):
    alice = await world.tenant("alice")
    text = b"These are words and no film."
    new = await _begin(served, alice, sizeBytes=str(len(text)))
    put = await served.stream("PUT", new["uploadUrl"], headers=new["uploadHeaders"], content=text)
    assert put.status_code == 200
    refused = await _ask(served, alice, COMPLETE, id=new["file"]["id"])
    assert (refused["userErrors"][0]["code"], refused["userErrors"][0]["field"]) == ("INVALID", ["fileId"])
    assert await _ask(served, alice, FILES) == {"totalCount": 0, "nodes": []}


async def test_bytes_that_were_not_promised_are_refused_by_the_store(served, world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    new = await _begin(served, alice, sha256=hashlib.sha256(MP4).hexdigest())
    url, headers = new["uploadUrl"], new["uploadHeaders"]
    for sent, content, status in (
        (headers, MP4[:-1] + b"!", 400),
        (headers | {"content-type": "text/html"}, MP4, 415),
        (headers | {"content-length": "10"}, MP4[:10], 400),
        (headers | {"host": f"{bob.host}:{served.port}"}, MP4, 403),
    ):
        assert (await served.stream("PUT", url, headers=sent, content=content)).status_code == status
    assert (await served.stream("GET", url)).status_code in (403, 405)
    assert (await _ask(served, alice, COMPLETE, id=new["file"]["id"]))["userErrors"][0]["code"] == "CONFLICT"


async def test_another_tenants_file_is_not_found(served, world):
    alice, bob = await world.tenant("alice"), await world.tenant("bob")
    new = await _begin(served, alice)
    for query in (COMPLETE, DELETE):
        refused = await _ask(served, bob, query, id=new["file"]["id"])
        assert refused["userErrors"][0]["code"] == "NOT_FOUND"
    gone = await _ask(served, alice, DELETE, id=new["file"]["id"])
    assert gone["deletedId"] == new["file"]["id"]
    assert (await served.stream("GET", new["uploadUrl"].replace("/uploads/", "/files/"))).status_code in (403, 404)


async def test_an_input_that_is_refused_names_its_field(served, world):
    alice = await world.tenant("alice")
    for change, field in (
        ({"sizeBytes": "0"}, "sizeBytes"),
        ({"sizeBytes": str(2 * 1024**3 + 1)}, "sizeBytes"),
        ({"mimeType": "text/html"}, "mimeType"),
        ({"name": " "}, "name"),
        ({"sha256": "xyz"}, "sha256"),
    ):
        refused = await _begin(served, alice, **change)
        assert (refused["file"], refused["uploadUrl"]) == (None, None)
        assert refused["userErrors"][0]["field"] == ["input", field]
