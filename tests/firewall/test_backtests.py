"""Backtests as a job: cut by run, worked off in any order by workers that may die, added up once; of one workspace and no other."""

from datetime import UTC, datetime, timedelta

import pytest

from firewall import backtests
from firewall.engine.backtest import Request
from firewall.models import Backtest
from firewall.selectors import backtests as selectors
from tests.factories.activity import UsageFactory
from tests.factories.firewall import EventFactory, make_policy
from workspaces import tenancy
from workspaces.errors import Conflict, NotFound, ValidationFailed
from workspaces.permissions import Role

NOW = datetime.now(UTC)
DENY_SHELL = {"verdict": "deny", "tool_name_glob": "shell.*", "priority": 10}


@pytest.fixture(autouse=True)
def small_parts(settings):
    """Every run is a part, every second event ends a page."""
    settings.BACKTEST_PART_EVENTS, settings.BACKTEST_PAGE_EVENTS = 1, 2


def clock() -> datetime:
    return datetime.now(UTC)


def start(tenant, **fields) -> Backtest:
    with tenancy.scope(tenant.workspace.pk):
        return backtests.start_backtest(tenant.workspace, actor=tenant.person(Role.DEVELOPER), at=clock(), **fields)


def finish(tenant, backtest: Backtest) -> Backtest:
    for _ in range(50):
        backtests.work(tenant.workspace, backtest.pk, clock=clock)
        if shown(tenant, backtest).is_over:
            break
    return shown(tenant, backtest)


def shown(tenant, backtest: Backtest) -> Backtest:
    with tenancy.scope(tenant.workspace.pk):
        return selectors.backtests(tenant.workspace).get(pk=backtest.pk)


def record_runs(tenant, *runs: str, tool: str = "shell.exec", events: int = 3, **fields) -> None:
    for run in runs:
        for number in range(events):
            at = NOW - timedelta(hours=2) + timedelta(seconds=number)
            EventFactory(workspace=tenant.workspace, agent_run_id=run, tool_name=tool, at=at, args_summary="{}", args_hash="x", **fields)


def test_every_run_is_replayed_whole_and_added_up(acme, rival):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), DENY_SHELL, default_verdict="allow")
    record_runs(acme, "run-a", "run-b", "run-ä")
    record_runs(acme, "run-c", tool="web.search")
    EventFactory(workspace=acme.workspace, agent_run_id=None, tool_name="shell.exec", at=NOW - timedelta(hours=1))
    EventFactory(workspace=acme.workspace, agent_run_id="run-a", tool_name="shell.exec", at=NOW - timedelta(days=8))
    record_runs(rival, "run-a")

    done = finish(acme, start(acme, policy_id=policy.pk))

    result = done.result
    assert (done.state, done.events) == ("done", 13)
    assert (result["calls"], result["runs"], result["newly_denied"], result["changed"]) == (13, 5, 10, 10)
    assert result["counterfactual"] == {"calls": 6, "changed": 6}
    assert {line["run_id"]: line["newly_denied"] for line in result["by_run"]} == {"run-a": 3, "run-b": 3, "run-ä": 3, None: 1}
    assert [(line["tool_name"], line["newly_denied"]) for line in result["by_tool"]] == [("shell.exec", 10)]
    first = result["examples"]["newly_denied"][0]
    assert (first["before"], first["after"], first["rule_id"]) == ("allow", "deny", done.snapshot["rules"][0]["id"])


def test_a_policy_over_its_own_history_changes_nothing(acme):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), DENY_SHELL, default_verdict="allow")
    record_runs(acme, "run-a", tool="web.search", policy_id=policy.pk, policy_version=1)
    record_runs(acme, "run-b", verdict="deny", reason_code="rule_deny", policy_id=policy.pk, policy_version=1)
    result = finish(acme, start(acme, policy_id=policy.pk)).result
    assert (result["calls"], result["changed"], result["not_replayable"]["calls"]) == (6, 0, 0)


