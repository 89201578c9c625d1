"""The only way out: HTTP to addresses that someone else gave us (job providers, later tenants' webhooks).

Names are looked up by us, every address found must be public or allowed by the operator, and the connection goes to
the address that was checked. No redirects, proxies, cookies or environment: httpcore has none.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import TracebackType
from typing import Self

import httpcore

from outside.lookups import Lookups, NoPlace, Resolve, resolve

Network = IPv4Network | IPv6Network

PORTS = frozenset({80, 443})
ADDRESSES_MAX = 20
# More than all endpoints that are sent to at once may hold: silent ones do not keep others waiting.
CONNECTIONS_MAX = 100
ANSWER_BYTES_HEAD_MAX = 4_096
BODY_BYTES_MAX = 1_048_576
# What `is_global` of Python 3.11–3.13 lets through although nobody's public server is there.
NEVER: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "64:ff9b:1::/48", "2001::/23", "::/96", "fec0::/10",
        "3fff::/20", "5f00::/16",
    )
)  # fmt: skip
# IPv6 prefixes with an IPv4 address inside, and the bit at which it starts.
EMBEDS = ((IPv6Network("64:ff9b::/96"), 96), (IPv6Network("2002::/16"), 16))
# Bits 64 to 95 of an ISATAP address, under any prefix; the IPv4 address that it is tunnelled to follows.
ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
# httpcore asks for a connection without saying for whom.
_ASKER: ContextVar[str | None] = ContextVar("asker", default=None)


class EgressRefused(Exception):
    """We do not go there; the message names what was asked, not what was found behind it."""


class EgressFailed(Exception):
    """Nobody answered in time, or not in HTTP. Whether the request arrived is unknown."""


class EgressBusy(EgressFailed):
    """Names of the same asker are silent and hold its look-ups: nothing was sent, nor learned of this one."""


@dataclass(frozen=True)
class Allowed:
    """One network that may be reached although private; `port` None is any."""

    network: Network
    port: int | None


@dataclass(frozen=True)
class Answer:
    """`body_head` are the first ANSWER_BYTES_HEAD_MAX bytes; the rest is not read."""

    status: int
    body_head: bytes


def parse_allow(text: str) -> tuple[Allowed, ...]:
    """Read "127.0.0.0/8:*,[::1/128]:8080". Raises ValueError naming the part."""
    allowed = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        network, colon, port = part.rpartition(":")
        try:
            if not colon or (port != "*" and not 0 < int(port) <= 65_535):
                raise ValueError(port)
            allowed.append(Allowed(ip_network(network.strip("[]")), None if port == "*" else int(port)))
        except ValueError:
            raise ValueError(f"{part!r} is no network:port, like 127.0.0.0/8:* or [::1/128]:8080") from None
    return tuple(allowed)


def public(text: str) -> bool:
    """Whether an address is a public server's; also asked of the IPv4 address inside an IPv6 one."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return public(str(address.ipv4_mapped))
        for network, at in EMBEDS:
            if address in network:
                return public(str(IPv4Address((int(address) >> (96 - at)) & 0xFFFF_FFFF)))
        if (int(address) >> 32) & 0xFFFF_FFFF in ISATAP and not public(str(IPv4Address(int(address) & 0xFFFF_FFFF))):
            return False
    private = address.is_multicast or address.is_reserved or address.is_private or not address.is_global
    return not private and not any(address in network for network in NEVER if network.version == address.version)


def permitted(address: str, port: int, *, allow: Iterable[Allowed]) -> bool:
    """Public on a web port, or named by the operator. An IPv4 address mapped into IPv6 is read as IPv4."""
    return (port in PORTS and public(address)) or named(address, port, allow=allow)


