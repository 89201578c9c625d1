"""S3 links: AWS Signature Version 4 in the query string, over every header that must not change.

Our own, because the libraries' presigners sign the host alone: such a link takes any length, type and bytes.
Pure functions; nothing is sent from here.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
EXPIRES_SECONDS_MAX = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str
    region: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as clients reach it: `endpoint` is `scheme://host[:port]`, the bucket's name is the first path part."""

    endpoint: str
    name: str


def presign(
    method: str,
    bucket: Bucket,
    *,
    key: str,
    credentials: Credentials,
    at: datetime,
    expires_seconds: int,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> str:
    """A link for one method and key, valid for `expires_seconds` from `at` (zoned).

    Whoever uses it must send exactly `headers` (names in lower case). Names in `query` are letters, digits and
    hyphens; an empty key means the bucket itself.
    """
    if not 1 <= expires_seconds <= EXPIRES_SECONDS_MAX:
        raise ValueError(f"a link lives 1 to {EXPIRES_SECONDS_MAX} seconds, not {expires_seconds}")
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    day = stamp[:8]
    signed = {"host": urlsplit(bucket.endpoint).netloc, **(headers or {})}
    ordered = sorted(signed)
    names = ";".join(ordered)
    scope = f"{day}/{credentials.region}/s3/aws4_request"
    path = quote(f"/{bucket.name}/{key}" if key else f"/{bucket.name}", safe="/~")
    asked = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": names,
        **(query or {}),
    }
    text = "&".join(f"{name}={_quoted(asked[name])}" for name in sorted(asked))
    lines = [f"{name}:{' '.join(signed[name].split())}" for name in ordered]
    canonical = "\n".join([method, path, text, *lines, "", names, "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join([ALGORITHM, stamp, scope, sha256(canonical.encode()).hexdigest()])
    signature = hmac.digest(_key_of_day(credentials, day), to_sign.encode(), "sha256").hex()
    return f"{bucket.endpoint}{path}?{text}&X-Amz-Signature={signature}"


@lru_cache(maxsize=256)
def _quoted(value: str) -> str:
    # Most values are the same for every link: type, credential, expiry.
    return quote(value, safe="~")


@lru_cache(maxsize=8)
def _key_of_day(credentials: Credentials, day: str) -> bytes:
    # The four derivations are the same for a whole day; a page of files signs many links.
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
