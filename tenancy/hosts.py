"""Pure: what host, scheme and client address a request has, and whom to believe about them."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import idna

from base import errors
from base.settings import Network

HOST_CHARACTERS_MAX = 253
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PORT_DIGITS_MAX = 5
PORT_MAX = 65_535
IPV6_PREFIX_BITS = 64
NETWORKS_KEPT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request came in: `host` normalised, no port; `origin` with scheme and port; `address` the client's."""

    host: str
    origin: str
    address: str


def bad_host() -> errors.BadUserInput:
    """The one answer to every host that cannot be read."""
    return errors.BadUserInput("The Host header is missing, doubled or no host name.")


def split_port(text: str) -> tuple[str, str]:
    """(host, port or ""). Raises BadUserInput."""
    host, port = text, ""
    if text.startswith("["):
        host, closed, rest = text.partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise bad_host()
        host, port = host + "]", rest[1:]
    elif ":" in text:
        host, _, port = text.partition(":")
    wanted = text != host
    if wanted and not (port.isascii() and port.isdecimal() and len(port) <= PORT_DIGITS_MAX and int(port) <= PORT_MAX):
        raise bad_host()
    return host, port


def normalise(text: str) -> str:
    """A host name without port as it stands in `domains`: lower case, no trailing dot, IDNA; an IP in its short form.

    Raises BadUserInput.
    """
    if not text or len(text) > HOST_CHARACTERS_MAX + 1 or text != text.strip():
        raise bad_host()
    if text.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(text[1:-1])}]"
        except ValueError:
            raise bad_host() from None
    name = text.removesuffix(".")
    try:
        name = name.lower() if name.isascii() else idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError:
        raise bad_host() from None
    labels = name.split(".")
    if len(name) > HOST_CHARACTERS_MAX or not all(LABEL.fullmatch(label) for label in labels):
        raise bad_host()
    if labels[-1].isdecimal():
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise bad_host() from None
    return name


def is_address(host: str) -> bool:
    """Whether a normalised host is an IP address rather than a name."""
    return host.startswith("[") or host.rpartition(".")[2].isdecimal()


def is_central(host: str, base_domain: str) -> bool:
    """Whether a normalised host is one of the central ones: the base, www of it, an IP address."""
    return host in (base_domain, f"www.{base_domain}") or is_address(host)


def trusted(address: str, networks: Sequence[Network]) -> bool:
    """Whether a peer's forwarding headers are believed."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def read_peer(headers: Iterable[tuple[bytes, bytes]], client: str, *, scheme: str, networks: Sequence[Network]) -> Peer:
    """The peer of a request from its raw headers. Raises BadUserInput for a Host missing, doubled or unreadable."""
    hosts: list[bytes] = []
    forwarded: dict[bytes, list[bytes]] = {}
    for header, value in headers:
        if header == b"host":
            hosts.append(value)
        elif header in (b"x-forwarded-host", b"x-forwarded-for", b"x-forwarded-proto"):
            forwarded.setdefault(header, []).append(value)
    if len(hosts) != 1:
        raise bad_host()
    text, address = hosts[0].decode("latin-1"), client
    if forwarded and networks and trusted(client, networks):
        text = _last(forwarded.get(b"x-forwarded-host")) or text
        address = _client(forwarded.get(b"x-forwarded-for"), networks) or address
        told = _last(forwarded.get(b"x-forwarded-proto"))
        scheme = told if told in ("http", "https") else scheme
    elif not text.isascii():
        # A header is bytes: a name that is not ASCII was sent as UTF-8.
        text = _utf8(hosts[0])
    name, port = split_port(text)
    host = normalise(name)
    return Peer(host, f"{scheme}://{host}{':' + port if port else ''}", address)


def _last(values: list[bytes] | None) -> str | None:
    # The nearest proxy wrote the last one; what stands before it came from strangers.
    return values[-1].decode("latin-1").rpartition(",")[2].strip() if values else None


def _client(values: list[bytes] | None, networks: Sequence[Network]) -> str | None:
    chain = [part.strip() for value in values or [] for part in value.decode("latin-1").split(",")]
    for address in reversed(chain):
        if not trusted(address, networks):
            try:
                return str(ipaddress.ip_address(address))
            except ValueError:
                return None
    return None


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise bad_host() from None


def is_loopback(address: str) -> bool:
    """Whether a client's address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=NETWORKS_KEPT_MAX)
def network(address: str) -> str:
    """Whom a client address stands for: one address, or the 64 bits of IPv6 that one subscriber has whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, IPV6_PREFIX_BITS), strict=False))
