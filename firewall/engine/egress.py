"""Where a call goes, and whether a rule's lists have it: ``{"allow": ["api.example.com"], "deny": ["10.0.0.0/8"]}``.

Polarity follows the verdict. A rule that lets through is about what its ``allow`` list has, without what its ``deny`` list has; a
rule that stops is about what its ``deny`` list has, without what its ``allow`` list has. In doubt the stricter reading holds:

* what brings a call under a stopping rule, or out from under one that lets through, is read widely: any resolved address, and any
  address wrapped in another;
* what lets a call through is read narrowly: the name itself, or all its addresses, in their plain form;
* of several destinations the worst counts, and one that cannot be read is on every list that stops and on none that lets through.

Entries are host names (exact, in any case), addresses and blocks. Names are resolved by whoever calls, never here. Source:
spec/firewall.md 2.6 and 1.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from workspaces.engine.addresses import Address, Network, is_within, parse_host, readings, unmapped
from workspaces.engine.client_address import parse_network

MAX_ENTRIES = 500
MAX_ENTRY_CHARS = 255
#: More of them in one call than anybody would judge: all the rest counts as one that cannot be read.
MAX_DESTINATIONS = 64

#: Names that lead to an address without any resolver's say: this machine, and the metadata services of the clouds.
_KNOWN: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "loopback"), ("127.0.0.1", "::1")
) | dict.fromkeys(
    ("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal", "metadata.azure.internal"),
    ("169.254.169.254",),
)
#: Public services whose names spell the address that they answer with: 127.0.0.1.nip.io, app-10-0-0-1.sslip.io, 7f000001.nip.io
_SPELT_IN = (".nip.io", ".sslip.io", ".xip.io", ".nip.direct")
_DOTTED = re.compile(r"(?:^|[.-])([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})$")

_AUTHORITY = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?//(?P<authority>[^/?#]*)|(?P<bare>[^/?#]*)")
_USER = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%-]*@")
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_WHOLE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://\S*")

#: Words of a name that say that the value is a destination, and those that only may.
_SURE = frozenset(("url", "urls", "uri", "uris", "href", "host", "hosts", "hostname", "hostnames", "endpoint", "endpoints", "webhook"))
_MAYBE = frozenset(
    (
        *("address", "addresses", "ip", "ips", "domain", "domains", "target", "targets", "server", "servers", "site", "website", "link", "links"),
        *("origin", "destination", "destinations", "remote", "proxy", "src", "location", "callback", "redirect", "gateway", "node", "peer", "upstream"),
    )
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Destination:
    """``host`` is a name in lower-case ASCII without a final dot, the text of an address, or what was written where it ``is_unreadable``.

    ``addresses`` are what a name resolved to; None: nobody resolved it, and it is judged by its spelling.
    """

    host: str
    port: int | None = None
    addresses: tuple[Address, ...] | None = None
    is_unreadable: bool = False

    @property
    def needs_resolving(self) -> bool:
        return not self.is_unreadable and self.addresses is None

    @property
    def shown(self) -> str:
        """For a reason: printable, and no longer than a host."""
        return self.host.encode("unicode_escape").decode("ascii")[:MAX_ENTRY_CHARS]

    @property
    def is_usable(self) -> bool:
        """False for what cannot be read, and for a name that resolved to nothing."""
        return not self.is_unreadable and self.addresses != ()


# --- Finding --------------------------------------------------------------------------------------------------------
def destination(text: str) -> Destination:
    """Read a host, ``host:port`` or URL, in any spelling of its address. What two parsers might read differently is unreadable."""
    shown = text[:MAX_ENTRY_CHARS]
    unreadable = Destination(shown, is_unreadable=True)
    if not text.isprintable() or " " in text or "\\" in text:
        return unreadable
    if (plain := _plain_v6(text)) is not None:
        return Destination(str(plain), None, (plain,))
    parts = _AUTHORITY.match(text)
    authority = (parts["authority"] if parts["authority"] is not None else parts["bare"]) if parts else ""
    if "@" in authority:
        user = _USER.match(authority)
        authority = authority[user.end() :] if user else "@"
    form = _HOST_PORT.fullmatch(authority)
    # A port that is announced and missing, before no authority: a scheme whose slashes were lost, which some repair.
    if form is None or not form["host"] or (parts and parts["bare"] is not None and form["port"] == ""):
        return unreadable
    try:
        host = parse_host(form["host"])
    except ValueError:
        return unreadable
    port = int(form["port"]) if form["port"] else None
    if port is not None and not 0 < port < 65536:
        return unreadable
    return Destination(host, port, _known(host)) if isinstance(host, str) else Destination(str(host), port, (host,))


def destinations(root: Mapping | None) -> tuple[Destination, ...]:
    """Every destination in a call's arguments, by the name of its field or because the whole value is a URL; in their order, each once.

    ``root`` None (arguments that cannot be read) is one that cannot be read.
    """
    if root is None:
        return (Destination("", is_unreadable=True),)
    found: dict[Destination, None] = {}
    for text, is_sure in _candidates(root):
        if len(found) == MAX_DESTINATIONS:
            found[Destination(f"and more than {MAX_DESTINATIONS} others", is_unreadable=True)] = None
            break
        each = destination(text)
        if is_sure or _WHOLE_URL.fullmatch(text) or _looks_like_one(each):
            found[each] = None
    return tuple(found)


def _looks_like_one(found: Destination) -> bool:
    return not found.is_unreadable and ("." in found.host or ":" in found.host or found.addresses is not None)


def _candidates(root: Mapping) -> Iterator[tuple[str, bool]]:
    """Texts that may be a destination, and whether their field says so."""
    waiting: list[tuple[str, object]] = [("", root)]
    while waiting:
        name, value = waiting.pop()
        match value:
            case Mapping():
                waiting += reversed(list(value.items()))
            case list():
                waiting += [(name, each) for each in reversed(value)]
            case str() if value:
                kind = _kind(name)
                if kind or "://" in value:
                    yield value, kind == "sure"
            case int() if not isinstance(value, bool) and _kind(name) and 0 <= value < 2**32:
                # As decimal numbers are addresses too.
                yield str(value), False


def _kind(name: str) -> str:
    words = [word.lower() for word in _WORD.findall(name[-64:])]
    last = words[-1] if words else ""
    return "sure" if last in _SURE else "maybe" if last in _MAYBE else ""


def _plain_v6(text: str) -> Address | None:
    """IPv6 without brackets, which no URL has. A zone is not part of an address that leaves this host."""
    try:
        return unmapped(ip_address(text)) if ":" in text and "%" not in text else None
    except ValueError:
        return None


def _known(name: str) -> tuple[Address, ...] | None:
    if name.endswith(".localhost"):
        name = "localhost"
    if texts := _KNOWN.get(name):
        return tuple(map(ip_address, texts))
    if name.endswith(_SPELT_IN):
        return _spelt_in(name.rsplit(".", 2)[0])
    return None


def _spelt_in(name: str) -> tuple[Address, ...] | None:
    label = name.rpartition(".")[2]
    try:
        if form := _DOTTED.search(name):
            return (ip_address(".".join(str(int(part)) for part in form.groups())),)
        if re.fullmatch("[0-9a-f]{8}", label):
            return (ip_address(int(label, 16)),)
        return (ip_address(label.replace("-", ":")),) if "-" in label else None
    except ValueError:
        return None


# --- Lists ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class EgressLists:
    """Entries as they were written."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def as_json(self) -> dict:
        return {"allow": list(self.allow), "deny": list(self.deny)}


