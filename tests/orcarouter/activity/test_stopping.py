"""Runs in the order of what they did, what one may still spend, and the button that ends it."""

from datetime import UTC, datetime, timedelta

import pytest

from keys import selectors
from tests.factories.activity import LedgerFactory, UsageFactory
from tests.factories.firewall import EventFactory, make_policy
from tests.factories.keys import make_key
from tests.keys.conftest import Caller, refusal
from workspaces import tenancy, vault
from workspaces.paging import write_cursor
from workspaces.permissions import Role

NOW = datetime.now(UTC)
STOP = "/api/workspace/firewall/runs/stop"
AGGREGATE = "/api/workspace/firewall/events/aggregate"


@pytest.fixture
def developer(acme) -> Caller:
    return Caller(acme, Role.DEVELOPER)


@pytest.fixture
def runs(acme):
    """``dear`` cost most, ``busy`` called most, ``long`` lasted longest, ``naughty`` was denied most."""
    key, _ = make_key(acme)
    workspace = acme.workspace

    def call(run, cost, at=NOW, **fields):
        UsageFactory(workspace=workspace, key_id=key.pk, agent_run_id=run, cost_micro_usd=cost, at=at, **fields)

    call("dear", 900)
    for _ in range(4):
        call("busy", 10)
    call("long", 1, NOW - timedelta(hours=3))
    call("long", 1)
    call("naughty", 2, environment="prod")
    for _ in range(2):
        EventFactory(workspace=workspace, key_id=key.pk, agent_run_id="naughty", verdict="deny")
    EventFactory(workspace=workspace, key_id=key.pk, agent_run_id="busy", verdict="deny")
    call("old", 10**9, NOW - timedelta(days=20))
    return key


def names(developer, **query) -> list[str]:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    answer = developer("GET", f"{AGGREGATE}?{asked}")
    assert answer.status_code == 200, answer.content
    return [run["id"] for run in answer.json()["results"]]


def test_runs_are_ordered_by_what_they_did(developer, runs):
    assert names(developer, order="cost") == ["dear", "busy", "long", "naughty"]
    assert names(developer, order="calls")[:2] == ["busy", "long"]
    assert names(developer, order="duration")[0] == "long"
    assert names(developer, order="denied") == ["naughty", "busy"]
    assert names(developer, order="cost", days=30)[0] == "old"
    assert names(developer, order="cost", verdict="deny") == ["busy", "naughty"]
    assert names(developer, order="cost", environment="prod") == ["naughty"]
    assert set(names(developer, verdict="deny")) == {"naughty", "busy"}


@pytest.mark.parametrize("order", ["cost", "calls", "duration", "denied"])
def test_pages_of_an_order_are_everything_once(acme, developer, runs, order):
    found, url = [], f"{AGGREGATE}?order={order}&limit=1"
    while url:
        answer = developer("GET", url).json()
        found += [run["id"] for run in answer["results"]]
        url = answer["next"]
    assert found == names(developer, order=order)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("order=name", "order"),
        ("order=cost&by=conversation", "order"),
        ("order=cost&days=0", "days"),
        ("order=cost&days=0090000000", "days"),
        ("days=x", "days"),
        ("order=cost&cursor=x", "cursor"),
        (f"order=cost&cursor={write_cursor('1 ² x')}", "cursor"),
        ("verdict=no", "verdict"),
    ],
)
def test_a_wrong_order_is_told_what_is_wrong(developer, query, param):
    assert refusal(developer("GET", f"{AGGREGATE}?{query}")) == (400, "validation_error", param)


def test_a_stopped_run_is_known_to_the_gateway_from_the_next_call_on(acme, developer, runs):
    key, plaintext = make_key(acme)
    UsageFactory(workspace=acme.workspace, key_id=key.pk, agent_run_id="mine")
    grant = selectors.load_grant(vault.lookup_hash(plaintext))
    answer = developer("POST", STOP, {"run_id": "mine"})
    assert (answer.status_code, answer.json()["key_id"]) == (200, key.pk)
    after = selectors.load_grant(vault.lookup_hash(plaintext))
    assert (after.stopped_runs, after.config_version > grant.config_version) == ({"mine"}, True)
    assert developer("POST", STOP, {"run_id": "mine", "key_id": key.pk}).json() == answer.json()
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.audit_entries.filter(action="run_stop").count() == 1
    run = next(run for run in developer("GET", AGGREGATE).json()["results"] if run["id"] == "mine")
    assert run["stopped_at"] == answer.json()["stopped_at"]


def test_a_run_that_is_not_ones_own_cannot_be_stopped(acme, rival, developer, runs):
    UsageFactory(workspace=rival.workspace, key_id=5, agent_run_id="theirs")
    missing = (404, "not_found", "run_id")
    assert refusal(developer("POST", STOP, {"run_id": "theirs", "key_id": 5})) == missing
    assert refusal(developer("POST", STOP, {"run_id": "dear", "key_id": runs.pk + 1000})) == missing
    assert refusal(developer("POST", STOP, {"run_id": "theirs"}))[0] == 404
    assert refusal(developer("POST", STOP, {"run_id": "a b"})) == (400, "validation_error", "run_id")
    other, _ = make_key(acme)
    UsageFactory(workspace=acme.workspace, key_id=other.pk, agent_run_id="dear")
    assert refusal(developer("POST", STOP, {"run_id": "dear"})) == (400, "validation_error", "key_id")


