"""The line beside a rule that is being written: what it would have done to the newest calls, and what saving it would change."""

import re
from datetime import timedelta

import psycopg
import pytest
from django.db import connections
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.http import urlencode

from firewall.engine.summary import summarise
from firewall.selectors.preview import previewed
from tests.factories.activity import UsageFactory
from tests.factories.firewall import EventFactory, make_policy
from tests.firewall.pages import HTMX, RULE, page
from workspaces import tenancy
from workspaces.permissions import Role

DENY_DB = {"tool_name_glob": "db.*", "verdict": "deny"}
SQL = {"clause_path": "$.sql", "clause_op": "regex", "clause_value": "delete"}


def call(tenant, tool="db.query", arguments='{"sql": "delete from x"}', **fields):
    kept = summarise(arguments) if arguments is not None else None
    given = {"surface": "response", "verdict": "allow", "args_summary": kept and kept.text, "args_hash": kept and kept.digest}
    return EventFactory(workspace=tenant.workspace, tool_name=tool, **given | fields)


def said(browser, policy, fields, *, edit=0, where="rule-effect", calls="") -> str:
    given = RULE | {"edit": str(edit)} | fields
    answer = browser.post(f"/policies/{policy.pk}/{where}/{calls}", urlencode(given, doseq=True), "application/x-www-form-urlencoded", headers=HTMX)
    return re.sub(r"\s+", " ", strip_tags(page(answer))).strip()


@pytest.fixture
def rules(acme):
    """Web searches pass, then databases are denied; all else is marked. Its rules in order."""
    search = {"priority": 10, "tool_name_glob": "web.*", "verdict": "allow"}
    made = make_policy(acme.workspace, acme.person(Role.DEVELOPER), search, DENY_DB | {"priority": 20}, name="agents", default_verdict="audit")
    with tenancy.scope(acme.workspace.pk):
        made.in_order = list(made.rules.all())
    return made


def test_it_says_what_the_rule_would_have_done_and_how_much_more_than_the_saved_one(acme, rival, browser, rules):
    for tool in ("db.query", "db.query", "web.search", "shell.exec", "shell.exec", "shell.rm"):
        call(acme, tool)
    call(rival, "shell.exec")
    call(acme, "shell.exec", at=timezone.now() - timedelta(days=8))
    db = rules.in_order[1].pk
    same = said(browser, rules, DENY_DB | {"priority": "20"}, edit=db)
    wider = said(browser, rules, {"tool_name_glob": "", "verdict": "deny", "priority": "20"}, edit=db)
    narrower = said(browser, rules, {"tool_name_glob": "db.drop", "verdict": "deny", "priority": "20"}, edit=db)
    new = said(browser, rules, {"tool_name_glob": "shell.exec", "verdict": "deny", "priority": "30"})
    assert "Of the 6 calls of all keys of the last 7 days it would have denied 2, as the saved rule." in same
    assert "No recorded call would be decided otherwise." in same
    assert "it would have denied 5, 3 more than the saved rule." in wider
    assert "Stricter: 3 calls would be denied that are not now." in wider
    assert "it would have denied none, 2 fewer than the saved rule." in narrower
    assert "Looser: 2 calls would go on that are stopped now." in narrower
    assert "it would have denied 2. " in new
    assert "saved rule" not in new


def test_a_rule_stands_at_its_place_and_the_first_that_matches_decides(acme, browser, rules):
    call(acme, "web.search")
    deny = {"tool_name_glob": "web.search", "verdict": "deny"}
    assert "denied none." in said(browser, rules, deny | {"priority": "15"})
    assert "denied 1." in said(browser, rules, deny | {"priority": "5"})
    assert "it would have held 1." in said(browser, rules, deny | {"priority": "5", "verdict": "pending_approval"})


def test_shadow_is_left_aside_and_said(acme, browser):
    watching = make_policy(acme.workspace, acme.person(Role.DEVELOPER), name="watching", default_verdict="audit", shadow_mode=True)
    call(acme, verdict="audit")
    assert "denied 1. In shadow they all go on." in said(browser, watching, DENY_DB)


def test_what_was_not_kept_is_counted_as_such(acme, browser, rules):
    call(acme)
    call(acme, arguments=None)
    text = said(browser, rules, {"tool_name_glob": "shell.*", "verdict": "deny"} | SQL)
    assert "cannot be told" not in text
    text = said(browser, rules, {"tool_name_glob": "db.*", "verdict": "allow", "priority": "15"} | SQL)
    assert "it would have let through 1. Of 1 it cannot be told" in text