def test_a_draft_an_earlier_version_and_a_shadow_policy_are_judged_as_asked(acme):
    owner = acme.person(Role.OWNER)
    policy = make_policy(acme.workspace, owner, DENY_SHELL, default_verdict="allow", shadow_mode=True)
    record_runs(acme, "run-a")
    draft = {"default_verdict": "deny", "rules": [{"verdict": "allow", "tool_name_glob": "web.*"}]}
    assert finish(acme, start(acme, draft=draft)).result["newly_denied"] == 3
    assert finish(acme, start(acme, policy_id=policy.pk)).result["other"] == 3
    assert finish(acme, start(acme, policy_id=policy.pk, enforce=True)).result["newly_denied"] == 3
    with tenancy.scope(acme.workspace.pk):
        backtests.services.change_policy(policy, changes={"default_verdict": "deny", "shadow_mode": False}, actor=owner, at=clock())
    kept = start(acme, policy_id=policy.pk, version=1)
    assert (kept.policy_version, kept.snapshot["default_verdict"]) == (1, "allow")


def test_the_keys_that_a_policy_governs_are_those_it_is_judged_over(acme):
    owner, workspace = acme.person(Role.OWNER), acme.workspace
    default = make_policy(workspace, owner, DENY_SHELL, name="default", is_default=True)
    bound = make_policy(workspace, owner, DENY_SHELL, name="bound")
    loose = make_policy(workspace, owner, DENY_SHELL, name="loose")
    with tenancy.scope(workspace.pk):
        key = workspace.api_keys.create(name="a", firewall_policy=bound, token_hash="1" * 64, token_start="a", token_end="b")
    record_runs(acme, "run-a", key_id=key.pk, events=1)
    record_runs(acme, "run-b", key_id=key.pk + 1, events=1)
    calls = {policy.name: finish(acme, start(acme, policy_id=policy.pk)).result["calls"] for policy in (default, bound, loose)}
    assert calls == {"default": 1, "bound": 1, "loose": 2}
    assert finish(acme, start(acme, policy_id=bound.pk, keys="all")).result["calls"] == 2
    assert finish(acme, start(acme, policy_id=loose.pk, keys="governed")).result["calls"] == 0


def test_what_a_run_had_spent_comes_from_the_ledger(acme):
    for number in range(3):
        at = NOW - timedelta(hours=1) + timedelta(minutes=number)
        EventFactory(workspace=acme.workspace, surface="inbound", tool_name="kb.read", request_id=f"r{number}", at=at)
        UsageFactory(workspace=acme.workspace, request_id=f"r{number}", cost_micro_usd=9_000, occurred_at=at, at=at + timedelta(seconds=1))
    draft = {"default_verdict": "allow", "rules": [{"verdict": "cap_cost", "cap_cost_cents": 2, "tool_name_glob": "kb.*"}]}
    result = finish(acme, start(acme, draft=draft)).result
    assert (result["newly_denied"], result["estimated"]) == (1, 3)


def ask(tenant, run: str, *, requests: int = 3, ago: timedelta = timedelta(hours=1), **fields) -> None:
    """Requests that offered no tool: all that is left of them is what they cost."""
    for number in range(requests):
        at = NOW - ago + timedelta(minutes=number)
        UsageFactory(workspace=tenant.workspace, agent_run_id=run, cost_micro_usd=9_000, occurred_at=at, at=at + timedelta(seconds=1), **fields)


CAP = {"verdict": "cap_cost", "cap_cost_cents": 2}


