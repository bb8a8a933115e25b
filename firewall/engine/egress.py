"""Where a call goes, and whether a rule's lists have it: ``{"allow": ["api.example.com"], "deny": ["10.0.0.0/8"]}``.

Polarity follows the verdict. A rule that lets through is about what its ``allow`` list has, without what its ``deny`` list has; a
rule that stops is about what its ``deny`` list has, without what its ``allow`` list has. In doubt the stricter reading holds:

* what brings a call under a stopping rule, or out from under one that lets through, is read widely: any resolved address, any
  address wrapped in another or spelt in a name, and for a name of the inside that nobody resolved any inner block;
* what lets a call through is read narrowly: the name itself, or all its addresses, in their plain form;
* of several destinations, mentions in commands and URLs among them, the worst counts, and one that cannot be read is on every
  list that stops and on none that lets through.

Entries are host names (exact, in any case), addresses and blocks. Names are resolved by whoever calls, never here. Source:
spec/firewall.md 2.6 and 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from firewall.engine.destinations import Destination
from workspaces.engine.addresses import Network, is_within, parse_host, readings
from workspaces.engine.client_address import parse_network

MAX_ENTRIES = 500
MAX_ENTRY_CHARS = 255

#: Where names of the inside lead, as a rule.
_INNER = tuple(map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


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
        self.names = frozenset(entry for entry in found if isinstance(entry, str))
        self._networks = tuple(entry for entry in found if entry is not None and not isinstance(entry, str))
        self.has_addresses = bool(self._networks)
        #: A name that nobody resolved leads somewhere: into a block of everything surely, into an inner one if it is an inner name.
        self._has_all = any(network.prefixlen == 0 for network in self._networks)
        self._has_inner = any(network.version == inner.version and network.overlaps(inner) for network in self._networks for inner in _INNER)

    def may_have(self, to: Destination) -> bool:
        """Whether anything about ``to`` is on the list: its name, or any address that it may lead to."""
        if not to.is_usable:
            return bool(self.names or self._networks) and not to.is_guess
        if to.host in self.names or (to.addresses is None and self._has_all) or (to.is_inner and self._has_inner):
            return True
        known = (*(to.addresses or ()), *to.hints)
        return any(is_within(reading, network) for address in known for reading in readings(address) for network in self._networks)

    def surely_has(self, to: Destination) -> bool:
        """Whether ``to`` is on the list however it is looked at: its name, whatever that resolves to, or all its addresses."""
        if to.is_unreadable:
            return False
        if to.host in self.names:
            return True
        return bool(to.addresses) and all(any(is_within(address, network) for network in self._networks) for address in (*(to.addresses or ()), *to.hints))


class Scope:
    """A rule's lists, compiled for its verdict."""

    def __init__(self, lists: EgressLists, *, permits: bool) -> None:
        self._allow, self._deny, self._permits = Places(lists.allow), Places(lists.deny), permits
        self.has_addresses = self._allow.has_addresses or self._deny.has_addresses
        #: Names that are let through as such: whoever listed one need not have it looked up.
        self.allowed_names = self._allow.names

    def hit(self, of: Sequence[Destination]) -> Destination | None:
        """The destination that makes the rule fire: the first in scope for a rule that stops; for one that lets through, all must be."""
        if self._permits:
            plain = next((each for each in of if not each.is_mention), None)
            return plain if plain and all(self._allow.surely_has(each) and not self._deny.may_have(each) for each in of) else None
        return next((each for each in of if self._deny.may_have(each) and not self._allow.surely_has(each)), None)