def read(spec: Mapping) -> EgressLists:
    """The lists of a decoded ``egress`` without ``objections``."""
    return EgressLists(tuple(spec.get("allow") or ()), tuple(spec.get("deny") or ()))


def objections(spec: object) -> list[tuple[str, str]]:
    """What is wrong with a decoded ``egress``: (path within it, message)."""
    if not isinstance(spec, Mapping):
        return [("", "An object with the lists allow and deny.")]
    found = [(str(name), "There is no such field.") for name in spec if name not in ("allow", "deny")]
    for name in ("allow", "deny"):
        entries = spec.get(name) or []
        if not isinstance(entries, list):
            found.append((name, "A list of hosts, addresses and blocks."))
        elif len(entries) > MAX_ENTRIES:
            found.append((name, f"At most {MAX_ENTRIES} entries; these are {len(entries)}."))
        else:
            text = "A host (no wildcard), an address or a block such as 10.0.0.0/8."
            found += [(f"{name}[{place}]", text) for place, entry in enumerate(entries) if not isinstance(entry, str) or _entry(entry) is None]
    return found


def _entry(text: str) -> str | Network | None:
    if len(text) > MAX_ENTRY_CHARS:
        return None
    try:
        return parse_network(text)
    except ValueError:
        pass
    try:
        host = parse_host(text.strip())
    except ValueError:
        return None
    return host if isinstance(host, str) else parse_network(str(host))


class Places:
    """One list, compiled."""

    def __init__(self, entries: Iterable[str]) -> None:
        found = [_entry(entry) for entry in entries]
        self._names = frozenset(entry for entry in found if isinstance(entry, str))
        self._networks = tuple(entry for entry in found if entry is not None and not isinstance(entry, str))
        self.has_addresses = bool(self._networks)

    def may_have(self, to: Destination) -> bool:
        """Whether anything about ``to`` is on the list: its name, or any address that it may lead to."""
        if not to.is_usable:
            return bool(self._names or self._networks)
        if to.host in self._names:
            return True
        return any(is_within(reading, network) for address in to.addresses or () for reading in readings(address) for network in self._networks)

    def surely_has(self, to: Destination) -> bool:
        """Whether ``to`` is on the list however it is looked at: its name, or all its addresses."""
        if not to.is_usable:
            return False
        if to.host in self._names:
            return True
        return bool(to.addresses) and all(any(is_within(address, network) for network in self._networks) for address in to.addresses or ())


class Scope:
    """A rule's lists, compiled for its verdict."""

    def __init__(self, lists: EgressLists, *, permits: bool) -> None:
        self._allow, self._deny, self._permits = Places(lists.allow), Places(lists.deny), permits
        self.has_addresses = self._allow.has_addresses or self._deny.has_addresses

    def hit(self, of: Sequence[Destination]) -> Destination | None:
        """The destination that makes the rule fire: the first in scope for a rule that stops; for one that lets through, all must be."""
        if self._permits:
            inside = bool(of) and all(self._allow.surely_has(each) and not self._deny.may_have(each) for each in of)
            return of[0] if inside else None
        return next((each for each in of if self._deny.may_have(each) and not self._allow.surely_has(each)), None)