def test_runs_without_any_event_meet_the_caps_of_a_draft(acme, rival):
    ask(acme, "chat-1")
    ask(acme, "chat-2", requests=2)
    ask(acme, "chat-3", ago=timedelta(days=9))
    ask(rival, "chat-1")
    record_runs(acme, "run-a", tool="web.search")
    result = finish(acme, start(acme, draft={"default_verdict": "allow", "rules": [CAP]})).result
    assert [(line["run_id"], line["newly_denied"]) for line in result["by_run"]] == [("chat-1", 1)]
    assert (result["runs"], result["calls"], result["changed"]) == (3, 4, 1)
    (example,) = result["examples"]["newly_denied"]
    assert (example["tool_name"], example["run_id"], example["key_id"], example["token_name"]) == (None, "chat-1", 1, "research")
    # A cap on some tools does not concern them.
    narrow = {"default_verdict": "allow", "rules": [CAP | {"tool_name_glob": "web.*"}]}
    assert finish(acme, start(acme, draft=narrow)).result["runs"] == 1


def test_runs_without_any_event_count_among_those_that_a_key_began(acme):
    for run in ("a", "b", "c"):
        ask(acme, run, requests=1)
    result = finish(acme, start(acme, draft={"default_verdict": "allow", "max_runs_per_key_per_hour": 2})).result
    assert (result["runs"], result["newly_denied"], len(result["by_run"])) == (3, 1, 1)


def test_requests_that_a_policy_let_in_itself_stand(acme):
    owner, workspace = acme.person(Role.OWNER), acme.workspace
    fields = {"name": "capped", "default_verdict": "allow", "is_default": True}
    with tenancy.scope(workspace.pk):
        capped = backtests.services.create_policy(workspace, fields=fields, rules=[CAP], actor=owner, at=NOW - timedelta(hours=2))
    # They cost more than they might: what they might cost was let in, and that is how it was.
    ask(acme, "chat-1")
    ask(acme, "chat-0", ago=timedelta(hours=5))
    assert [line["run_id"] for line in finish(acme, start(acme, policy_id=capped.pk)).result["by_run"]] == ["chat-0"]
    other = make_policy(workspace, owner, CAP, name="other", default_verdict="allow")
    assert len(finish(acme, start(acme, policy_id=other.pk)).result["by_run"]) == 2


def test_runs_beyond_an_hours_limit_are_refused_by_a_draft_that_has_one(acme):
    for number, run in enumerate(("a", "b", "c")):
        at = NOW - timedelta(hours=1) + timedelta(minutes=number)
        EventFactory(workspace=acme.workspace, surface="inbound", tool_name="kb.read", agent_run_id=run, request_id=run, at=at)
        UsageFactory(workspace=acme.workspace, agent_run_id=run, request_id=run, occurred_at=at, at=at + timedelta(seconds=1))
    result = finish(acme, start(acme, draft={"default_verdict": "allow", "max_runs_per_key_per_hour": 2})).result
    assert [(line["run_id"], line["newly_denied"]) for line in result["by_run"]] == [("c", 1)]
    assert result["examples"]["newly_denied"][0]["tool_name"] is None


# --- Workers --------------------------------------------------------------------------------------------------------
def test_what_a_killed_worker_held_is_given_to_another(acme):
    record_runs(acme, "run-a", "run-b")
    backtest = start(acme, draft={"default_verdict": "deny"})
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    with tenancy.scope(acme.workspace.pk):
        lost = backtests._claim(backtest, at=clock() - backtests.LEASE)
    assert lost is not None
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    assert shown(acme, backtest).state == "running"
    backtests.sweep(acme.workspace, at=clock() + timedelta(seconds=1))
    done = finish(acme, backtest)
    assert (done.state, done.result["calls"], done.result["newly_denied"]) == ("done", 6, 6)
    # Should it live after all, it is told at its next page that the part is no longer its.
    with pytest.raises(backtests._Abandoned):
        backtests._replay(backtest, lost, clock)


def test_a_part_that_nobody_can_finish_ends_the_backtest(acme):
    record_runs(acme, "run-a")
    backtest = start(acme, draft={})
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    for _ in range(backtests.MAX_ATTEMPTS):
        with tenancy.scope(acme.workspace.pk):
            assert backtests._claim(backtest, at=clock() - 2 * backtests.LEASE)
        backtests.sweep(acme.workspace, at=clock())
    assert (shown(acme, backtest).state, "3 attempts" in shown(acme, backtest).error) == ("failed", True)


