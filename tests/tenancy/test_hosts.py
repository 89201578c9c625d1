"""What a Host header may be, and whom to believe about it: normalised to one name, or refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import errors
from tenancy import hosts

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def read(*headers, client="203.0.113.9", scheme="http", networks=PROXIES):
    return hosts.read_peer(
        [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers],
        client,
        scheme=scheme,
        networks=networks,
    )


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        ("alice1.localhost", "alice1.localhost"),
        ("ALICE1.LocalHost", "alice1.localhost"),
        ("alice1.localhost.", "alice1.localhost"),
        ("alice1.localhost:8000", "alice1.localhost"),
        ("alice1.localhost.:8000", "alice1.localhost"),
        ("localhost:0", "localhost"),
        ("localhost:65535", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("alice1。localhost", "alice1.localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("a.b.localhost", "a.b.localhost"),
        ("a" * 63 + ".localhost", "a" * 63 + ".localhost"),
    ],
)
def test_a_host_has_one_spelling(sent, host):
    peer = read(("host", sent))
    assert peer.host == host
    assert hosts.normalise(host) == host


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        ".",
        "..",
        ".localhost",
        "alice1..localhost",
        "alice1.localhost..",
        " alice1.localhost",
        "alice1.localhost ",
        "alice1.localhost\t",
        "alice1 .localhost",
        "alice1_.localhost",
        "-alice1.localhost",
        "alice1-.localhost",
        "alice1.localhost:",
        "alice1.localhost:port",
        "alice1.localhost:80:80",
        "alice1.localhost:65536",
        "alice1.localhost:-1",
        "alice1.localhost:+80",
        "alice1.localhost:٨٠",
        "alice1.localhost:000080",
        "alice1.localhost/",
        "alice1.localhost?x",
        "alice1.localhost#x",
        "user@alice1.localhost",
        "http://alice1.localhost",
        "alice1.localhost, localhost",
        "alice1.localhost,localhost",
        "alice1.localhost\x00",
        "alice1.localhost\r\nx: y",
        "alice1%2elocalhost",
        "*.localhost",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "[::g]",
        "[]",
        "[127.0.0.1]",
        "::1",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "2130706433",
        "a" * 64 + ".localhost",
        "a." * 126 + "localhost",
        "a" * 300,
        "☃" * 80 + ".localhost",
        b"\xff\xfe.localhost",
        b"alice1.localhost\xc3",
    ],
)
def test_what_is_no_host_is_refused(sent):
    with pytest.raises(errors.BadUserInput):
        read(("host", sent))


def test_none_or_two_hosts_are_refused_even_when_they_agree():
    with pytest.raises(errors.BadUserInput):
        read()
    for second in ("alice1.localhost", "localhost"):
        with pytest.raises(errors.BadUserInput):
            read(("host", "alice1.localhost"), ("host", second))


@pytest.mark.parametrize(
    ("host", "central"),
    [
        ("localhost", True),
        ("www.localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("alice1.localhost", False),
        ("www.alice1.localhost", False),
        ("xlocalhost", False),
        ("localhost.alice1", False),
        ("localhost.localhost", False),
        ("example.com", False),
    ],
)
def test_no_tenants_name_is_a_central_host_and_no_central_one_a_tenants(host, central):
    assert hosts.is_central(host, "localhost") is central


def test_a_strangers_forwarding_headers_are_ignored():
    forged = [
        ("host", "bob2.localhost:8000"),
        ("x-forwarded-host", "alice1.localhost"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
    ]
    for networks in (PROXIES, ()):
        peer = read(*forged, networks=networks)
        assert (peer.host, peer.address) == ("bob2.localhost", "203.0.113.9")
        assert peer.origin == "http://bob2.localhost:8000"


def test_a_trusted_proxys_last_word_is_believed():
    peer = read(
        ("host", "inner:8000"),
        ("x-forwarded-host", "evil.localhost, alice1.localhost"),
        ("x-forwarded-proto", "http, https"),
        ("x-forwarded-for", "127.0.0.1, 198.51.100.7, 10.1.2.3"),
        client="10.0.0.1",
    )
    assert peer == hosts.Peer("alice1.localhost", "https://alice1.localhost", "198.51.100.7")


def test_of_several_forwarding_headers_the_nearest_proxys_is_the_last():
    peer = read(
        ("host", "inner"),
        ("x-forwarded-host", "evil.localhost"),
        ("x-forwarded-host", "alice1.localhost:9000"),
        ("x-forwarded-proto", "gopher"),
        client="::1",
    )
    assert peer.host == "alice1.localhost"
    assert peer.origin == "http://alice1.localhost:9000"
    assert peer.address == "::1"


@pytest.mark.parametrize("told", ["", "unknown", "198.51.100.7:80", "10.0.0.2", "a" * 500])
def test_a_client_address_that_cannot_be_read_is_the_proxys(told):
    assert read(("host", "localhost"), ("x-forwarded-for", told), client="10.0.0.1").address == "10.0.0.1"


def test_a_forwarded_host_is_held_to_the_same_rules():
    for told in ("a_b.localhost", "x:99999", "[::1"):
        with pytest.raises(errors.BadUserInput):
            read(("host", "localhost"), ("x-forwarded-host", told), client="10.0.0.1")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_host_in_its_one_spelling_or_refused(sent):
    try:
        peer = read(("host", sent))
    except errors.BadUserInput:
        return
    assert peer.host == hosts.normalise(peer.host)
    assert peer.host.isascii()
    assert peer.host == peer.host.lower()
    assert not set(peer.host) & set(" /@,\\\x00\r\n")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_names_of_any_script_have_one_spelling(label):
    try:
        once = hosts.normalise(f"{label}.example")
    except errors.BadUserInput:
        return
    assert hosts.normalise(once) == once
