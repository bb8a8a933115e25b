"""Which addresses may be dialled on a user's behalf, and what a URL's host really says.

The address decides, not its spelling: decimal, octal, hex, mapped and tunnelled forms all come down to the address that a
packet would reach. What cannot be read with certainty is refused. Sources: the IANA special-purpose registries (RFC 6890 and
its successors), the URL Standard's host parser, spec/decisions.md 11.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}

# Python 3.11's is_global is wrong on 192.0.0.0/24, mapped multicast and more, so the lists are ours.
_NOT_PUBLIC_V4 = [
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's wire server: looks public, answers only from inside
    )
]
#: Of IPv6 only global unicast is public, less these: protocol assignments with Teredo, documentation, 6to4.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = [IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = IPv6Network("::/96")
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")

#: What no setting opens: this host, link-local, multicast, reserved, and the metadata services of the clouds.
_NEVER = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128"),
    )
]

_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>\[[^\]]*\]|[^/?#:\[\]@]*)(?::(?P<port>[0-9]{0,5}))?(?P<rest>[/?#].*)?", re.IGNORECASE)
#: Names that resolve only inside some network, or to this very machine.
_INNER_SUFFIXES = (
    *("localhost", "localdomain", "localdomain4", "localdomain6", "local", "internal", "intranet", "lan", "home", "corp", "mail", "private", "home.arpa"),
    *("onion", "i2p", "alt", "test", "invalid", "workgroup", "domain", "belkin", "dlink", "fritz.box"),
    # Of containers and clouds: a service in a namespace, a pod, a machine in somebody's network.
    *("svc", "pod", "default", "kube-system", "kube-public", "consul", "nomad", "mesos", "docker", "lxd", "incus", "vagrant"),
    *("internal.cloudapp.net", "oraclevcn.com"),
)
_INNER_ENDS = tuple(f".{suffix}" for suffix in _INNER_SUFFIXES)


# --- Addresses ------------------------------------------------------------------------------------------------------
def is_public(address: Address) -> bool:
    """Whether a packet to this address leaves for the public internet. NAT64 counts as what it wraps."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.ipv4_mapped:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(_low_half(address))
    if address not in _GLOBAL_UNICAST or any(address in network for network in _NOT_PUBLIC_V6):
        return False
    return all(map(is_public, _wrapped(address)))


def is_off_limits(address: Address) -> bool:
    """Whether no setting may open this address, however it is wrapped."""
    return any(each in network for each in readings(address) for network in _NEVER if each.version == network.version)


def is_within(address: Address, network: Network) -> bool:
    """Membership across versions: an IPv4-mapped address is in the IPv4 network."""
    plain = unmapped(address)
    return plain.version == network.version and plain in network


