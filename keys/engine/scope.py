"""What a key permits, and from where. Source: spec/platform.md 1.5, 1.6 and spec/decisions.md 4."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from firewall.engine import glob

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: One wording for unknown, malformed, disabled, frozen and expired keys: a guesser learns nothing.
INVALID_KEY = "Incorrect API key provided."

_MAPPED = IPv6Network("::ffff:0:0/96")
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+)(?::[0-9]{1,5})?|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


class Reason(StrEnum):
    """Why a key did not admit a call: for the log, never for the caller."""

    DISABLED = "disabled"
    FROZEN = "frozen"
    EXPIRED = "expired"
    ADDRESS = "address"
    MODEL = "model"
    NO_MODELS = "no_models"


@dataclass(frozen=True, slots=True)
class Refusal:
    """``code`` and ``message`` are what the caller is told (401 ``invalid_api_key``, 403 ``access_denied``)."""

    code: str
    message: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class ModelList:
    """An allow-list of models: tool globs, without the reading of ``__`` as a dot, which is about functions."""

    entries: tuple[str, ...]
    _exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _globs: tuple[glob.Glob, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        globs = [glob.parse(entry) for entry in self.entries if entry]
        object.__setattr__(self, "_exact", frozenset(parsed.literal for parsed in globs if parsed.form is glob.Form.EXACT))
        object.__setattr__(self, "_globs", tuple(parsed for parsed in globs if parsed.form is not glob.Form.EXACT))

    def __bool__(self) -> bool:
        return bool(self._exact or self._globs)

    def has(self, model: str) -> bool:
        return model in self._exact or any(parsed.matches_spelling(model) for parsed in self._globs)


@dataclass(frozen=True, slots=True)
class Scope:
    """The limits of one key. ``expires_at`` None is never, ``networks`` empty is any address, ``models`` None is any model."""

    is_disabled: bool = False
    is_frozen: bool = False
    expires_at: datetime | None = None
    networks: tuple[Network, ...] = ()
    models: ModelList | None = None

    def lists(self, model: str) -> bool:
        """Whether the model list lets this model through."""
        return self.models is None or self.models.has(model)


def admits(scope: Scope, *, model: str | None, address: Address | None, at: datetime) -> Refusal | None:
    """Judge a call against its key: validity, then address, then model; None admits it.

    ``model`` None is a call that names none (a listing). ``address`` None is a
    client whose address could not be told: it is on no list.
    """
    if reason := _invalid(scope, at):
        return Refusal("invalid_api_key", INVALID_KEY, reason)
    if scope.networks and (address is None or not _listed(scope.networks, address)):
        return Refusal("access_denied", "This token has no access from this address.", Reason.ADDRESS)
    if model is None or scope.models is None:
        return None
    if not scope.models:
        return Refusal("access_denied", "This token has no access to any models.", Reason.NO_MODELS)
    if not scope.models.has(model):
        return Refusal("access_denied", f"This token has no access to model {model}", Reason.MODEL)
    return None


def _invalid(scope: Scope, at: datetime) -> Reason | None:
    if scope.is_disabled:
        return Reason.DISABLED
    if scope.is_frozen:
        return Reason.FROZEN
    if scope.expires_at is not None and scope.expires_at <= at:
        return Reason.EXPIRED
    return None


def _listed(networks: Sequence[Network], address: Address) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def parse_network(text: str) -> Network:
    """An address or a CIDR, host bits cleared; IPv4 written as IPv4-mapped IPv6 is IPv4. ``ValueError`` for anything else."""
    network = ip_network(text.strip(), strict=False)
    if isinstance(network, IPv6Network):
        if network.network_address.scope_id:
            raise ValueError(f"{text!r} has a zone")
        if network.subnet_of(_MAPPED):
            return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """A client's address as a socket or a proxy writes it: with or without port, brackets, zone; None when it is none."""
    bare = text.strip().partition("%")[0]
    if form := _WITH_PORT.fullmatch(text.strip()):
        bare = form["v4"] or form["v6"]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """Who is calling: the socket's peer, or what trusted proxies say it is.

    ``forwarded_for`` are the X-Forwarded-For headers in order of arrival. They
    are read only when the peer is trusted, from the right, up to the first hop
    that is not: everything left of it was written by the client. None when that
    hop is no address.
    """
    address = parse_address(peer) if peer else None
    hops = [hop for header in forwarded_for for hop in header.split(",")]
    while address is not None and hops and _listed(trusted, address):
        address = parse_address(hops.pop())
    return address