def test_a_first_call_that_is_still_under_way_can_be_stopped(acme, developer):
    key, _ = make_key(acme)
    LedgerFactory(workspace=acme.workspace, key_id=key.pk, agent_run_id="young", kind="reserve", cause="call", spent_micro_usd=0, held_micro_usd=5)
    assert developer("POST", STOP, {"run_id": "young", "key_id": key.pk}).status_code == 200


# --- Pages ----------------------------------------------------------------------------------------------------------
def text_of(answer) -> str:
    assert answer.status_code == 200, answer.content[:500]
    return " ".join(answer.content.decode().split())


def capped(acme, key, cents: int):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "cap_cost", "cap_cost_cents": cents, "label": "Run cost cap", "priority": 1})
    with tenancy.scope(acme.workspace.pk):
        key.firewall_policy = policy
        key.save(update_fields=["firewall_policy"])
    return policy


def test_the_gauge_shows_spent_reserved_and_cap(acme, developer, runs):
    browser = acme.client(Role.DEVELOPER)
    path = f"/runs/{runs.pk}/dear/"
    assert "Nothing caps the runs of this key" in text_of(browser.get(path))
    capped(acme, runs, 10)
    LedgerFactory(workspace=acme.workspace, key_id=runs.pk, agent_run_id="dear", spent_micro_usd=60_000)
    hold = {"kind": "reserve", "cause": "call", "spent_micro_usd": 0, "held_micro_usd": 30_000}
    LedgerFactory(workspace=acme.workspace, key_id=runs.pk, agent_run_id="dear", **hold)
    page = text_of(browser.get(path))
    assert "$0.0600 spent and $0.0300 reserved of $0.10" in page
    assert "rule Run cost cap, priority 1" in page
    assert "$0.0100 left" in page
    trace = developer("GET", f"/api/workspace/firewall/trace/by-run?run_id=dear&key_id={runs.pk}").json()
    assert trace["money"] == {"spent_micro_usd": 60_000, "reserved_micro_usd": 30_000, "cap_micro_usd": 100_000, "reached_at": None}
    LedgerFactory(workspace=acme.workspace, key_id=runs.pk, agent_run_id="dear", spent_micro_usd=50_000)
    assert "The cap is reached" in text_of(browser.get(path))


def test_the_gauge_tells_when_the_present_pace_ends_the_run(acme, developer, runs):
    policy = capped(acme, runs, 10)
    path, trace = f"/runs/{runs.pk}/hasty/", f"/api/workspace/firewall/trace/by-run?run_id=hasty&key_id={runs.pk}"
    browser = acme.client(Role.DEVELOPER)
    # Of an hour ago: not the present pace.
    UsageFactory(workspace=acme.workspace, key_id=runs.pk, agent_run_id="hasty", cost_micro_usd=1_000, at=NOW - timedelta(hours=1))
    UsageFactory(workspace=acme.workspace, key_id=runs.pk, agent_run_id="hasty", cost_micro_usd=30_000, at=datetime.now(UTC) - timedelta(minutes=4))
    assert "At the present pace" not in text_of(browser.get(path))
    UsageFactory(workspace=acme.workspace, key_id=runs.pk, agent_run_id="hasty", cost_micro_usd=10_000, at=datetime.now(UTC) - timedelta(minutes=1))
    # 0.04 dollars in four minutes, 0.059 left: some six minutes.
    reached_at = datetime.fromisoformat(developer("GET", trace).json()["money"]["reached_at"])
    assert timedelta(minutes=5) < reached_at - datetime.now(UTC) < timedelta(minutes=8)
    page = text_of(browser.get(path))
    assert "At the present pace the cap is reached <time" in page
    assert "then every further call of this run is denied" in page
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.policies.filter(pk=policy.pk).update(shadow_mode=True)
    page = text_of(browser.get(path))
    assert "in shadow: it denies nothing yet" in page
    assert "is denied" not in page.partition("run-gauge")[2].partition("</p>")[0]


def test_one_button_stops_the_run(acme, runs):
    browser = acme.client(Role.DEVELOPER)
    page = text_of(browser.get(f"/runs/{runs.pk}/dear/"))
    assert 'hx-trigger="every 2s"' in page
    assert "Freeze key" in page
    answer = browser.post(f"/runs/{runs.pk}/dear/stop/", follow=True)
    page = text_of(answer)
    assert f"Stopped by {acme.person(Role.DEVELOPER)}" in page
    assert "Stop run" not in page
    assert "every 2s" not in page
    assert browser.post(f"/runs/{runs.pk}/nothing/stop/").status_code == 404
    assert "Stopped" in text_of(browser.get("/runs/"))
    assert acme.client(Role.MEMBER).post(f"/runs/{runs.pk}/busy/stop/").status_code == 403


def test_the_list_is_ordered_as_asked(acme, runs):
    browser = acme.client(Role.DEVELOPER)
    page = text_of(browser.get("/runs/", {"order": "denied"}))
    assert page.index(">naughty<") < page.index(">busy<")
    assert ">dear<" not in page
    assert browser.get("/runs/", {"order": "name"}).status_code == 400
