"""The one dialler: what is vetted when saved and when dialled."""

import socket

import aiohttp
import pytest
from aiohttp import web

from workspaces import net


@pytest.fixture
def loopback(settings):
    """Loopback may be dialled."""
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.0/8", "localhost", "::1"]
    return settings


def refused(url: str) -> str:
    with pytest.raises(net.AddressRefused) as refusal:
        net.vet(url)
    assert refusal.value.status == 400
    return refusal.value.message


def test_a_literal_public_address_is_vetted_and_pinned():
    target = net.vet("https://198.20.0.1:8443/v1")
    assert (target.host, target.port, target.tls, target.addresses) == ("198.20.0.1", 8443, True, ("198.20.0.1",))


def test_a_public_name_that_does_not_resolve_now_is_judged_when_dialled():
    assert net.vet("https://nothing-here.example.com/v1").addresses == ()


@pytest.mark.parametrize(
    "url", ["https://localhost/", "https://127.1/", "https://0x7f000001/", "https://[::ffff:7f00:1]/", "https://169.254.169.254/", "http://198.20.0.1/"]
)
def test_private_addresses_are_refused_whatever_their_spelling(url):
    assert refused(url)


def test_what_the_operator_allows_may_be_private_and_plain(loopback):
    assert net.vet("http://127.0.0.1:9/v1").url == "http://127.0.0.1:9/v1"
    assert net.vet("http://localhost:9/v1").addresses
    assert "metadata" in refused("http://169.254.169.254/")


def test_our_own_listeners_stay_closed_whatever_is_allowed(loopback):
    loopback.PORT = 18_123
    loopback.DATABASE_URL, loopback.REDIS_URL = "postgres://orca_app@127.0.0.1:15432/orca", "redis://localhost"
    for url in ("http://127.0.0.1:18123/v1", "http://127.9.9.9:18123/", "http://localhost:18123/", "http://127.0.0.1:15432/", "http://127.0.0.1:6379/"):
        assert "own addresses" in refused(url)
    assert net.vet("http://127.0.0.1:18124/")


async def dial(url: str, **options: object) -> str:
    """What a caller of ours does: permit, then one request through the resolver."""
    resolver = net.PinnedResolver()
    resolver.permit(url)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver), trust_env=False) as session, session.get(url, **options) as answer:
        return await answer.text()


@pytest.fixture
async def server():
    """A small server on loopback; its port."""
    app = web.Application()
    app.router.add_get("/", lambda request: web.Response(text="reached"))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_name_is_resolved_vetted_and_dialled(loopback, server):
    assert await dial(f"http://localhost:{server}/") == "reached"
    assert await dial(f"http://127.0.0.1:{server}/") == "reached"


async def test_a_name_that_leads_inside_is_refused_at_the_dial(server):
    with pytest.raises(aiohttp.ClientConnectorError, match="not on the public internet"):
        await dial(f"https://localhost:{server}/")
    with pytest.raises(aiohttp.ClientConnectorError, match="https"):
        await dial(f"http://localhost:{server}/")


async def test_a_literal_that_leads_inside_is_refused_before_the_dial(server):
    with pytest.raises(net.AddressRefused):
        await dial(f"https://127.0.0.1:{server}/")


async def test_taking_an_allowance_back_closes_the_door_at_the_next_dial(loopback, server):
    assert await dial(f"http://localhost:{server}/") == "reached"
    loopback.ALLOWED_PRIVATE_HOSTS = []
    with pytest.raises(aiohttp.ClientConnectorError):
        await dial(f"http://localhost:{server}/")


async def test_every_address_of_a_name_is_handed_out_and_no_other(loopback):
    rows = await net.PinnedResolver().resolve("localhost", 443)
    assert {row["host"] for row in rows} <= {"127.0.0.1", "::1"}
    assert all(row["port"] == 443 and row["flags"] & socket.AI_NUMERICHOST for row in rows)