def test_no_more_than_two_work_at_a_backtest(acme):
    record_runs(acme, "run-a", "run-b", "run-c")
    backtest = start(acme, draft={})
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    with tenancy.scope(acme.workspace.pk):
        assert [bool(backtests._claim(backtest, at=clock())) for _ in range(3)] == [True, True, False]


def test_the_sweep_sends_again_what_was_lost(acme, django_capture_on_commit_callbacks):
    record_runs(acme, "run-a", "run-b", "run-c")
    backtest = start(acme, draft={})
    with django_capture_on_commit_callbacks() as sent:
        backtests.sweep(acme.workspace, at=clock())
    assert len(sent) == 2
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    with tenancy.scope(acme.workspace.pk):
        backtests._claim(backtest, at=clock())
    with django_capture_on_commit_callbacks() as sent:
        backtests.sweep(acme.workspace, at=clock())
    assert len(sent) == 1


def test_a_cancelled_backtest_is_worked_at_no_more(acme):
    record_runs(acme, "run-a", "run-b")
    backtest = start(acme, draft={})
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    with tenancy.scope(acme.workspace.pk):
        held = backtests._claim(backtest, at=clock())
        backtests.cancel_backtest(backtest, at=clock())
    with pytest.raises(backtests._Abandoned):
        backtests._replay(backtest, held, clock)
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    found = shown(acme, backtest)
    assert (found.state, found.result) == ("cancelled", None)
    with tenancy.scope(acme.workspace.pk), pytest.raises(Conflict):
        backtests.cancel_backtest(found, at=clock())


def test_a_window_without_events_is_done_at_once(acme):
    backtest = start(acme, draft={})
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    assert (shown(acme, backtest).state, shown(acme, backtest).result["calls"]) == ("done", 0)


# --- What is refused --------------------------------------------------------------------------------------------------
def test_what_cannot_be_asked_is_refused_by_name(acme, rival):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER))
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER))
    for fields, param in (
        ({}, "policy_id"),
        ({"draft": {}, "version": 1}, "version"),
        ({"draft": {"default_verdict": "maybe"}}, "policy.default_verdict"),
        ({"policy_id": policy.pk, "start": NOW, "end": NOW - timedelta(days=1)}, "from"),
        ({"policy_id": policy.pk, "start": NOW - timedelta(days=400)}, "from"),
        ({"policy_id": policy.pk, "keys": "some"}, "keys"),
        ({"draft": {}, "keys": "governed"}, "keys"),
    ):
        with pytest.raises(ValidationFailed) as refused:
            start(acme, **fields)
        assert refused.value.param == param
    for fields in ({"policy_id": theirs.pk}, {"policy_id": policy.pk, "version": 9}):
        with pytest.raises(NotFound):
            start(acme, **fields)
    for _ in range(backtests.MAX_OPEN):
        start(acme, policy_id=policy.pk)
    with pytest.raises(Conflict):
        start(acme, policy_id=policy.pk)


def test_requests_of_the_ledger_are_those_of_the_run(acme, rival):
    UsageFactory(workspace=acme.workspace, agent_run_id="run-1", request_id="ours")
    UsageFactory(workspace=rival.workspace, agent_run_id="run-1", request_id="theirs")
    EventFactory(workspace=acme.workspace, agent_run_id="run-1")
    backtest = start(acme, draft={})
    backtests.work(acme.workspace, backtest.pk, clock=clock)
    with tenancy.scope(acme.workspace.pk):
        (ledger,) = selectors.ledgers_of(backtest, backtest.parts.get(), lambda _: (0, 0)).values()
    (request,) = ledger.requests
    assert isinstance(request, Request)
    assert (request.request_id, request.cost_micro_usd, request.is_within) == ("ours", 1_500, True)
