"""Where a request came from. Source: spec/decisions.md 4.3."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(peer: str | None, forwarded_for: str | None, trusted: Sequence[Network]) -> Address | None:
    """The socket's peer; or, when that is a trusted proxy, the right-most hop of ``X-Forwarded-For`` that is not one.

    None when the address that counts cannot be read: refuse such a request.
    """
    hops = [*(forwarded_for.split(",") if forwarded_for else ()), peer or ""]
    address = None
    for hop in reversed(hops):
        address = _read(hop.strip())
        if address is None or not any(address in network for network in trusted):
            return address
    return address


def _read(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
