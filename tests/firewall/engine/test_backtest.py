"""A policy over recorded runs: a policy over its own history changes nothing, and what is said of another is what it would say."""

import json
import socket
from dataclasses import replace

import pytest
from hypothesis import given

from firewall import sandbox
from firewall.engine import backtest, tally
from firewall.engine.backtest import Ledger, Request
from firewall.engine.conditions import Clause, Operator
from firewall.engine.decide import decide
from firewall.engine.destinations import destination
from firewall.engine.egress import EgressLists
from firewall.engine.recorded import destinations_of
from firewall.engine.replay import Judge
from firewall.engine.sanitize import Sanitizers
from firewall.engine.sequence import Chain, Step
from firewall.engine.tally import RunTally, Tally
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from tests.figures import dear
from tests.firewall.engine.recordings import Live
from tests.firewall.engine.strategies import Moment, asked, asked_in_turn, moments, whole_policies

ALLOW_ALL = Policy(1, "agents", 1, Verdict.ALLOW, False, ())
RM = Clause("$.command", Operator.CONTAINS, "rm")


def rule(verdict: Verdict, glob: str = "", number: int = 1, **fields) -> Rule:
    return Rule(number, number, "", None, glob, verdict, **fields)


def policy(*rules: Rule, default: Verdict = Verdict.ALLOW, **fields) -> Policy:
    return Policy(2, "draft", 1, default, False, rules, **fields)


def replayed(by: Policy | None, *lives: Live, ledger: Ledger | None = None, observe_mode: bool = False) -> dict:
    counted = Tally()
    for live in lives:
        # What is kept of a part is JSON, and so is what an event keeps.
        events = [event._replace(judged_on=json.loads(json.dumps(event.judged_on))) for event in live.events]
        ledgers = {} if ledger is None else {(1, live.run_id): ledger}
        backtest.replay(Judge(by, observe_mode=observe_mode), counted, events, ledgers)
    return tally.result([json.loads(json.dumps(counted.as_json()))])


def called(name: str, arguments: dict | None = None, surface: Surface = Surface.MCP, **fields) -> ToolCall:
    return ToolCall(surface, name, json.dumps(arguments or {}), **fields)


# --- Laws -----------------------------------------------------------------------------------------------------------
def lived(governed: Policy | None, steps: list[Moment], *, observe_mode: bool = False) -> Live:
    live = Live(governed, observe_mode=observe_mode)
    for step in steps:
        if isinstance(step, list):
            live.offer(step)
        else:
            call, state = step
            live.ask(call, spent_micro_usd=state.spent_micro_usd, reserved_micro_usd=state.reserved_micro_usd, estimate_micro_usd=state.estimate_micro_usd)
    return live


@dear
@given(whole_policies, moments)
def test_a_policy_over_its_own_history_changes_nothing(governed, steps):
    live = lived(governed, steps)
    found = replayed(governed, live)
    assert (found["changed"], found["by_change"], found["estimated"]) == (0, [], 0)
    assert found["calls"] == len(live.decisions)
    assert found["counterfactual"] == {"calls": 0, "changed": 0}


@dear
@given(whole_policies, whole_policies, moments)
def test_a_verdict_that_is_told_is_the_one_that_the_policy_gives(governed, other, steps):
    # One that needs to know nothing of the run: what that was is told apart below.
    rules = tuple(replace(each, sequence=None) for each in other.rules if each.verdict is not Verdict.CAP_COST)
    other = replace(other, id=2, rules=rules)
    live = lived(governed, [step if isinstance(step, list) else (replace(step[0], destinations=None), step[1]) for step in steps])
    judge = Judge(other)
    events = [event for event in live.events if not (event.reason_code == "sequence" and event.verdict == "audit" and not event.shadow)]
    calls = {(f"req_{number}", call.name): call for number, (call, _, _) in enumerate(live.decisions)}
    for event in events:
        # What a name led to then counts for a policy that looks at addresses.
        to = destinations_of(event.judged_on) if other.looks_at_addresses else None
        for name in event.names:
            told = judge.judge(event, name, RunState()).decision
            if (call := calls.get((event.request_id, name))) and told is not None:
                assert told.verdict == decide(other, replace(call, destinations=to), RunState()).verdict


