"""The live feed: a stream that shows a decision when it stands, to those who may see it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from firewall.console import live
from firewall.selectors import EventFilter
from tests.factories.firewall import EventFactory, id_at
from tests.factories.workspaces import make_tenant
from workspaces import tenancy, valkey
from workspaces.permissions import Role

SECONDS = 30


@pytest.fixture
def tenant(committed):
    return make_tenant(f"live-{uuid4().hex[:8]}")


async def opened(tenant, query=""):
    """The lines of a developer's stream, from its first one on."""
    client = AsyncClient()
    await client.aforce_login(tenant.person(Role.DEVELOPER))
    answer = await client.get(f"/events/live/{query}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    messages = aiter(answer.streaming_content)
    assert await anext(messages) == b"retry: 2000\n\n"
    return messages


async def rows(messages) -> str:
    async with asyncio.timeout(SECONDS):
        async for message in messages:
            if message.startswith(b"event: rows"):
                return message.decode()
    raise AssertionError("the stream ended")


async def record(tenant, **fields):
    return await asyncio.to_thread(EventFactory, workspace=tenant.workspace, **fields)


async def test_a_decision_is_shown_when_it_stands(tenant):
    messages = await opened(tenant)

    event = await record(tenant, tool_name="shell.exec", verdict="deny")
    shown = await rows(messages)

    assert f'data-id="{event.pk}"' in shown
    assert f"id: {event.pk}\n" in shown
    assert "shell.exec" in shown
    await messages.aclose()


async def test_a_row_that_appears_late_is_shown_too_and_none_twice(tenant):
    messages = await opened(tenant)
    first = await record(tenant)
    assert str(first.pk) in await rows(messages)

    late = await record(tenant, at=first.occurred_at - timedelta(seconds=3))
    shown = await rows(messages)

    assert str(late.pk) in shown
    assert str(first.pk) not in shown
    await messages.aclose()


async def test_only_what_fits_the_filter_and_the_workspace_is_sent(tenant):
    other = await sync_to_async(make_tenant)(f"else-{uuid4().hex[:8]}")
    messages = await opened(tenant, "?verdict=deny&tool_name=kb.*")

    await record(other, tool_name="kb.read", verdict="deny")
    await record(tenant, tool_name="kb.read", verdict="allow")
    await record(tenant, tool_name="web.search", verdict="deny")
    wanted = await record(tenant, tool_name=None, tools=["web.search", "kb__read"], verdict="deny")
    shown = await rows(messages)

    assert shown.count("data-id=") == 1
    assert f'data-id="{wanted.pk}.1"' in shown
    await messages.aclose()


async def test_a_page_gets_what_came_since_it_was_made(tenant):
    at = datetime.now(UTC)
    old, missed = await record(tenant, at=at - timedelta(minutes=5)), await record(tenant, at=at - timedelta(minutes=1))

    shown = await rows(await opened(tenant, f"?since={id_at(at - timedelta(minutes=2))}.3"))

    assert str(missed.pk) in shown
    assert str(old.pk) not in shown


@pytest.mark.parametrize("since", [UUID(int=0), UUID(int=2**128 - 1)])
async def test_a_place_that_no_page_can_have_seen_is_put_right(tenant, since):
    messages = await opened(tenant, f"?since={since}")
    event = await record(tenant)
    assert str(event.pk) in await rows(messages)
    await messages.aclose()


async def test_a_hint_shortens_the_wait(tenant):
    messages = await opened(tenant)
    hints = live._Hints(tenant.workspace.pk)
    waiting = asyncio.create_task(hints.wait(SECONDS))
    # Until the subscription stands, nobody hears it.
    while not await asyncio.to_thread(valkey.client().publish, valkey.feed_channel(tenant.workspace.pk), "1"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    async with asyncio.timeout(SECONDS / 2):
        await waiting
    await hints.close()
    await messages.aclose()


def feed(tenant, session_key):
    person = tenant.person(Role.DEVELOPER)
    return live.Feed(person.pk, tenant.workspace.pk, EventFilter(), "", session_key, id_at(datetime.now(UTC)))


async def test_a_page_that_goes_away_makes_room(tenant):
    async def read():
        async for _ in live.stream(feed(tenant, "")):
            begun.set()

    begun, before = asyncio.Event(), live._open.total()
    reading = asyncio.create_task(read())
    await begun.wait()
    assert live._open.total() == before + 1

    # What Django does when the client hangs up.
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with asyncio.timeout(SECONDS):
        while live._open.total() > before:  # noqa: ASYNC110 - the generator ends in its own time
            await asyncio.sleep(0.01)


def test_a_stream_ends_with_the_role_or_the_session(tenant):
    client = tenant.client(Role.DEVELOPER)
    own = feed(tenant, client.session.session_key)
    assert own.still_allowed()

    with tenancy.scope(tenant.workspace.pk):
        tenant.workspace.memberships.filter(user=tenant.person(Role.DEVELOPER)).update(role=Role.MEMBER)
    assert not own.still_allowed()

    with tenancy.scope(tenant.workspace.pk):
        tenant.workspace.memberships.filter(user=tenant.person(Role.DEVELOPER)).update(role=Role.DEVELOPER)
    assert own.still_allowed()
    client.logout()
    assert not own.still_allowed()


def test_a_stream_ends_with_the_password_that_it_began_under(tenant):
    client, person = tenant.client(Role.DEVELOPER), tenant.person(Role.DEVELOPER)
    own = feed(tenant, client.session.session_key)
    person.set_password("another correct horse")
    person.save()
    assert not own.still_allowed()


async def test_one_person_does_not_take_the_streams_of_all(tenant, monkeypatch):
    monkeypatch.setattr(live, "MOST_OF_A_PERSON", 1)
    messages = await opened(tenant)
    again, other = AsyncClient(), AsyncClient()
    await again.aforce_login(tenant.person(Role.DEVELOPER))
    assert (await again.get("/events/live/")).status_code == 429
    await other.aforce_login(tenant.person(Role.ADMIN))
    assert (await other.get("/events/live/")).status_code == 200
    await messages.aclose()


def test_members_get_no_stream(acme):
    assert acme.client(Role.MEMBER).get("/events/live/").status_code == 403