def test_a_rule_that_decides_nothing_says_why(acme, browser, rules):
    assert "No call was recorded in the last 7 days" in said(browser, rules, DENY_DB)
    call(acme)
    assert "The rule is disabled" in said(browser, rules, DENY_DB | {"enabled": ""})
    steps = {"step_match": ["db.*", "http.*"], "step_where": ["", ""], "step_count": ["1", "1"]}
    assert "reported afterwards decides no call" in said(browser, rules, {"tool_name_glob": "", "verdict": "deny"} | steps)


@pytest.mark.parametrize(
    "typed", [SQL | {"clause_value": "(("}, {"verdict": "cap_cost"}, {"raw": "{", "raw_was": ""}, {"priority": "soon"}, SQL | {"clause_path": ""}]
)
def test_a_rule_that_is_half_typed_is_waited_for(acme, browser, rules, typed):
    call(acme)
    assert said(browser, rules, DENY_DB | typed) == "Once the rule is valid, the calls of last week say here what it would have done."


def test_a_cap_knows_what_runs_had_spent(acme, browser, rules):
    at = timezone.now() - timedelta(hours=1)
    for number in range(3):
        when = at + timedelta(minutes=number)
        call(acme, "kb.read", surface="inbound", request_id=f"r{number}", at=when)
        UsageFactory(workspace=acme.workspace, request_id=f"r{number}", cost_micro_usd=9_000, occurred_at=when, at=when + timedelta(seconds=1))
    assert "it would have stopped 1." in said(browser, rules, {"tool_name_glob": "kb.*", "verdict": "cap_cost", "cap": "0.02", "priority": "1"})


def test_the_calls_are_shown_those_that_change_first(acme, browser, rules):
    mine = call(acme, "shell.exec")
    call(acme, "db.query")
    shown = said(browser, rules, {"tool_name_glob": "", "verdict": "deny", "priority": "20"}, edit=rules.in_order[1].pk, calls="?calls")
    assert shown.index("shell.exec") < shown.index("now Audit") < shown.index("db.query")
    answer = browser.post(f"/policies/{rules.pk}/rule-effect/?calls", RULE | {"tool_name_glob": "", "verdict": "deny", "priority": "20"}, headers=HTMX)
    assert f"/events/{mine.pk}/" in page(answer)


def test_the_policys_own_fields_say_what_they_would_change(acme, browser, rules):
    call(acme, "shell.exec")
    fields = {"name": "agents", "default_verdict": "deny"}
    assert said(browser, rules, fields, where="effect") == "Stricter: 1 call would be denied that is not now."
    assert said(browser, rules, fields | {"name": ""}, where="effect") == ""


def test_what_takes_too_long_to_read_is_given_up(acme, browser, rules, settings):
    call(acme)
    known = connections["owner"].settings_dict
    with psycopg.connect(host=known["HOST"], port=known["PORT"] or None, dbname=connections["default"].settings_dict["NAME"], user=known["USER"]) as other:
        other.execute("SET lock_timeout = 60000")
        other.execute("LOCK TABLE firewall_event IN ACCESS EXCLUSIVE MODE")
        settings.PREVIEW_READ_SECONDS = 0.5
        assert "could not be read in time" in said(browser, rules, DENY_DB)
    settings.PREVIEW_READ_SECONDS = 20
    assert "it would have denied 1." in said(browser, rules, DENY_DB | {"tool_name_glob": "db.query", "priority": "1"})


def test_only_the_keys_that_the_policy_governs_count_and_time_is_bounded(acme, rules):
    workspace = acme.workspace
    with tenancy.scope(workspace.pk):
        key = workspace.api_keys.create(name="a", firewall_policy=rules, token_hash="1" * 64, token_start="a", token_end="b")
    call(acme, key_id=key.pk)
    call(acme, key_id=key.pk)
    call(acme, key_id=key.pk + 1)
    with tenancy.scope(workspace.pk):
        given = {"saved_rules": rules.in_order, "rule_id": rules.in_order[1].pk, "at": timezone.now()}
        found = previewed(rules, rules, rules.in_order, **given)
        cut = previewed(rules, rules, rules.in_order, **given, most_seconds=0)
        few = previewed(rules, rules, rules.in_order, **given, most_events=1)
    assert (found.counts.calls, found.counts.own["deny"], found.is_own_keys, found.is_partial, found.is_cut) == (2, 2, True, False, False)
    assert (cut.counts.calls, cut.is_cut) == (0, True)
    assert (few.counts.calls, few.is_partial) == (1, True)
