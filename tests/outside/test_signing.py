"""Signatures: ours for the embedded store's links, and S3's, with botocore as its referee."""

import hmac
import string
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from outside import presign, signing, store
from outside.files_local.links import BadLink, DownloadGrant, Links, UploadGrant

SECRET = b"0123456789abcdef0123456789abcdef"
AT = datetime(2026, 11, 21, 12, 30, 15, tzinfo=UTC)
ORIGIN = "http://alice1.localhost:8000"
HOST = "alice1.localhost:8000"
KEY = "t/616c69636531/" + "0f" * 16


def test_a_key_is_derived_as_rfc_5869_says():
    extracted = hmac.digest(bytes(32), SECRET, "sha256")
    assert signing.derive(SECRET, "a label") == hmac.digest(extracted, b"a label\x01", "sha256")


def test_keys_of_two_labels_or_secrets_differ():
    keys = {signing.derive(secret, label) for secret in (SECRET, SECRET[::-1]) for label in ("a", "b")}
    assert len(keys) == 4


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 15])
def test_a_short_secret_is_refused(secret):
    with pytest.raises(ValueError, match="at least 16 bytes"):
        signing.Signer(secret, label="a")


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_a_signature_is_of_exactly_these_parts(parts, others):
    signer = signing.Signer(SECRET, label="a")
    assert signer.verify(signer.sign(*parts), *parts)
    assert signer.verify(signer.sign(*parts), *others) == (parts == others)


def test_parts_cannot_be_shifted_into_each_other():
    signer = signing.Signer(SECRET, label="a")
    assert len({signer.sign("ab", "c"), signer.sign("a", "bc"), signer.sign("abc"), signer.sign("abc", "")}) == 4


@given(st.text())
def test_any_text_for_a_signature_is_refused_without_an_error(text):
    signer = signing.Signer(SECRET, label="a")
    assert signer.verify(text, "x") == (text == signer.sign("x"))


def test_a_signature_is_url_safe_text_of_one_length():
    signature = signing.Signer(SECRET, label="a").sign("x")
    assert len(signature) == signing.SIGNATURE_CHARS
    assert set(signature) <= set(string.ascii_letters + string.digits + "-_")


def links(now: float = 1_000_000.0) -> Links:
    return Links(SECRET, clock=lambda: now)


def query_of(url: str) -> bytes:
    return urlsplit(url).query.encode()


def test_a_link_lives_one_hour_to_the_second():
    url = links().download_url(DownloadGrant(KEY, "video/mp4", "a", inline=False), ORIGIN)
    for seconds, works in ((0, True), (3600, True), (3601, False)):
        reader = links(1_000_000.0 + seconds)
        if works:
            assert reader.read_download(HOST, KEY, query=query_of(url)).key == KEY
        else:
            with pytest.raises(BadLink, match="expired"):
                reader.read_download(HOST, KEY, query=query_of(url))


def test_a_link_says_back_what_was_granted():
    upload = UploadGrant(KEY, 123, "video/mp4", "ab" * 32)
    bare = UploadGrant(KEY, 123, "video/mp4", None)
    for grant in (upload, bare):
        assert links().read_upload(HOST, KEY, query=query_of(links().upload_url(grant, ORIGIN))) == grant
    download = DownloadGrant(KEY, "video/mp4", "Größe & mehr=?.mp4", inline=True)
    assert links().read_download(HOST, KEY, query=query_of(links().download_url(download, ORIGIN))) == download


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://alice1.example", "alice1.example"),
        ("https://alice1.example", "ALICE1.example:443"),
        ("http://Alice1.Example:80", "alice1.example"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_host_may_say_the_port_that_goes_without_saying(origin, host):
    url = links().upload_url(UploadGrant(KEY, 1, "video/mp4", None), origin)
    assert links().read_upload(host, KEY, query=query_of(url)).size_bytes == 1


def test_another_secret_signs_nothing_of_ours():
    url = links().upload_url(UploadGrant(KEY, 1, "video/mp4", None), ORIGIN)
    with pytest.raises(BadLink):
        Links(SECRET[::-1], clock=lambda: 1_000_000.0).read_upload(HOST, KEY, query=query_of(url))


@given(st.binary(max_size=300))
def test_any_bytes_for_a_query_are_refused_without_another_error(query):
    with pytest.raises(BadLink):
        links().read_upload(HOST, KEY, query=query)
    with pytest.raises(BadLink):
        links().read_download(HOST, KEY, query=query)


CREDENTIALS = presign.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8333", "https://s3.eu-central-1.amazonaws.com"])
@pytest.mark.parametrize(
    ("method", "headers", "query"),
    [
        ("GET", {}, {}),
        ("GET", {}, {"response-content-disposition": "attachment; filename=\"a b~c'+.mp4\"; filename*=UTF-8''%C3%A9"}),
        ("PUT", {"content-type": "video/mp4", "content-length": "5", "if-none-match": "*"}, {}),
        ("PUT", {"content-length": "5", "x-amz-checksum-sha256": "abc/+=", "content-type": "image/gif"}, {}),
        (
            "PUT",
            {"x-amz-copy-source": f"/atrium/{KEY}", "x-amz-metadata-directive": "REPLACE"},
            {"a-b": "ü / ~", "a": "x"},
        ),
    ],
)
def test_s3_links_are_signed_as_botocore_signs_them(monkeypatch, endpoint, method, headers, query):
    bucket = presign.Bucket(endpoint, "atrium")
    ours = presign.presign(
        method, bucket, key=KEY, credentials=CREDENTIALS, at=AT, expires_seconds=3600, headers=headers, query=query
    )
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: AT.replace(tzinfo=None))
    request = AWSRequest(method, f"{endpoint}/atrium/{KEY}", headers=headers, params=query)
    keys = Credentials(CREDENTIALS.access_key_id, CREDENTIALS.secret_access_key)
    botocore.auth.S3SigV4QueryAuth(keys, "s3", CREDENTIALS.region, expires=3600).add_auth(request)
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(request.url).query)