def named(address: str, port: int, *, allow: Iterable[Allowed]) -> bool:
    """Whether the operator named this address and port."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(
        found.version == one.network.version and found in one.network and one.port in (None, port) for one in allow
    )


class Checked(httpcore.AsyncNetworkBackend):
    """Connects to the very addresses that were looked up and checked, so no second look-up can lie."""

    def __init__(self, allow: Iterable[Allowed], resolver: Resolve) -> None:
        self._allow = tuple(allow)
        self._lookups = Lookups(resolver)
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self.checked(host, port)
        failure: Exception = EgressFailed(f"{host} did not answer")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def checked(self, host: str, port: int, *, in_the_clear: bool = False) -> list[str]:
        """The addresses of a name, all of which may be connected to; `in_the_clear`: the operator named them all.

        Raises EgressRefused, EgressFailed (it has none), EgressBusy.
        """
        try:
            # What nobody in particular asks for keeps only its own name waiting.
            addresses = (await self._lookups.find(host, port, of=_ASKER.get() or host))[:ADDRESSES_MAX]
        except NoPlace:
            raise EgressBusy(f"{host} could not be looked up yet") from None
        except (OSError, UnicodeError):
            raise EgressFailed(f"{host} has no address") from None
        # One private answer refuses the name: who mixes them means no good.
        if not addresses or not all(permitted(address, port, allow=self._allow) for address in addresses):
            if port not in PORTS and all(map(public, addresses)):
                raise EgressRefused(f"{host}:{port} has a port that is not open to the outside: 443 is, and 80")
            raise EgressRefused(f"{host}:{port} is not a public address")
        if in_the_clear and not all(named(address, port, allow=self._allow) for address in addresses):
            raise EgressRefused(f"{host}:{port} is asked in the clear: use https")
        return addresses

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Whom this machine trusts, read once a process: that takes longer than all else of opening a house."""
    return ssl.create_default_context()


class Egress:
    """A pool of checked connections. Use as `async with`, one for a process."""

    def __init__(self, allow: Iterable[Allowed] = (), *, resolver: Resolve = resolve) -> None:
        self._checked = Checked(allow, resolver)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trusting(),
            network_backend=self._checked,
            max_connections=CONNECTIONS_MAX,
            keepalive_expiry=30.0,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._pool.aclose()

    async def check(self, url: str, *, of: str | None = None) -> None:
        """Look whether this address might be sent to, without connecting: https, or http to where the operator allows.

        `of` is whose address it is: names of one tenant do not hold up others. What it leads to later is looked at
        again by each `post`. Raises EgressRefused, EgressFailed (no address), EgressBusy.
        """
        _ASKER.set(of)
        target = _target(url)
        in_the_clear = target.scheme == b"http"
        port = target.port or (80 if in_the_clear else 443)
        await self._checked.checked(target.host.decode("ascii"), port, in_the_clear=in_the_clear)

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float = 10.0,
        as_checked: bool = False,
        of: str | None = None,
    ) -> Answer:
        """POST once and read the answer's head. A redirect is an answer like any other, never followed.

        `as_checked`: what `check` asks of an address holds still; a name that has become public is not sent to
        in the clear. `of` is whose address it is, as for `check`. Raises EgressRefused and EgressBusy (nothing was
        sent) and EgressFailed (it may have arrived).
        """
        _ASKER.set(of)
        if len(body) > BODY_BYTES_MAX:
            raise EgressRefused("the body is too large")
        target = _target(url)
        if as_checked and target.scheme == b"http":
            await self.check(url, of=of)
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._pool.stream("POST", target, headers=_headers(target, headers), content=body) as response,
            ):
                return Answer(response.status, await _head(response))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, TimeoutError, OSError) as why:
            raise EgressFailed(f"no answer from {target.host.decode('ascii')}: {type(why).__name__}") from None


def _target(url: str) -> httpcore.URL:
    """A web address: http or https with a host, no user and no odd characters. Raises EgressRefused."""
    if not url.isascii():
        raise EgressRefused("that is no web address: give a name with other letters in its xn-- form")
    try:
        if any(character <= " " or character in "\\\x7f" for character in url):
            raise ValueError(url)
        target = httpcore.URL(url)
        host = target.host.decode("ascii")
    except (ValueError, TypeError, httpcore.UnsupportedProtocol):
        raise EgressRefused("that is no web address") from None
    if target.scheme not in (b"http", b"https") or not host or "@" in url.split("/")[2]:
        raise EgressRefused("that is no web address")
    return target


def _headers(target: httpcore.URL, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    default = {b"http": 80, b"https": 443}[target.scheme]
    name = b"[" + target.host + b"]" if b":" in target.host else target.host
    host = name if target.port in (None, default) else name + b":" + str(target.port).encode()
    given = [(key.encode("ascii"), value.encode("ascii")) for key, value in headers.items()]
    if any(b"\r" in value or b"\n" in value for _, value in given):
        raise EgressRefused("a header holds a line break")
    return [(b"host", host), *given]


async def _head(response: httpcore.Response) -> bytes:
    kept = b""
    async for chunk in response.aiter_stream():
        kept += chunk
        if len(kept) >= ANSWER_BYTES_HEAD_MAX:
            break
    return kept[:ANSWER_BYTES_HEAD_MAX]


def client(allow: Iterable[Allowed] = (), *, resolver: Resolve = resolve) -> Egress:
    return Egress(allow, resolver=resolver)
