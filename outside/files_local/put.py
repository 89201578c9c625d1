"""PUT /uploads/<key>: the bytes of one promised upload, streamed to disk and checked while they come.

Nothing of a refused, broken or slow upload is kept. Whether the bytes are media is looked at later.
"""

import asyncio
import hashlib
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from outside import blob
from outside.blob import CHUNK_BYTES, AlreadyThere
from outside.files_local import disk as disks
from outside.files_local import http
from outside.files_local.disk import Disk, Incoming, off_loop
from outside.files_local.http import Headers, Refused, bad_input
from outside.files_local.links import BadLink, Links, UploadGrant

IDLE_SECONDS_MAX = 15.0


class Uploads(http.Endpoint):
    prefix = "/uploads/"
    methods = ("PUT",)
    request_headers = http.UPLOAD_HEADERS

    def __init__(
        self,
        disk: Disk,
        links: Links,
        *,
        cors: http.Allowed,
        host: Callable[[Scope], str],
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        super().__init__(cors=cors, host=host)
        self._disk = disk
        self._links = links
        self._idle_seconds = idle_seconds

    async def serve(
        self, scope: Scope, receive: Receive, *, send: Send, key: str, headers: Headers, crossing: Headers
    ) -> None:
        try:
            grant = self._links.read_upload(self._host(scope), key, query=scope["query_string"])
        except BadLink as bad:
            raise Refused(403, "FORBIDDEN", message=f"Upload refused: {bad}.") from None
        _check_headers(grant, headers)
        if await off_loop(self._disk.stat, key) is not None:
            raise _already_there()
        incoming = await off_loop(self._disk.begin)
        try:
            await self._take(grant, receive, incoming=incoming)
            found = await off_loop(self._disk.finish, incoming, key)
        except AlreadyThere:
            raise _already_there() from None
        except _Gone:
            return
        finally:
            await off_loop(incoming.close)
        await http.start(send, 200, {**crossing, "content-length": "0", "etag": disks.etag(found)})
        await send({"type": "http.response.body", "body": b""})

    async def _take(self, grant: UploadGrant, receive: Receive, *, incoming: Incoming) -> None:
        """Exactly the bytes promised, or Refused; _Gone when the client hangs up."""
        digest, waiting, taken, more = hashlib.sha256(), bytearray(), 0, True
        try:
            # The whole upload has the time of its link, so that a trickle ends, too.
            async with asyncio.timeout(blob.URL_SECONDS_MAX):
                while more:
                    async with asyncio.timeout(self._idle_seconds):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    piece: bytes = message.get("body", b"")
                    more = message.get("more_body", False)
                    taken += len(piece)
                    if taken > grant.size_bytes:
                        raise bad_input(400, f"More bytes than the {grant.size_bytes} promised.")
                    waiting += piece
                    if len(waiting) >= CHUNK_BYTES or not more:
                        await off_loop(_keep, incoming, digest.update, data=waiting)
                        waiting = bytearray()
        except TimeoutError:
            raise Refused(408, "TIMEOUT", message="The bytes came too slowly: start the upload again.") from None
        if taken != grant.size_bytes:
            raise bad_input(400, f"{taken} bytes came, {grant.size_bytes} were promised.")
        if grant.sha256 is not None and digest.hexdigest() != grant.sha256:
            raise bad_input(400, "The bytes have another SHA-256 than promised.")


class _Gone(Exception):
    pass


def _check_headers(grant: UploadGrant, headers: Headers) -> None:
    length = headers.get("content-length")
    if length is None:
        raise bad_input(411, "An upload says its Content-Length.")
    if length != str(grant.size_bytes):
        raise bad_input(400, f"Content-Length is not the {grant.size_bytes} promised.")
    if headers.get("content-type") != grant.mime_type:
        raise bad_input(415, f"Content-Type is not the {grant.mime_type} promised.")
    if headers.get("content-encoding", "identity") != "identity":
        raise bad_input(415, "An upload has no Content-Encoding.")


def _keep(incoming: Incoming, hashed: Callable[[bytearray], None], *, data: bytearray) -> None:
    hashed(data)
    incoming.write(data)


def _already_there() -> Refused:
    return bad_input(412, "This upload has been made; nothing is overwritten.")