@pytest.fixture
def world(monkeypatch):
    """What names lead to is the world's to say, slowly, and changes: here one leads inside, one outside and the others nowhere."""
    places = {"a.example": "10.0.0.1", "b.example": "8.8.8.8"}

    def look_up(host, *_, **__):
        if host not in places:
            raise socket.gaierror(socket.EAI_NONAME, host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (places[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@dear
@given(whole_policies, asked)
def test_live_sandbox_and_backtest_say_the_same(world, governed, call):
    live = Live(None, observe_mode=True)
    live.ask(call)
    (event,) = live.events
    run = RunState()
    truth = decide(governed, sandbox.resolved(governed, call), run)
    assert sandbox.try_call(governed, call).decision == truth
    told = Judge(governed).judge(event, event.names[0], run).decision
    assert told is None or told.verdict == truth.verdict


class Noting(Tally):
    """Keeps what each call came to, in order; "" what cannot be told."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def of_run(self, run, token_name):
        super().of_run(run, token_name)
        return NotingRun(self, run, self._keys[run[0]])


class NotingRun(RunTally):
    def count(self, name, verdict, is_counterfactual) -> None:
        super().count(name, verdict, is_counterfactual)
        self._of.noted.append(str(verdict))


@dear
@given(whole_policies, asked_in_turn)
def test_sequences_are_followed_where_they_were_not_recorded(governed, calls):
    """A run that nobody governed, under a policy that was not there: what it would have said, call by call."""
    rules = tuple(each for each in governed.rules if each.verdict is not Verdict.CAP_COST and each.egress is None)
    governed = replace(governed, rules=rules, shadow_mode=False)
    free, truth = Live(None, observe_mode=True), Live(governed)
    expected = []
    for call, gap in calls:
        free.gap_ms = truth.gap_ms = gap
        free.ask(call)
        expected.append(str(truth.ask(call).verdict))
    counted = Noting()
    backtest.replay(Judge(governed), counted, free.events)
    for told, verdict in zip(counted.noted, expected, strict=True):
        # Nobody could be asked then.
        assert told in ("", verdict) or (told, verdict) == ("pending_approval", "deny")


# --- What is counted --------------------------------------------------------------------------------------------------
def test_changes_are_told_by_kind_and_what_follows_one_is_counterfactual():
    live = Live(ALLOW_ALL)
    live.offer(["web.search", "shell.exec"])
    live.ask(called("web.search"))
    live.ask(called("shell.exec"))
    live.ask(called("mail.send"))
    found = replayed(policy(rule(Verdict.DENY, "shell.*"), rule(Verdict.PENDING_APPROVAL, "mail.*", 2)), live)
    assert {kind: found[kind] for kind in tally.KINDS} == {"newly_denied": 2, "newly_allowed": 0, "newly_held": 1, "other": 0}
    assert (found["calls"], found["changed"], found["counterfactual"]) == (5, 3, {"calls": 3, "changed": 2})
    assert [(line["tool_name"], line["newly_denied"], line["newly_held"], line["counterfactual"], line["calls"]) for line in found["by_tool"]] == [
        ("shell.exec", 2, 0, 1, 2),
        ("mail.send", 0, 1, 1, 1),
    ]
    assert [(line["run_id"], line["newly_denied"]) for line in found["by_run"]] == [("run-1", 2)]
    assert [(line["key_id"], line["token_name"], line["calls"]) for line in found["by_key"]] == [(1, "agent", 5)]
    first, second = found["examples"]["newly_denied"]
    assert (first["tool_name"], first["place"], first["counterfactual"], first["before"], first["after"]) == ("shell.exec", 1, False, "allow", "deny")
    assert (second["counterfactual"], second["event_id"]) == (True, str(live.events[2].id))


def test_what_was_denied_and_goes_on_is_newly_allowed():
    live = Live(policy(default=Verdict.DENY))
    live.ask(called("kb.read"))
    found = replayed(ALLOW_ALL, live)
    assert (found["newly_allowed"], found["by_change"]) == (1, [{"before": "deny", "after": "allow", "kind": "newly_allowed", "calls": 1, "counterfactual": 0}])


def test_a_change_of_one_run_leaves_another_as_it_was():
    lives = [Live(ALLOW_ALL, run_id=run_id) for run_id in ("a", "b")]
    for live in lives:
        live.ask(called("shell.exec"))
    found = replayed(policy(rule(Verdict.DENY)), *lives)
    assert (found["newly_denied"], found["runs"], found["counterfactual"]["calls"]) == (2, 2, 0)


def test_runs_of_one_name_under_two_keys_are_counted_apart():
    lives = [Live(ALLOW_ALL), Live(ALLOW_ALL)]
    for live in lives:
        live.ask(called("shell.exec"))
    recorded(lives[1], key_id=2, token_name="two")
    lives[0].events.insert(1, lives[1].events[0])
    found = replayed(policy(rule(Verdict.DENY)), lives[0])
    assert sorted((line["key_id"], line["token_name"], line["newly_denied"]) for line in found["by_run"]) == [(1, "agent", 1), (2, "two", 1)]


# --- What was not kept ------------------------------------------------------------------------------------------------
SECRET = {"command": "rm -rf /", "password": "hunter2"}
LONG = {"command": "x" * 3000 + "rm"}


@pytest.mark.parametrize("arguments", [SECRET, LONG])
def test_what_was_redacted_or_cut_matters_only_to_rules_that_look_at_arguments(arguments):
    live = Live(ALLOW_ALL)
    live.ask(called("shell.exec", arguments))
    live.ask(called("kb.read", arguments))
    looks = policy(rule(Verdict.DENY, "shell.*", args_match=(RM,)))
    found = replayed(looks, live)
    assert (found["changed"], found["not_replayable"]["calls"], found["not_replayable"]["arguments"]) == (0, 1, 1)
    assert [(line["tool_name"], line["not_replayable"]) for line in found["by_tool"]] == [("shell.exec", 1)]
    # Where it comes to the same either way, it is known.
    assert replayed(replace(looks, default_verdict=Verdict.DENY), live)["newly_denied"] == 2
    assert replayed(policy(rule(Verdict.DENY, "shell.*")), live)["newly_denied"] == 1


def test_kept_arguments_are_judged_as_they_were():
    live = Live(ALLOW_ALL)
    live.ask(ToolCall(Surface.RESPONSE, "shell.exec", '{ "command" : "rm -rf /" }'))
    live.ask(called("shell.exec", {"command": "ls"}))
    live.ask(ToolCall(Surface.RESPONSE, "shell.exec", '{"command": "ls", "command": "rm"}'))
    found = replayed(policy(rule(Verdict.DENY, "shell.*", args_match=(RM,))), live)
    assert (found["newly_denied"], found["not_replayable"]["calls"]) == (2, 0)


def test_cleaned_arguments_are_not_those_that_were_judged():
    cleans = policy(rule(Verdict.SANITIZE, sanitize=Sanitizers(("email",))))
    live = Live(cleans)
    live.ask(called("mail.send", {"to": "a@b.example"}))
    assert replayed(cleans, live)["not_replayable"]["calls"] == 0
    asks = policy(rule(Verdict.DENY, args_match=(Clause("$.to", Operator.CONTAINS, "@"),)))
    assert replayed(asks, live)["not_replayable"]["arguments"] == 1


def test_a_destination_that_was_told_is_judged_again():
    live = Live(ALLOW_ALL)
    live.ask(called("http.get", surface=Surface.EGRESS, destinations=(destination("10.1.2.3"),)))
    live.ask(called("http.get", surface=Surface.EGRESS, destinations=(destination("api.example"),)))
    inside = rule(Verdict.DENY, egress=EgressLists(deny=("10.0.0.0/8",)))
    found = replayed(policy(inside), live)
    # What the second name leads to was not looked up then.
    assert (found["newly_denied"], found["not_replayable"]["destinations"]) == (1, 1)


# --- What the run had done ----------------------------------------------------------------------------------------------
def test_a_sequence_is_followed_through_the_run():
    live = Live(ALLOW_ALL)
    for name in ("kb.read", "mail.send", "db.dump", "mail.send"):
        live.ask(called(name))
    chain = Chain(60, (Step("db.*"), Step("mail.*")), is_inline=True)
    found = replayed(policy(rule(Verdict.DENY, sequence=chain)), live)
    assert (found["newly_denied"], found["calls"]) == (1, 4)
    assert found["examples"]["newly_denied"][0]["event_id"] == str(live.events[-1].id)


def test_arguments_that_were_not_kept_matter_to_a_sequence_only_where_it_has_come_to_a_step_that_asks():
    live = Live(ALLOW_ALL)
    for name in ("web.get", "mail.send", "db.dump", "web.get", "kb.read"):
        live.ask(called(name, SECRET))
    chain = Chain(60, (Step("db.*"), Step("web.*", egress=True)), is_inline=True)
    found = replayed(policy(rule(Verdict.DENY, sequence=chain)), live)
    # The second ``web.get`` may have gone anywhere, and what the run came to with it nobody knows.
    assert (found["changed"], found["not_replayable"]) == (0, {"calls": 1, "arguments": 1, "destinations": 0, "sequence": 0})


def test_a_cap_counts_what_the_ledger_says_the_run_had_spent():
    live = Live(ALLOW_ALL, gap_ms=1000)
    for _ in range(4):
        live.offer(["kb.read"])
    requests = tuple(Request(event.request_id, event.at_ms, event.at_ms + 500, 10, False) for event in live.events)
    narrow = policy(rule(Verdict.CAP_COST, "kb.*", cap_micro_usd=25))
    found = replayed(narrow, live, ledger=Ledger(requests))
    assert (found["newly_denied"], found["estimated"]) == (2, 4)
    # A cap on every tool refuses the request itself, and its tools with it.
    found = replayed(policy(rule(Verdict.CAP_COST, cap_micro_usd=25)), live, ledger=Ledger(requests))
    assert {line["tool_name"]: line["newly_denied"] for line in found["by_tool"]} == {None: 2, "kb.read": 2}


def test_a_run_that_is_one_too_many_in_its_hour_is_refused_at_its_first_request():
    live = Live(ALLOW_ALL, gap_ms=1000)
    live.offer(["kb.read"])
    live.offer(["kb.read"])
    requests = tuple(Request(event.request_id, event.at_ms, event.at_ms + 500, 10, False) for event in live.events)
    limited = policy(max_runs_per_key_per_hour=2)
    assert replayed(limited, live, ledger=Ledger(requests, begun=2))["changed"] == 0
    found = replayed(limited, live, ledger=Ledger(requests, begun=3))
    assert (found["newly_denied"], found["by_tool"][0]["tool_name"]) == (1, None)


def asked_for(count: int, **fields) -> Ledger:
    """A run that called no tool and was offered none: requests of 10 micro-USD each."""
    requests = tuple(Request(f"req_{number}", number * 1000, number * 1000 + 500, 10, False) for number in range(1, count + 1))
    return Ledger(requests, token_name="agent", **fields)


def without_events(by: Policy, ledger: Ledger) -> dict:
    counted = Tally()
    backtest.replay(Judge(by), counted, (), {(1, "run-1"): ledger})
    return tally.result([json.loads(json.dumps(counted.as_json()))])


def test_a_run_that_left_no_event_meets_the_caps_of_every_request():
    capped = policy(rule(Verdict.CAP_COST, cap_micro_usd=25))
    found = without_events(capped, asked_for(4))
    assert (found["newly_denied"], found["calls"], found["runs"], found["estimated"]) == (2, 2, 1, 4)
    assert found["counterfactual"] == {"calls": 1, "changed": 1}
    assert [(line["run_id"], line["token_name"], line["newly_denied"]) for line in found["by_run"]] == [("run-1", "agent", 2)]
    assert found["examples"]["newly_denied"][0]["request_id"] == "req_3"
    assert "it would exceed its cap" in found["examples"]["newly_denied"][0]["reason"]
    # What is said of tools is not said of it, and what was said of it by this very policy stands.
    assert without_events(policy(rule(Verdict.CAP_COST, "kb.*", cap_micro_usd=5)), asked_for(4))["runs"] == 0
    assert without_events(capped, asked_for(4, in_force=(0, 10_000)))["changed"] == 0
    assert without_events(capped, asked_for(4, in_force=(4_000, 10_000)))["newly_denied"] == 1


def test_a_run_without_events_may_be_one_too_many():
    found = without_events(policy(max_runs_per_key_per_hour=2), asked_for(3, begun=3))
    assert (found["newly_denied"], found["by_tool"][0]["tool_name"]) == (1, None)


def test_requests_before_the_window_are_spent_and_not_judged():
    ledger = asked_for(4, begun=9)
    ledger = replace(ledger, requests=tuple(each._replace(is_within=number == 3) for number, each in enumerate(ledger.requests)))
    found = without_events(policy(rule(Verdict.CAP_COST, cap_micro_usd=35), max_runs_per_key_per_hour=1), ledger)
    assert (found["newly_denied"], found["calls"], found["counterfactual"]["calls"]) == (1, 1, 0)


# --- Decisions before rules -------------------------------------------------------------------------------------------
def recorded(live: Live, **fields) -> Live:
    live.events = [event._replace(**fields) for event in live.events]
    return live


@pytest.mark.parametrize("code", ["run_stopped", "key_frozen", "response_too_large", "policy_unavailable"])
def test_a_denial_that_no_policy_gave_stands_under_every_policy(code):
    live = Live(ALLOW_ALL)
    live.ask(called("kb.read"))
    recorded(live, verdict="deny", reason_code=code)
    assert replayed(ALLOW_ALL, live)["changed"] == 0


def test_a_request_that_was_refused_for_itself_is_let_in_by_a_policy_without_caps():
    capped = replace(ALLOW_ALL, rules=(rule(Verdict.CAP_COST, cap_micro_usd=5),))
    live = Live(capped)
    live.offer(["kb.read"], spent_micro_usd=9)
    recorded(live, tool_name=None, tools=[], verdict="deny", reason_code="cost_cap")
    assert replayed(capped, live)["changed"] == 0
    assert replayed(ALLOW_ALL, live)["newly_allowed"] == 1
    recorded(live, reason_code="cost_store_down", judged_on=None)
    assert replayed(capped, live)["changed"] == 0
    assert replayed(ALLOW_ALL, live)["newly_allowed"] == 1


def test_an_approved_call_stays_let_through_and_an_unavailable_hold_denied():
    holds = policy(rule(Verdict.PENDING_APPROVAL))
    live = Live(holds)
    assert live.ask(called("mail.send")).verdict is Verdict.PENDING_APPROVAL
    assert replayed(holds, live)["changed"] == 0
    recorded(live, verdict="deny", reason_code="hold_unavailable")
    assert replayed(holds, live)["changed"] == 0
    recorded(live, verdict="allow", reason_code=None, approval_id="a" * 24)
    assert replayed(holds, live)["changed"] == 0
    recorded(live, approval_id=None)
    assert replayed(holds, live)["newly_held"] == 1


def test_a_bad_name_is_judged_as_one_however_it_is_shown():
    live = Live(ALLOW_ALL)
    live.ask(called("k" * 200))
    assert replayed(ALLOW_ALL, live)["changed"] == 0
