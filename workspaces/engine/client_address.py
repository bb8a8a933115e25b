"""Who is calling: the socket's peer, or what trusted proxies say. Source: spec/decisions.md 4.3."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from workspaces.engine.addresses import Address, Network, unmapped

_MAPPED = IPv6Network("::ffff:0:0/96")
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+)(?::[0-9]{1,5})?|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


def client_address(peer: str | None, forwarded_for: str | None, trusted: Sequence[str]) -> Address | None:
    """The client's address; None when it cannot be told, which is on no list.

    ``forwarded_for`` is X-Forwarded-For, repeated headers joined with commas. It
    is read only when the peer is ``trusted`` (addresses and CIDRs), from the
    right, up to the first hop that is not: what stands left of it was written
    by the client itself.
    """
    proxies = _networks(tuple(trusted))
    address = parse_address(peer) if peer else None
    hops = forwarded_for.split(",") if forwarded_for else []
    while address is not None and hops and is_listed(address, proxies):
        address = parse_address(hops.pop())
    return address


def is_listed(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """An address as a socket or a proxy writes it: with or without port, brackets, zone; None when it is none."""
    bare = text.strip().partition("%")[0]
    if form := _WITH_PORT.fullmatch(text.strip()):
        bare = form["v4"] or form["v6"]
    try:
        return unmapped(ip_address(bare))
    except ValueError:
        return None


def parse_network(text: str) -> Network:
    """An address or a CIDR, host bits cleared; IPv4 written as IPv4-mapped IPv6 is IPv4. ``ValueError`` for anything else."""
    network = ip_network(text.strip(), strict=False)
    if isinstance(network, IPv6Network):
        if network.network_address.scope_id:
            raise ValueError(f"{text!r} has a zone")
        if network.subnet_of(_MAPPED):
            return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


@lru_cache(maxsize=8)
def _networks(written: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(parse_network, written))
