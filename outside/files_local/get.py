"""GET and HEAD /files/<key>: signed private objects and unsigned public ones, whole or one range of them.

Streams in constant memory. Which object a viewer may see was decided when the link was made.
"""

import asyncio
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import BinaryIO

from starlette.types import Receive, Scope, Send

from outside import blob
from outside.blob import CHUNK_BYTES, Missing
from outside.files_local import disk as disks
from outside.files_local import http
from outside.files_local.disk import Disk, off_loop
from outside.files_local.http import Headers, Refused, not_found
from outside.files_local.links import BadLink, DownloadGrant, Links

SLOW_SECONDS_MAX = 60.0
# Short, so that an unpublished film is soon gone from caches; a repeated question costs a 304.
PUBLIC_CACHE_SECONDS = 60
PRIVATE_CACHE_SECONDS = 600

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `start + length` of an object of `size`; `partial` is status 206."""

    start: int
    length: int
    size: int
    partial: bool


class Downloads(http.Endpoint):
    prefix = "/files/"
    methods = ("GET", "HEAD")
    request_headers = http.DOWNLOAD_HEADERS

    def __init__(
        self,
        disk: Disk,
        links: Links,
        *,
        cors: http.Allowed,
        host: Callable[[Scope], str],
        slow_seconds: float = SLOW_SECONDS_MAX,
    ) -> None:
        super().__init__(cors=cors, host=host)
        self._disk = disk
        self._links = links
        self._slow_seconds = slow_seconds

    async def serve(
        self, scope: Scope, receive: Receive, *, send: Send, key: str, headers: Headers, crossing: Headers
    ) -> None:
        answer = {**crossing, **http.SAFETY, "accept-ranges": "bytes"}
        answer |= self._described(scope, key)
        try:
            file = await off_loop(self._disk.open, key)
        except Missing:
            raise not_found() from None
        try:
            found = os.fstat(file.fileno())
            tag = disks.etag(found)
            answer |= {"etag": tag, "last-modified": formatdate(found.st_mtime, usegmt=True)}
            if _names(headers.get("if-none-match"), tag):
                await http.start(send, 304, answer)
                await send({"type": "http.response.body", "body": b""})
                return
            span = _span(headers, tag, size=found.st_size, method=scope["method"])
            answer["content-length"] = str(span.length)
            if span.partial:
                answer["content-range"] = f"bytes {span.start}-{span.start + span.length - 1}/{span.size}"
            await http.start(send, 206 if span.partial else 200, answer)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._stream(file, span, receive=receive, send=send)
        finally:
            await off_loop(file.close)

    def _described(self, scope: Scope, key: str) -> dict[str, str]:
        """Type, disposition and caching: from the key of a public object, otherwise from the link."""
        query: bytes = scope["query_string"]
        if blob.is_public(key) and b"signature=" not in query:
            cache = f"public, max-age={PUBLIC_CACHE_SECONDS}"
            grant = DownloadGrant(key, blob.public_type(key), key.rpartition("/")[2], inline=True)
        else:
            cache = f"private, max-age={PRIVATE_CACHE_SECONDS}"
            try:
                grant = self._links.read_download(self._host(scope), key, query=query)
            except BadLink as bad:
                raise Refused(403, "FORBIDDEN", message=f"Download refused: {bad}.") from None
        return {
            "cache-control": cache,
            "content-type": blob.served_type(grant.mime_type),
            "content-disposition": blob.disposition(grant.name, grant.mime_type, inline=grant.inline),
        }

    async def _stream(self, file: BinaryIO, span: Span, *, receive: Receive, send: Send) -> None:
        """Ends early when the client hangs up or takes no bytes for too long."""
        gone = asyncio.create_task(_until_gone(receive))
        at, end = span.start, span.start + span.length
        try:
            async with asyncio.timeout(None) as patience:
                while at < end and not gone.done():
                    data = await off_loop(disks.read_at, file, at, length=min(CHUNK_BYTES, end - at))
                    if not data:
                        # Cut from under us: the length was promised, so only breaking off tells the truth.
                        return
                    at += len(data)
                    patience.reschedule(asyncio.get_running_loop().time() + self._slow_seconds)
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                    patience.reschedule(None)
            if at >= end:
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            return
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _names(header: str | None, tag: str) -> bool:
    """Whether an If-None-Match names this entity tag; weak ones compare equal here (RFC 9110)."""
    if header is None:
        return False
    return header.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in header.split(","))


def _span(headers: Headers, tag: str, *, size: int, method: str) -> Span:
    """The one range asked for, or all. Several ranges, other units and nonsense are answered with all, as
    RFC 9110 allows; a range past the end is 416.
    """
    whole = Span(0, size, size, partial=False)
    asked = _RANGE.fullmatch(headers.get("range", ""))
    if asked is None or method != "GET" or headers.get("if-range", tag) != tag:
        return whole
    first, last = asked.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return whole
    elif last:
        start, stop = max(size - int(last), 0), size
    else:
        return whole
    if start >= size or stop <= start:
        told = {"content-range": f"bytes */{size}"}
        raise Refused(416, "BAD_USER_INPUT", message="The file has no such range.", headers=told)
    return Span(start, stop - start, size, partial=True)