def unmapped(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def readings(address: Address) -> tuple[Address, ...]:
    """The address, and every one that it may lead to: mapped, translated, NAT64, 6to4, Teredo and ISATAP forms carry another inside.

    Whoever connects to 0.0.0.0 or :: reaches their own machine, on most systems by either protocol.
    """
    found = (address, *_wrapped(address))
    return (*found, *_LOOPBACK) if any(each.is_unspecified for each in found) else found


def _wrapped(address: Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that an IPv6 address may lead to."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    # ::1 and :: are addresses of their own, not wrappings.
    if address in _NAT64 or address in _TRANSLATED or _is_isatap(address) or (address in _COMPATIBLE and int(address) > 1):
        yield _low_half(address)
    if address in _LOCAL_NAT64:
        # RFC 6052, 2.2: where the address stands depends on the length of the prefix, which only its network knows.
        number = int(address)
        halves = (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF, (number >> 64 & 0xFF) << 24 | number >> 32 & 0xFFFFFF, number >> 24, number
        yield from (IPv4Address(each & 0xFFFFFFFF) for each in halves)


def _is_isatap(address: IPv6Address) -> bool:
    """RFC 5214, 6.1: an interface's number that begins with the code of IANA and 5EFE, with the universal bit or without."""
    return int(address) >> 32 & 0xFDFFFFFF == 0x00005EFE


def _low_half(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)


# --- Spellings ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL leads. ``host`` is a lower-case ASCII name without a final dot, or the text of ``address``; ``rest`` begins at the path."""

    scheme: str
    host: str
    port: int
    rest: str
    address: Address | None = None

    @property
    def url(self) -> str:
        """The same URL in the one spelling that every library reads alike."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.rest}"

    @property
    def is_inner_name(self) -> bool:
        return self.address is None and is_inner_name(self.host)


def parse_url(text: str) -> Endpoint:
    """Read an http(s) URL. Raises ``ValueError`` for whatever two parsers might read differently: user names, backslashes,
    spaces and control characters, percent signs or zones in the host."""
    if not text.isprintable() or "\\" in text or " " in text:
        raise ValueError("The address has characters that do not belong in one.")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise ValueError("The address must look like https://host/path, without user name.")
    scheme = parts["scheme"].lower()
    port = int(parts["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError("There is no such port.")
    host = parse_host(parts["host"])
    return Endpoint(scheme, str(host), port, parts["rest"] or "", None if isinstance(host, str) else host)


def is_inner_name(host: str) -> bool:
    """A name that means nothing on the public internet: a single label, or under a suffix kept for inside use."""
    return "." not in host or f".{host}".endswith(_INNER_ENDS)


def parse_host(text: str) -> Address | str:
    """An address in any spelling, or a name in lower-case ASCII without a final dot. Raises ``ValueError``."""
    if text.startswith("[") or ":" in text:
        if "%" in text:
            raise ValueError("The host has a zone.")
        return unmapped(IPv6Address(text.removeprefix("[").removesuffix("]")))
    name = _ascii(text)
    number = _ipv4(name)
    if number is not None:
        return number
    name = name.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("The host is not a name or an address.")
    return name


def _ascii(text: str) -> str:
    name = text.lower()
    if name.isascii() and "xn--" not in name:
        return name
    digits = [char for char in name if char.isalnum()]
    if all(map(str.isdecimal, digits)) and not unicodedata.normalize("NFKC", "".join(digits)).isascii():
        raise ValueError("The host is written in digits that only some read as an address.")
    try:
        mapped = idna.encode(name, uts46=True, std3_rules=True).decode()
        idna.decode(mapped)
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError("The host is not a valid international name.") from error
    return mapped


def _ipv4(name: str) -> IPv4Address | None:
    """The URL Standard's IPv4 parser; None for a host that does not end in a number. Raises ``ValueError``."""
    parts = name.split(".")
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        raise ValueError("The host ends in a number but is no IPv4 address.")
    numbers = [_number(part) for part in parts]
    if any(number > 255 for number in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError("The host ends in a number but is no IPv4 address.")
    return IPv4Address(numbers[-1] + sum(number << 8 * (3 - index) for index, number in enumerate(numbers[:-1])))


def _number(text: str) -> int:
    # Long enough for any 32-bit number in any base; longer ones must not cost quadratic time.
    if len(text) > 32:
        raise ValueError("The host ends in a number but is no IPv4 address.")
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if text[0] == "0" else int(text)


# --- What the operator allows ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Allowance:
    """Private places that may be dialled: names and networks, each on one port or (None) on all."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    def has_name(self, host: str, port: int) -> bool:
        return (host, port) in self.names or (host, None) in self.names

    def has_address(self, address: Address, port: int) -> bool:
        return any(is_within(address, network) and only in (None, port) for network, only in self.networks)


def parse_allowance(entries: Iterable[str]) -> Allowance:
    """Read ``ALLOWED_PRIVATE_HOSTS``: hosts, ``host:port``, addresses (IPv6 with a port in brackets), CIDRs. Raises ``ValueError``."""
    names: set[tuple[str, int | None]] = set()
    networks: list[tuple[Network, int | None]] = []
    for entry in filter(None, map(str.strip, entries)):
        if "/" in entry:
            networks.append((ip_network(entry, strict=False), None))
            continue
        host, port = entry, None
        if form := re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+):([0-9]{1,5})", entry):
            host, port = form[1], int(form[2])
        parsed = parse_host(host)
        if isinstance(parsed, str):
            names.add((parsed, port))
        else:
            networks.append((ip_network(parsed), port))
    return Allowance(frozenset(names), tuple(networks))


def objection(endpoint: Endpoint, addresses: Sequence[Address], allowance: Allowance) -> str | None:
    """Why ``endpoint``, which resolved to ``addresses``, may not be dialled; None if it may. One bad address spoils all.

    ``addresses`` may be empty: then a name is judged by its spelling alone.
    """
    if any(map(is_off_limits, addresses)):
        return "The host is a link-local, metadata or reserved address."
    named = allowance.has_name(endpoint.host, endpoint.port)
    allowed = [named or allowance.has_address(address, endpoint.port) for address in addresses]
    if named or (allowed and all(allowed)):
        return None
    if endpoint.scheme != "https":
        return "The address must begin with https://, unless ALLOWED_PRIVATE_HOSTS names its host."
    if endpoint.is_inner_name or not all(known or is_public(address) for known, address in zip(allowed, addresses, strict=True)):
        return "The host is not on the public internet, and ALLOWED_PRIVATE_HOSTS does not name it."
    return None
