"""The one dialler: every address that a user gives (a provider's, a webhook's) is vetted here, when it is saved and when it is dialled.

Public and https only, unless ``ALLOWED_PRIVATE_HOSTS`` names it; never link-local, metadata or our own listeners. All addresses
of a name are judged and exactly those are dialled, so a name cannot change its mind in between. Callers follow no redirects
and read no proxies from the environment. Source: spec/decisions.md 11.
"""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings

from workspaces import errors
from workspaces.engine import addresses
from workspaces.engine.addresses import Address, Allowance, Endpoint

#: Seconds a lookup may take where a person waits for it.
LOOKUP_SECONDS = 3

_lookups = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lookup")


class AddressRefused(errors.ValidationFailed):
    """The address is not one that may be dialled; the message says why without naming what it resolved to."""


@dataclass(frozen=True, slots=True)
class Target:
    """A vetted URL. ``url`` is its one unambiguous spelling; ``addresses`` is empty for a name that does not resolve now."""

    url: str
    host: str
    port: int
    tls: bool
    addresses: tuple[str, ...]


def vet(url: str) -> Target:
    """Judge a URL that somebody wants to save. Raises ``AddressRefused``.

    A public-looking name that does not resolve at the moment passes: its
    addresses are judged again when it is dialled.
    """
    endpoint = _parsed(url)
    found = _look_up(endpoint)
    _refuse_if(endpoint, found)
    return Target(endpoint.url, endpoint.host, endpoint.port, endpoint.scheme == "https", tuple(map(str, found)))


class PinnedResolver(AbstractResolver):
    """For an aiohttp connector: resolves a name, judges every address, and hands out exactly those.

    aiohttp asks no resolver about a literal address and does not tell it the
    scheme, so call ``permit`` with the URL before each request as well.
    """

    def __init__(self) -> None:
        #: Names that are asked in plain http: their addresses must be allowed private ones.
        self._plain: set[tuple[str, int]] = set()

    def permit(self, url: str) -> Endpoint:
        """Judge all that can be judged without a lookup; a few microseconds. Raises ``AddressRefused``."""
        endpoint = _parsed(url)
        if endpoint.address is not None:
            _refuse_if(endpoint, (endpoint.address,))
        elif endpoint.scheme != "https":
            self._plain.add((endpoint.host, endpoint.port))
        return endpoint

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Every address of a name. Raises ``OSError``, as a resolver must: aiohttp makes it a connection error."""
        loop = asyncio.get_running_loop()
        rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        name = host.rstrip(".").lower()
        endpoint = Endpoint("http" if (name, port) in self._plain else "https", name, port, "")
        try:
            _refuse_if(endpoint, _unique(rows))
        except AddressRefused as refusal:
            raise OSError(None, refusal.message) from refusal
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [ResolveResult(hostname=host, host=str(place[0]), port=port, family=kind, proto=proto, flags=flags) for kind, _, proto, _, place in rows]

    async def close(self) -> None:
        """Nothing is held open."""


@lru_cache(maxsize=1024)
def _endpoint(url: str) -> Endpoint:
    return addresses.parse_url(url)


def _parsed(url: str) -> Endpoint:
    try:
        return _endpoint(url)
    except ValueError as error:
        raise AddressRefused(str(error)) from error


def _refuse_if(endpoint: Endpoint, found: Iterable[Address]) -> None:
    found = tuple(found)
    objection = addresses.objection(endpoint, found, allowance())
    if objection is None and any(is_ours(address, endpoint.port) for address in found):
        objection = "This is one of OrcaRouter's own addresses."
    if objection is not None:
        raise AddressRefused(objection)


def allowance() -> Allowance:
    """What the operator allows, as of the settings now."""
    return _allowance(tuple(settings.ALLOWED_PRIVATE_HOSTS))


@lru_cache(maxsize=8)
def _allowance(entries: tuple[str, ...]) -> Allowance:
    return addresses.parse_allowance(entries)


def _look_up(endpoint: Endpoint) -> tuple[Address, ...]:
    if endpoint.address is not None:
        return (endpoint.address,)
    return look_up([endpoint.host])[endpoint.host]


def look_up(names: Iterable[str]) -> dict[str, tuple[Address, ...]]:
    """The addresses of each name, all looked up at once; none of one that has none, or none in time."""
    lookups = {name: _lookups.submit(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM) for name in dict.fromkeys(names)}
    wait(lookups.values(), timeout=LOOKUP_SECONDS)
    return {name: _found(lookup) for name, lookup in lookups.items()}


def _found(lookup: Future) -> tuple[Address, ...]:
    lookup.cancel()
    try:
        return _unique(lookup.result(timeout=0))
    except (OSError, UnicodeError, TooLate, CancelledError):
        return ()


def _unique(rows: Iterable[tuple]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(ip_address(row[4][0].partition("%")[0]) for row in rows))


# --- Our own listeners ----------------------------------------------------------------------------------------------
def is_ours(address: Address, port: int) -> bool:
    """Whether our web process, PostgreSQL or Valkey listens there: a provider must not lead back into ourselves."""
    plain = addresses.unmapped(address)
    if port == settings.PORT and _is_of_this_machine(plain):
        return True
    return (str(plain), port) in _stores(settings.DATABASE_URL, settings.REDIS_URL)


@lru_cache(maxsize=1024)
def _is_of_this_machine(address: Address) -> bool:
    """Only an address of this machine can be bound to."""
    if address.is_loopback:
        return True
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


@lru_cache(maxsize=4)
def _stores(*urls: str) -> frozenset[tuple[str, int]]:
    """The addresses of the stores that are reached over TCP; the embedded ones are sockets in a folder."""
    found: set[tuple[str, int]] = set()
    for url in urls:
        parts = urlsplit(url)
        if not parts.hostname:
            continue
        port = parts.port or {"redis": 6379, "rediss": 6379}.get(parts.scheme, 5432)
        try:
            rows = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        found |= {(str(addresses.unmapped(address)), port) for address in _unique(rows)}
    return frozenset(found)
