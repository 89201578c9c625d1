"""Where outgoing requests may go, and that nothing talks them into going elsewhere. No public address is contacted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import httpcore
import pytest

from outside import egress, lookups
from outside.egress import EgressFailed, EgressRefused
from tests.outside.receiver import receiving

# It counts as public, so it is only ever given to a backend that connects nowhere.
PUBLIC = "93.184.215.14"

LOOPBACK_SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "0", "0.0.0.0",
    "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "localhost", "LOCALHOST",
]  # fmt: skip
NEVER_PUBLIC = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "168.63.129.16",
    "192.0.0.192", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "0.0.0.0", "198.18.0.1", "192.0.2.1",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2a00:1450:4001::5efe:a00:1", "2a00:1450:4001::200:5efe:7f00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::", "2001::1", "2001:db8::1", "3fff::1", "5f00::1",
]  # fmt: skip


class Nowhere(httpcore.AsyncNetworkBackend):
    """Stands for the internet: notes where a connection would go and refuses it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def connect_tcp(self, host, port, *_, **__):
        self.asked.append((host, port))
        raise httpcore.ConnectError("nowhere")

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Names:
    """A resolver that answers each look-up with the next list, the last one for ever."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self.answers = [list(answer) for answer in answers]
        self.looked_up = 0

    def __call__(self, _host: str, _port: int) -> list[str]:
        self.looked_up += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def to_nowhere(client: egress.Egress) -> Nowhere:
    """Cut the last wire: the checks are ours and real, the internet behind them is not there."""
    nowhere = Nowhere()
    backend = client._pool._network_backend
    assert isinstance(backend, egress.Checked)
    backend._inner = nowhere  # type: ignore[assignment]
    return nowhere


async def post(client: egress.Egress, url: str, *, seconds: float = 10.0) -> egress.Answer:
    return await client.post(url, headers={"content-type": "text/plain"}, body=b"hello", timeout_seconds=seconds)


@contextmanager
def silence() -> Iterator[Callable[[str, int], list[str]]]:
    """A resolver whose names with "silent" in them are not answered before the test ends; the others are public."""
    over = threading.Event()

    def resolver(host: str, _port: int) -> list[str]:
        if "silent" in host and over.wait(60):
            raise socket.gaierror("nobody answers")
        return [PUBLIC]

    try:
        yield resolver
    finally:
        over.set()


@pytest.mark.parametrize("spelling", LOOPBACK_SPELLINGS)
async def test_no_spelling_of_loopback_is_reached(spelling):
    async with receiving() as receiver, egress.client() as client:
        for scheme in ("http", "https"):
            with pytest.raises(EgressRefused):
                await post(client, f"{scheme}://{spelling}:{receiver.port}/")
            with pytest.raises((EgressRefused, EgressFailed)):
                await post(client, f"{scheme}://{spelling}/")
        assert receiver.connections == 0


@pytest.mark.parametrize("address", NEVER_PUBLIC)
async def test_a_name_that_leads_inside_is_refused(address):
    assert not egress.public(address)
    async with egress.client(resolver=Names([address])) as client:
        nowhere = to_nowhere(client)
        with pytest.raises(EgressRefused, match=r"name\.example:443 is not a public address"):
            await post(client, "https://name.example/")
        assert nowhere.asked == []


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101",
                                     "2a00:1450:4001::5efe:101:101"])  # fmt: skip
def test_public_addresses_are_public(address):
    assert egress.public(address)


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "169.254.169.254", "10.1.2.3"])
@pytest.mark.parametrize("first", [True, False])
async def test_one_private_answer_refuses_the_name(inside, first):
    async with egress.client(resolver=Names([inside, PUBLIC] if first else [PUBLIC, inside])) as client:
        nowhere = to_nowhere(client)
        with pytest.raises(EgressRefused):
            await post(client, "https://mixed.example/")
        assert nowhere.asked == []


async def test_a_rebinding_name_is_looked_up_once_and_connected_to_as_checked():
    names = Names([PUBLIC], ["127.0.0.1"])
    async with egress.client(resolver=names) as client:
        nowhere = to_nowhere(client)
        with pytest.raises(EgressFailed):
            await post(client, "http://rebinding.example/")
        assert (names.looked_up, nowhere.asked) == (1, [(PUBLIC, 80)])
        with pytest.raises(EgressRefused):
            await post(client, "http://rebinding.example/")
        assert nowhere.asked == [(PUBLIC, 80)]


@pytest.mark.parametrize("port", [22, 25, 3306, 6379, 8080, 65_535])
async def test_a_public_address_is_reached_on_web_ports_alone(port):
    async with egress.client(resolver=Names([PUBLIC])) as client:
        nowhere = to_nowhere(client)
        with pytest.raises(EgressRefused, match=f"name.example:{port} has a port that is not open to the outside"):
            await post(client, f"http://name.example:{port}/")
        assert nowhere.asked == []


async def test_a_name_that_became_public_is_no_longer_sent_to_in_the_clear():
    async with receiving() as receiver:
        allow = egress.parse_allow("127.0.0.0/8:*,93.184.215.0/24:443")
        async with egress.client(allow, resolver=Names(["127.0.0.1"])) as client:
            url = f"http://worker.internal:{receiver.port}/"
            answer = await client.post(url, headers={}, body=b"", as_checked=True)
            assert answer.status == 200
        async with egress.client(allow, resolver=Names([PUBLIC])) as client:
            nowhere = to_nowhere(client)
            with pytest.raises(EgressRefused, match="in the clear: use https"):
                await client.post("http://worker.internal/", headers={}, body=b"", as_checked=True)
            with pytest.raises(EgressFailed):
                await client.post("https://worker.internal/", headers={}, body=b"", as_checked=True)
            assert nowhere.asked == [(PUBLIC, 443)]


async def test_an_international_name_is_told_in_which_form_it_is_given():
    async with egress.client(resolver=Names([PUBLIC])) as client:
        with pytest.raises(EgressRefused, match="xn--"):
            await client.check("https://bücher.example/")
        await client.check("https://xn--bcher-kva.example/")


async def test_the_next_address_is_tried_where_one_does_not_answer():
    async with egress.client(resolver=Names([PUBLIC, "1.1.1.1"])) as client:
        nowhere = to_nowhere(client)
        with pytest.raises(EgressFailed):
            await post(client, "https://two.example/")
        assert nowhere.asked == [(PUBLIC, 443), ("1.1.1.1", 443)]


async def test_what_the_operator_allows_is_reached_with_the_name_in_the_host_header():
    async with receiving(body=b"welcome") as receiver:
        allow = egress.parse_allow(f"127.0.0.0/8:{receiver.port}")
        async with egress.client(allow, resolver=Names(["127.0.0.1"])) as client:
            answer = await post(client, f"http://worker.internal:{receiver.port}/hook?x=1")
        assert (answer.status, answer.body_head) == (200, b"welcome")
        line, headers, body = receiver.requests[0]
        assert (line, headers["host"], body) == (
            "POST /hook?x=1 HTTP/1.1",
            f"worker.internal:{receiver.port}",
            b"hello",
        )


async def test_the_operators_permit_is_for_its_port_and_network_alone():
    async with receiving() as receiver:
        for text in (f"127.0.0.0/8:{receiver.port + 1}", f"10.0.0.0/8:{receiver.port}", f"[::1/128]:{receiver.port}"):
            async with egress.client(egress.parse_allow(text)) as client:
                with pytest.raises(EgressRefused):
                    await post(client, receiver.url)
        assert receiver.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_answered_and_not_followed(status):
    async with receiving() as target, receiving(status=status, headers=f"location: {target.url}\r\n") as receiver:
        async with egress.client(egress.parse_allow("127.0.0.0/8:*")) as client:
            assert (await post(client, receiver.url)).status == status
        assert (receiver.connections, target.connections) == (1, 0)


async def test_proxies_in_the_environment_are_not_used(monkeypatch):
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with egress.client(egress.parse_allow("127.0.0.0/8:*")) as client:
            await post(client, receiver.url)
        assert (receiver.connections, proxy.connections) == (1, 0)


async def test_a_long_answer_is_read_to_its_head():
    async with (
        receiving(body=b"x" * 3_000_000) as receiver,
        egress.client(egress.parse_allow("127.0.0.0/8:*")) as client,
    ):
        assert (await post(client, receiver.url)).body_head == b"x" * egress.ANSWER_BYTES_HEAD_MAX


async def test_silence_ends_at_the_time_limit():
    async with receiving(silent=True) as receiver, egress.client(egress.parse_allow("127.0.0.0/8:*")) as client:
        with pytest.raises(EgressFailed):
            await post(client, receiver.url, seconds=0.2)


async def test_a_slow_lookup_ends_at_the_time_limit(monkeypatch):
    monkeypatch.setattr(lookups, "LOOKUP_SECONDS_MAX", 0.05)
    with silence() as resolver:
        async with egress.client(resolver=resolver) as client:
            with pytest.raises(EgressFailed, match="has no address"):
                await post(client, "https://silent.example/")


@pytest.mark.parametrize("failure", [socket.gaierror("none"), UnicodeError("idna")])
async def test_a_name_without_address_is_told(failure):
    def none(host: str, port: int) -> list[str]:
        raise failure

    async with egress.client(resolver=none) as client:
        with pytest.raises(EgressFailed, match="has no address"):
            await post(client, "https://gone.example/")


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "file:///etc/hostname", "unix:///run/x", "gopher://a.example", "//a.example/", "a.example", "",
     "http://", "http:///x", "http://user:pw@a.example/", "http://a.example@127.0.0.1/", "http://a.example\\@b.example/",
     "http://a.example/\r\nx: y", "http://a.example /", "http://ä.example/", "http://a.example:99999999/"],
)  # fmt: skip
async def test_what_is_no_plain_web_address_is_refused(url):
    names = Names([PUBLIC])
    async with egress.client(resolver=names) as client:
        nowhere = to_nowhere(client)
        with pytest.raises(EgressRefused):
            await post(client, url)
        assert nowhere.asked == []


async def test_a_header_with_a_line_break_and_a_huge_body_are_refused():
    async with receiving() as receiver, egress.client(egress.parse_allow("127.0.0.0/8:*")) as client:
        with pytest.raises(EgressRefused):
            await client.post(receiver.url, headers={"x": "a\r\nb: c"}, body=b"")
        with pytest.raises(EgressRefused):
            await client.post(receiver.url, headers={}, body=b"x" * (egress.BODY_BYTES_MAX + 1))
        assert receiver.connections == 0


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.0.0.0/8:", "127.0.0.0/8:0", "127.0.0.0/8:70000", "x/8:*", "10.0.0.1/8:*"]
)
def test_a_wrong_permit_is_named(text):
    with pytest.raises(ValueError, match="is no network:port"):
        egress.parse_allow(f"10.0.0.0/8:80, {text}")


def test_permits_are_read_for_both_families():
    read = egress.parse_allow(" 127.0.0.0/8:*,[::1/128]:8080 ,")
    assert [(str(one.network), one.port) for one in read] == [("127.0.0.0/8", None), ("::1/128", 8080)]
    assert egress.permitted("::ffff:127.0.0.1", 9, allow=read)
    assert not egress.permitted("::1", 8081, allow=read)