def test_an_s3_upload_link_signs_every_header_it_asks_for():
    headers = {"content-type": "video/mp4", "content-length": "5", "if-none-match": "*", "x-amz-checksum-sha256": "x"}
    url = presign.presign(
        "PUT",
        presign.Bucket("http://127.0.0.1:1", "b"),
        key=KEY,
        credentials=CREDENTIALS,
        at=AT,
        expires_seconds=60,
        headers=headers,
    )
    [signed] = parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"]
    assert signed.split(";") == sorted([*headers, "host"])


@pytest.mark.parametrize("seconds", [0, -1, presign.EXPIRES_SECONDS_MAX + 1])
def test_an_s3_link_that_lives_too_long_is_not_made(seconds):
    with pytest.raises(ValueError, match="seconds"):
        presign.presign(
            "GET",
            presign.Bucket("http://127.0.0.1:1", "b"),
            key=KEY,
            credentials=CREDENTIALS,
            at=AT,
            expires_seconds=seconds,
        )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file://relative/path",
        "file:relative",
        "http://bucket",
        "s3://",
        "s3://UPPER",
        "s3://bucket/prefix",
        "s3://bucket?endpoint=ftp://x",
        "s3://bucket?endpoint=http://user:pw@x",
        "s3://bucket?endpoint=http://x/path",
        "s3://bucket?region=a%20b",
        "s3://bucket?endpont=http://x",
        "s3://bucket?region=a&region=b",
    ],
)
def test_a_storage_url_that_is_none_is_refused_by_its_name(url, tmp_path):
    with pytest.raises(ValueError, match="ATRIUM_STORAGE_URL"):
        store.open_store(url, secret=SECRET, aws_access_key_id="a", aws_secret_access_key="b", upload_bytes_max=10)


def test_an_s3_store_without_keys_is_refused():
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID"):
        store.open_store(
            "s3://bucket", secret=SECRET, aws_access_key_id=None, aws_secret_access_key=None, upload_bytes_max=10
        )


def test_clients_are_sent_to_the_public_endpoint():
    opened = store.open_store(
        "s3://bucket?endpoint=http://10.0.0.5:9000&public_endpoint=https://Media.Example:443/&region=eu-central-1",
        secret=SECRET,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        upload_bytes_max=10,
    )
    url = opened.download_url(KEY, mime_type="video/mp4", name="a", inline=True, origin=ORIGIN)
    assert url.startswith(f"https://media.example/bucket/{KEY}?")
    public = f"public/{'0' * 32}.mp4"
    assert opened.public_url(public, ORIGIN) == f"https://media.example/bucket/{public}"


def test_a_folder_is_made_where_it_is_missing(tmp_path):
    folder = tmp_path / "a folder" / "store"
    store.open_store(
        folder.as_uri(), secret=SECRET, aws_access_key_id=None, aws_secret_access_key=None, upload_bytes_max=10
    )
    assert folder.is_dir()
