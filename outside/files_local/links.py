"""The local store's links: what a client may PUT or GET, until when and on which host, signed.

All that a link promises stands in its query in plain sight; the signature covers every part and the
host, so a link of one tenant's host opens nothing on another's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from outside import blob, signing

QUERY_BYTES_MAX = 4096


class BadLink(Exception):
    """Expired, changed, of another host, or not made by us."""


@dataclass(frozen=True, slots=True)
class UploadGrant:
    key: str
    size_bytes: int
    mime_type: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class DownloadGrant:
    key: str
    mime_type: str
    name: str
    inline: bool


class Links:
    """Makes and reads links; `clock` gives Unix seconds."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float]) -> None:
        # A label each: a signature for reading is none for writing.
        self._uploads = signing.Signer(secret, label="atrium/store/upload")
        self._downloads = signing.Signer(secret, label="atrium/store/download")
        self._clock = clock

    def upload_url(self, grant: UploadGrant, origin: str) -> str:
        expires, size, sha256 = self._expires(), str(grant.size_bytes), grant.sha256 or ""
        host = blob.host_of(origin)
        signature = self._uploads.sign(host, grant.key, expires, size, grant.mime_type, sha256)
        query = f"expires={expires}&size={size}&type={_quoted(grant.mime_type)}&sha256={sha256}&signature={signature}"
        return f"{origin.lower()}/uploads/{grant.key}?{query}"

    def download_url(self, grant: DownloadGrant, origin: str) -> str:
        expires, show = self._expires(), "inline" if grant.inline else "attachment"
        host = blob.host_of(origin)
        signature = self._downloads.sign(host, grant.key, expires, grant.mime_type, grant.name, show)
        query = f"expires={expires}&type={_quoted(grant.mime_type)}&name={_quoted(grant.name)}&show={show}"
        return f"{origin.lower()}/files/{grant.key}?{query}&signature={signature}"

    def read_upload(self, host: str, key: str, *, query: bytes) -> UploadGrant:
        """What the link allows. Raises BadLink; `host` is the request's Host header."""
        given = self._verified(self._uploads, host, key=key, query=query, names=("expires", "size", "type", "sha256"))
        return UploadGrant(key, int(given["size"]), given["type"], given["sha256"] or None)

    def read_download(self, host: str, key: str, *, query: bytes) -> DownloadGrant:
        """What the link allows. Raises BadLink; `host` is the request's Host header."""
        given = self._verified(self._downloads, host, key=key, query=query, names=("expires", "type", "name", "show"))
        return DownloadGrant(key, given["type"], given["name"], given["show"] == "inline")

    def _verified(
        self, signer: signing.Signer, host: str, *, key: str, query: bytes, names: tuple[str, ...]
    ) -> dict[str, str]:
        given = _parse(query)
        if given is None or given.keys() != {*names, "signature"}:
            raise BadLink("the link is not one of ours")
        signature = given.pop("signature")
        if not signer.verify(signature, blob.bare_host(host), key, *(given[name] for name in names)):
            raise BadLink("the link was changed, or is another host's")
        # Only now is the number ours; before, it was anybody's text.
        if int(given["expires"]) < self._clock():
            raise BadLink("the link has expired: ask for a new one")
        return given

    def _expires(self) -> str:
        return str(int(self._clock()) + blob.URL_SECONDS_MAX)


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _parse(query: bytes) -> dict[str, str] | None:
    """Names to values, or None where it is too long, malformed, or says a thing twice."""
    if len(query) > QUERY_BYTES_MAX:
        return None
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        return None
    given = dict(pairs)
    return given if len(given) == len(pairs) else None
