"""The event feed over HTTP."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection

from firewall import tool_services
from firewall.engine.glob import parse
from firewall.models import Event
from firewall.selectors.events import HIGHEST_ID, EventFilter, event_page
from tests.factories.firewall import EventFactory
from workspaces import tenancy
from workspaces.paging import write_cursor
from workspaces.permissions import Role

EVENTS = "/api/workspace/firewall/events"
NOW = datetime.now(UTC)
TOOLS = ["web.search", "kb.read", "kb__read", "kb.", "kb", "shell.exec", "shell__exec", "exec", "local.shell.exec", "a.shell.", "100%_off", "a.b.c", "a__b.c"]
GLOBS = [*TOOLS, "kb.*", "*.exec", "*.shell.*", "a.*", "*.c", "a.b.*", "*.b.*", "*", "%.*", "*._off", "kb__*"]


@pytest.fixture
def api(acme):
    return acme.client(Role.DEVELOPER)


def ids(answer):
    assert answer.status_code == 200, answer.json()
    return [event["id"] for event in answer.json()["results"]]


def test_an_event_says_all_that_a_replay_needs(acme, api):
    event = EventFactory(
        workspace=acme.workspace, tool_name="shell.exec", verdict="deny", reason_code="rule_deny", args_summary='{"command":"ls"}', cost_micro_usd=None
    )

    shown = api.get(EVENTS).json()["results"][0]

    assert shown["id"] == str(event.pk)
    assert datetime.fromisoformat(shown["occurred_at"]) == event.occurred_at
    assert (shown["tool_name"], shown["verdict"], shown["reason_code"], shown["args_summary"]) == ("shell.exec", "deny", "rule_deny", '{"command":"ls"}')
    assert shown["cost_micro_usd"] is None
    assert set(shown) >= {
        "source",
        "surface",
        "factors",
        "risk_score",
        "policy_version",
        "rule_id",
        "agent_run_id",
        "run_source",
        "shadow",
        "gap",
        "quarantine",
    }


def some_event(chance: random.Random, workspace, at: datetime | None = None) -> Event:
    grouped = chance.random() < 0.3
    return EventFactory(
        workspace=workspace,
        at=at or NOW - timedelta(minutes=chance.randrange(60)),
        tool_name=None if grouped else chance.choice(TOOLS),
        tools=chance.sample(TOOLS, 3) if grouped else [],
        verdict=chance.choice(["allow", "audit", "deny", "observe"]),
        surface=chance.choice(["inbound", "response"]),
        agent_run_id=chance.choice(["run-1", "run-2", None]),
        conversation_id=chance.choice(["talk-1", None]),
        request_id=chance.choice(["req_1", "req_2", "req_3"]),
        key_id=chance.choice([1, 2]),
        environment=chance.choice(["", "prod"]),
    )


def some_filter(chance: random.Random) -> dict[str, str]:
    every = {
        "verdict": chance.choice(["deny", "allow,audit", "observe"]),
        "surface": chance.choice(["inbound", "response", "mcp", "inbound,response"]),
        "tool_name": chance.choice(GLOBS),
        "run_id": chance.choice(["run-1", "run-2", "run-3"]),
        "conversation_id": "talk-1",
        "request_id": chance.choice(["req_1", "req_2"]),
        "key_id": chance.choice(["1", "2"]),
        "environment": "prod",
        "from": (NOW - timedelta(minutes=chance.randrange(60))).isoformat(),
        "to": str(int((NOW - timedelta(minutes=chance.randrange(60))).timestamp())),
    }
    return {name: every[name] for name in chance.sample(list(every), chance.choice([0, 1, 1, 1, 2, 2, 3]))}


def fits(event: Event, wanted: dict[str, str]) -> bool:
    """The filter, read naively: one event, one parameter after the other."""
    at = int(event.occurred_at.timestamp() * 1000)
    tests = {
        "verdict": lambda value: event.verdict in value.split(","),
        "surface": lambda value: event.surface in value.split(","),
        "tool_name": lambda value: any(parse(value).matches(name, wide=True) for name in event.tools or [event.tool_name]),
        "run_id": lambda value: event.agent_run_id == value,
        "conversation_id": lambda value: event.conversation_id == value,
        "request_id": lambda value: event.request_id == value,
        "key_id": lambda value: event.key_id == int(value),
        "environment": lambda value: event.environment == value,
        "from": lambda value: at >= int(datetime.fromisoformat(value).timestamp() * 1000),
        "to": lambda value: at < int(value) * 1000,
    }
    return all(tests[name](value) for name, value in wanted.items())


def test_every_filter_finds_what_a_reader_of_all_events_would(acme, rival, api):
    chance = random.Random(20)
    events = sorted((some_event(chance, acme.workspace) for _ in range(150)), key=lambda event: event.pk, reverse=True)
    for _ in range(20):
        some_event(chance, rival.workspace)

    for _ in range(400):
        wanted = some_filter(chance)
        limit = chance.choice([7, 50, 200])
        page = api.get(EVENTS, wanted | {"limit": limit})
        expected = [str(event.pk) for event in events if fits(event, wanted)]
        assert ids(page) == expected[:limit], wanted
        assert (page.json()["next"] is not None) == (len(expected) > limit), wanted


def test_grouped_events_are_the_same_whether_walked_to_or_looked_up(acme):
    chance = random.Random(11)
    events = sorted((some_event(chance, acme.workspace) for _ in range(80)), key=lambda event: event.pk, reverse=True)
    grouped = [event.pk for event in events if {"kb.read", "exec"} & set(event.tools)]
    call = "SELECT orca_grouped_events(%s, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, %s, %s, %s, %s, %s)"

    with tenancy.scope(acme.workspace.pk), connection.cursor() as cursor:
        for near in (0, 1, 5, 20, 1000):
            for newest_first, expected in ((True, grouped), (False, grouped[::-1])):
                for at_most in (0, 1, 4, 100):
                    cursor.execute(call, [["kb.read", "exec"], UUID(int=0), UUID(int=2**128 - 1), newest_first, at_most, near])
                    assert [row[0] for row in cursor.fetchall()] == expected[:at_most], (near, newest_first, at_most)


@pytest.mark.parametrize("summed", [False, True])
def test_events_of_many_days_are_found_from_both_ends_by_name_and_by_pattern(acme, summed):
    chance = random.Random(5)
    made = [some_event(chance, acme.workspace, at=NOW - timedelta(days=chance.choice([0, 1, 2, 5, 12, 13, 40, 90]), minutes=number)) for number in range(120)]
    events = sorted(made, key=lambda event: event.pk)
    if summed:
        # Half of it: the rest is not in the sums yet.
        tool_services.sum_tools(acme.workspace, at=NOW - timedelta(days=2))
    for glob in ("kb.read", "a.b.*", "*.exec", "*.shell.*"):
        expected = [event.pk for event in events if fits(event, {"tool_name": glob})]
        wanted = EventFilter(tool_name=glob, since=NOW - timedelta(days=100))
        for limit in (1, 7, 200):
            with tenancy.scope(acme.workspace.pk):
                newest, more = event_page(acme.workspace, wanted, at=NOW, limit=limit, walked=2)
                above, _ = event_page(acme.workspace, wanted, at=NOW, limit=limit, after=events[30].pk, walked=2)
            assert [event.pk for event in newest] == expected[::-1][:limit], (glob, limit)
            assert more is (len(expected) > limit)
            assert [event.pk for event in above] == [pk for pk in expected if pk > events[30].pk][:limit][::-1], (glob, limit)


@pytest.mark.parametrize("wanted", [{}, {"tool_name": "kb.read"}, {"tool_name": "*.exec"}])
def test_pages_lead_to_every_event_once_and_back(acme, api, wanted):
    chance = random.Random(7)
    for _ in range(60):
        some_event(chance, acme.workspace)
    whole = ids(api.get(EVENTS, wanted | {"limit": 200}))

    pages, address = [], EVENTS + "?" + "&".join(f"{name}={value}" for name, value in (wanted | {"limit": 7}).items())
    while address:
        pages.append(api.get(address))
        address = pages[-1].json()["next"]
    back = [pages[-1]]
    while back[-1].json()["previous"]:
        back.append(api.get(back[-1].json()["previous"]))

    assert [event for page in pages for event in ids(page)] == whole
    assert [ids(page) for page in reversed(back)][1:] == [ids(page) for page in pages][len(pages) - len(back) + 1 :]
    assert ids(back[-1]) == whole[:7]


def test_a_glob_looks_back_a_day_unless_a_start_is_given(acme, api):
    old = EventFactory(workspace=acme.workspace, tool_name="kb.read", at=NOW - timedelta(hours=30))

    assert ids(api.get(EVENTS, {"tool_name": "kb.*"})) == []
    assert ids(api.get(EVENTS, {"tool_name": "kb.*", "from": (NOW - timedelta(hours=48)).isoformat()})) == [str(old.pk)]
    assert ids(api.get(EVENTS, {"tool_name": "kb.read"})) == [str(old.pk)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "deny,maybe"),
        ("verdict", "cap_cost"),
        ("surface", "roof"),
        ("key_id", "one"),
        ("key_id", "-1"),
        ("from", "yesterday"),
        ("from", "2026-01-01T00:00:00"),
        ("to", "99999999999999999999"),
        ("to", "1e400"),
        ("run_id", "a\x00b"),
        ("limit", "0"),
        ("limit", "201"),
        ("cursor", "abc"),
        ("cursor", "Zm5vdC1hbi1pZA"),
        ("colour", "red"),
    ],
)
def test_a_parameter_that_says_nothing_usable_is_named(api, name, value):
    answer = api.get(EVENTS, {name: value})

    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (400, "validation_error", name)


@pytest.mark.parametrize("query", [{"tool_name": "kb.*", "to": "1"}, {"cursor": write_cursor(HIGHEST_ID, backwards=True)}])
def test_at_the_ends_of_time_there_is_nothing(acme, api, query):
    EventFactory(workspace=acme.workspace)
    answer = api.get(EVENTS, query)
    assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_the_events_of_a_request_come_in_the_order_of_decision(acme, rival, api):
    made = [EventFactory(workspace=acme.workspace, request_id="req_x", tool_name=f"t.{n}", at=NOW + timedelta(milliseconds=n)) for n in range(3)]
    EventFactory(workspace=rival.workspace, request_id="req_y")

    assert ids(api.get(f"{EVENTS}/by-request/req_x")) == [str(event.pk) for event in made]
    missing, theirs = api.get(f"{EVENTS}/by-request/req_z"), api.get(f"{EVENTS}/by-request/req_y")
    assert (missing.status_code, missing.content) == (404, theirs.content)


def test_events_are_for_developers(acme):
    EventFactory(workspace=acme.workspace, request_id="req_x")

    for path in (EVENTS, f"{EVENTS}/by-request/req_x"):
        assert [acme.client(role).get(path).status_code for role in Role] == [403, 200, 200, 200]
