"""An edited policy beside the saved one: each says of every call what a backtest of it says, and a call is compared with itself."""

from collections import Counter
from dataclasses import replace
from itertools import count

from hypothesis import given, settings

from firewall.engine import backtest
from firewall.engine.backtest import Ledger, Request
from firewall.engine.preview import preview
from firewall.engine.replay import Judge
from firewall.engine.tally import Tally
from firewall.engine.types import Surface, Verdict
from tests.figures import dear
from tests.firewall.engine.recordings import START_MS, Live
from tests.firewall.engine.strategies import moments, whole_policies
from tests.firewall.engine.test_backtest import ALLOW_ALL, called, lived, policy, rule


def always() -> bool:
    return True


def counted(by, live) -> Tally:
    found = Tally()
    backtest.replay(Judge(by), found, live.events)
    return found


@settings(dear, max_examples=dear.max_examples // 2)
@given(whole_policies, whole_policies, moments)
def test_it_says_of_each_policy_what_a_backtest_says(edited, saved, steps):
    live = lived(saved, steps)
    found = preview(edited, saved, live.events, rule_id=None, may_go_on=always)
    alone, before = counted(edited, live), counted(saved, live)
    assert found.calls == alone.verdicts.total()
    assert found.unknown == alone.not_replayable.total()
    if not (alone.not_replayable or before.not_replayable or before.changes):
        # The saved policy says what it said, so what changes is what a backtest finds changed.
        assert found.changes.total() == alone.changes.total()
    assert preview(saved, saved, live.events, rule_id=None, may_go_on=always).changes.total() == 0


@settings(dear, max_examples=dear.max_examples // 2)
@given(whole_policies, whole_policies, moments)
def test_calls_that_an_edited_rule_is_silent_about_are_left_aside(saved, other, steps):
    live = lived(saved, steps)
    edited = replace(saved, rules=tuple(next((rule for rule in other.rules if rule.id == each.id), each) if each.id == 1 else each for each in saved.rules))
    watched, all_of_it = (preview(edited, saved, live.events, rule_id=number, may_go_on=always) for number in (1, None))
    assert (watched.calls, watched.changes) == (all_of_it.calls, all_of_it.changes)
    assert watched.unknown <= all_of_it.unknown


def test_a_rule_counts_for_what_it_decides_where_it_stands():
    saved = policy(rule(Verdict.ALLOW, "kb.*", 1), rule(Verdict.DENY, "kb.secret", 2))
    live = Live(ALLOW_ALL)
    for name in ("kb.read", "kb.secret", "shell.exec"):
        live.ask(called(name))
    live.offer(["kb.read", "kb.secret"])
    live.offer(["kb.read", "kb.secret"])
    behind = preview(saved, saved, live.events, rule_id=2, may_go_on=always)
    before = preview(policy(rule(Verdict.DENY, "kb.secret", 2), *saved.rules[:1]), saved, live.events, rule_id=2, may_go_on=always)
    moved = policy(rule(Verdict.ALLOW, "kb.*", 3), rule(Verdict.DENY, "kb.secret", 2))
    ahead = preview(moved, saved, live.events, rule_id=2, may_go_on=always)
    assert (behind.calls, behind.own, before.own) == (7, Counter(), Counter())
    # One call and two offers of it, which were compared once.
    assert (ahead.own, ahead.own_before, ahead.changes["newly_denied"]) == (Counter(deny=3), Counter(), 3)
    assert {(call.name, call.before, call.after) for call in ahead.examples} == {("kb.secret", "allow", "deny")}


def test_requests_that_a_cap_would_refuse_count_for_it():
    saved, live = policy(), Live(ALLOW_ALL)
    live.ask(called("kb.read"))
    asked = [Request(f"r{number}", START_MS - 9_000 + number * 1_000, START_MS - 8_500 + number * 1_000, 9_000, is_blocked=False) for number in range(3)]
    cap = rule(Verdict.CAP_COST, number=5, cap_micro_usd=20_000)
    found = preview(policy(cap), saved, live.events, rule_id=5, ledgers={(1, "run-1"): Ledger(asked)}, may_go_on=always)
    assert (found.own[Verdict.DENY], found.changes["newly_denied"]) == (2, 2)


def test_it_stops_when_it_is_told_to_with_the_newest_runs_judged():
    first, second = Live(ALLOW_ALL, run_id="a"), Live(ALLOW_ALL, run_id="b")
    for live in (first, second):
        live.ask(called("kb.read"))
        live.ask(called("shell.exec", surface=Surface.RESPONSE))
    left = count(2, -1)
    found = preview(policy(rule(Verdict.DENY)), policy(), [*second.events, *first.events], rule_id=1, may_go_on=lambda: next(left) > 0)
    newest = max((first, second), key=lambda live: live.events[-1].id)
    assert (found.calls, {call.event.run_id for call in found.examples}) == (2, {newest.run_id})
