"""Runs and traces over HTTP, against a naive sum over all rows."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from orcarouter.activity.selectors import runs
from orcarouter.activity.selectors.runs import RunFilter, run_page
from tests.factories.activity import UsageFactory
from tests.factories.firewall import EventFactory
from workspaces import tenancy
from workspaces.permissions import Role

AGGREGATE, TRACE = "/api/workspace/firewall/events/aggregate", "/api/workspace/firewall/trace/by-run"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def api(acme):
    return acme.client(Role.DEVELOPER)


def some_rows(chance: random.Random, workspace, count: int) -> tuple[list, list]:
    events, usage = [], []
    for _ in range(count):
        shared = {
            "workspace": workspace,
            "at": NOW - timedelta(seconds=chance.randrange(3600)),
            "agent_run_id": chance.choice(["run-a", "run-b", "run-c", "run-d", None]),
            "conversation_id": chance.choice(["talk-1", "talk-2", None]),
            "key_id": chance.choice([1, 2]),
        }
        if chance.random() < 0.5:
            cost = chance.choice([None, 0, 1_000, 2_500])
            usage.append(
                UsageFactory(**shared, cost_micro_usd=cost, prompt_tokens=chance.choice([None, 10]), model_name=chance.choice(["small", "large", None]))
            )
        else:
            grouped = chance.random() < 0.3
            names = {"tool_name": None, "tools": ["t.1", "t.2"]} if grouped else {"tool_name": chance.choice(["t.1", "t.3"])}
            events.append(EventFactory(**shared, **names, verdict=chance.choice(["allow", "deny"])))
    return events, usage


def summed(events, usage, column):
    """What every run of the rows should say, newest first."""
    rows = [*events, *usage]
    found = []
    for key in {(row.key_id, getattr(row, column)) for row in rows if getattr(row, column)}:
        own_events, own_usage = ([row for row in part if (row.key_id, getattr(row, column)) == key] for part in (events, usage))
        costs = [row.cost_micro_usd for row in own_usage if row.cost_micro_usd is not None]
        verdicts = {}
        for event in own_events:
            verdicts[event.verdict] = verdicts.get(event.verdict, 0) + max(len(event.tools), 1)
        run = {
            "id": key[1],
            "key_id": key[0],
            "first_seen_at": min(row.occurred_at for row in [*own_events, *own_usage]),
            "last_seen_at": max(row.occurred_at for row in [*own_events, *own_usage]),
            "calls": len(own_usage),
            "verdicts": verdicts,
            "tools": sorted({name for event in own_events for name in event.tools or [event.tool_name]}),
            "models": sorted({row.model_name for row in own_usage if row.model_name}),
            "prompt_tokens": sum(row.prompt_tokens or 0 for row in own_usage),
            "cost_micro_usd": sum(costs) if costs or not own_usage else None,
            "unpriced_calls": sum(row.cost_micro_usd is None for row in own_usage),
        }
        if not own_usage:
            run["cost_micro_usd"] = None
        found.append((max(row.pk for row in [*own_events, *own_usage]), run))
    return [run for _, run in sorted(found, key=lambda item: item[0], reverse=True)]


def shown(run: dict, like: dict) -> dict:
    return {name: datetime.fromisoformat(run[name]) if name.endswith("_at") else run[name] for name in like}


@pytest.mark.parametrize(("by", "column"), [("run", "agent_run_id"), ("conversation", "conversation_id")])
@pytest.mark.parametrize("seed", range(4))
def test_runs_say_what_a_reader_of_all_rows_would(acme, rival, api, by, column, seed):
    chance = random.Random(seed)
    events, usage = some_rows(chance, acme.workspace, 60)
    some_rows(chance, rival.workspace, 10)
    expected = summed(events, usage, column)

    found, address = [], f"{AGGREGATE}?by={by}&limit=2"
    while address:
        page = api.get(address).json()
        assert len(page["results"]) <= 2
        found += page["results"]
        address = page["next"]

    assert [shown(run, like) for run, like in zip(found, expected, strict=True)] == expected


def test_pages_of_runs_agree_whatever_stretch_is_read_at_once(acme):
    chance = random.Random(9)
    events, usage = some_rows(chance, acme.workspace, 80)
    expected = [(run["key_id"], run["id"]) for run in summed(events, usage, "agent_run_id")]

    with tenancy.scope(acme.workspace.pk):
        for size in (1, 3, 10):
            found, place = [], None
            while True:
                page, place = run_page(acme.workspace, RunFilter(), limit=3, before=place, batch=size)
                found += [(run.key_id, run.id) for run in page]
                if place is None:
                    break
            assert found == expected


def test_a_run_that_calls_a_new_name_each_time_is_read_in_part(acme, monkeypatch):
    for number in range(4):
        EventFactory(workspace=acme.workspace, tool_name=f"tool.{number}")
    monkeypatch.setattr(runs, "MOST_NAMINGS", 3)
    with tenancy.scope(acme.workspace.pk):
        (run,), _ = run_page(acme.workspace, RunFilter(), limit=10)
    assert (len(run.tools), run.decisions) == (3, 4)


def test_a_run_belongs_to_its_key(acme, api):
    for key_id in (1, 2):
        UsageFactory(workspace=acme.workspace, agent_run_id="same", key_id=key_id)

    both, one = api.get(TRACE, {"run_id": "same"}), api.get(TRACE, {"run_id": "same", "key_id": 2})

    assert (both.status_code, both.json()["error"]["param"], both.json()["error"]["metadata"]["keys"]) == (400, "key_id", [1, 2])
    assert (one.status_code, one.json()["run"]["key_id"], one.json()["run"]["calls"]) == (200, 2, 1)


def test_a_trace_has_each_call_and_below_it_what_was_decided(acme, api):
    first = UsageFactory(workspace=acme.workspace, request_id="req_1", at=NOW, step_id="plan", cost_micro_usd=None)
    offered = EventFactory(workspace=acme.workspace, request_id="req_1", at=NOW, surface="inbound", tool_name=None, tools=["a", "b"])
    called = EventFactory(workspace=acme.workspace, request_id="req_1", at=NOW + timedelta(seconds=1), tool_name="a", verdict="deny")
    second = UsageFactory(workspace=acme.workspace, request_id="req_2", at=NOW + timedelta(seconds=2), step_id="act", parent_step_id="plan")
    lost = EventFactory(workspace=acme.workspace, request_id="req_3", at=NOW + timedelta(seconds=3))

    nodes = api.get(TRACE, {"run_id": "run-1"}).json()["nodes"]

    assert [(node["kind"], node["id"], node["event_id"], node["parent_id"]) for node in nodes] == [
        ("model_call", str(first.pk), None, None),
        ("advertised", str(offered.pk), str(offered.pk), str(first.pk)),
        ("tool_call", str(called.pk), str(called.pk), str(first.pk)),
        ("model_call", str(second.pk), None, str(first.pk)),
        ("model_call", str(lost.pk), None, None),
        ("tool_call", str(lost.pk), str(lost.pk), str(lost.pk)),
    ]
    assert nodes[0]["cost_micro_usd"] is None
    assert nodes[3]["cost_micro_usd"] == 1_500


def test_a_long_trace_comes_in_pages_that_miss_nothing(acme, api):
    for number in range(230):
        UsageFactory(workspace=acme.workspace, request_id=f"req_{number}", at=NOW + timedelta(seconds=number))

    first = api.get(TRACE, {"run_id": "run-1"}).json()
    second = api.get(first["next"]).json()

    assert [node["request_id"] for page in (first, second) for node in page["nodes"]] == [f"req_{number}" for number in range(230)]
    assert second["next"] is None


def test_what_cannot_be_is_refused(acme, rival, api):
    UsageFactory(workspace=rival.workspace, agent_run_id="theirs")

    assert api.get(AGGREGATE, {"by": "moon"}).json()["error"]["param"] == "by"
    assert api.get(TRACE).json()["error"]["param"] == "run_id"
    assert api.get(TRACE, {"run_id": "x", "key_id": "y"}).json()["error"]["param"] == "key_id"
    assert api.get(TRACE, {"run_id": "theirs"}).content == api.get(TRACE, {"run_id": "nobodys"}).content
    assert api.get(TRACE, {"run_id": "theirs"}).status_code == 404
    assert acme.client(Role.MEMBER).get(AGGREGATE).status_code == 403
