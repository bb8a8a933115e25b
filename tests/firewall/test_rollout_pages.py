"""The pages around a policy's rollout: try a call, discovered tools and their drafts, the shadow report."""

import re

import pytest
from django.utils.html import escape

from firewall.engine.summary import summarise
from tests.factories.firewall import EventFactory, make_policy
from tests.factories.keys import make_key
from workspaces import tenancy
from workspaces.permissions import Role

HTMX = {"HX-Request": "true"}
RULE = {"label": "Mine", "tool_name_glob": "kb.*", "stage": "", "verdict": "deny", "priority": "1", "notes": "", "enabled": "on"}
CALL = {"try_surface": "response", "try_tool": "kb.read", "try_arguments": '{"id": 1}', "try_destination": "", "try_policy": ""}


@pytest.fixture
def browser(acme):
    return acme.client(Role.DEVELOPER)


@pytest.fixture
def policy(acme):
    return make_policy(acme.workspace, acme.person(Role.OWNER), {"tool_name_glob": "kb.*", "verdict": "allow", "label": "Knowledge"}, default_verdict="deny")


def page(answer, status=200):
    assert answer.status_code == status, answer.content[:2000]
    return answer.content.decode()


# --- Test -------------------------------------------------------------------------------------------------------------
def test_a_call_is_tried_with_and_without_scripts(browser, policy):
    call = CALL | {"try_policy": policy.pk}

    whole = page(browser.post("/test/", call))
    part = page(browser.post("/test/", call, headers=HTMX))
    denied = page(browser.post("/test/", call | {"try_tool": "shell.exec"}, headers=HTMX))

    assert "<html" in whole
    assert "<html" not in part
    for shown in (whole, part):
        assert "Knowledge" in shown
        assert "it matches" in shown
    assert "No rule decided" in denied
    assert "the name does not match kb.*" in denied


DRAFT = """name: draft
default_verdict: deny
rules:
- {verdict: cap_cost, cap_cost_cents: 500, priority: 1}
- verdict: deny
  priority: 2
  label: Out after reading
  sequence: {window_seconds: 60, enforce: inline, steps: [{match: db.*, min_count: 2}, {match: "*", egress: true}]}
- {verdict: allow, tool_name_glob: "kb.*"}
"""


def test_a_policy_that_nobody_saved_is_tried(acme, browser):
    call = CALL | {"try_policy": "draft", "try_draft": DRAFT}

    allowed = page(browser.post("/test/", call, headers=HTMX))
    wrong = page(browser.post("/test/", call | {"try_draft": "name: x\nrules: [{verdict: explode}]"}, headers=HTMX))
    broken = page(browser.post("/test/", call | {"try_draft": "a: [1"}))

    assert "<b>kb.*</b>" in allowed
    assert "The policy, at rules.0.verdict: Rule 1: One of" in wrong
    assert "This is not the YAML of a policy" in broken
    assert "a: [1</textarea>" in broken
    with tenancy.scope(acme.workspace.pk):
        assert not acme.workspace.policies.exists()
        assert not acme.workspace.events.exists()


def test_a_call_is_tried_as_the_next_of_a_run(browser):
    call = CALL | {"try_policy": "draft", "try_draft": DRAFT}

    dear = page(browser.post("/test/", call | {"try_surface": "mcp", "try_spent": "5.01"}, headers=HTMX))
    last = call | {"try_arguments": '{"url": "https://api.example.com"}', "try_earlier": "db.query\ndb.query"}
    chained = page(browser.post("/test/", last, headers=HTMX))
    early = page(browser.post("/test/", last | {"try_earlier": "db.query"}, headers=HTMX))
    after = page(browser.post("/test/", last | {"try_draft": DRAFT.replace(", enforce: inline", "")}, headers=HTMX))
    words = page(browser.post("/test/", call | {"try_spent": "much"}, headers=HTMX))

    few = call | {"try_draft": DRAFT + "max_runs_per_key_per_hour: 60\n"}
    dearer = page(browser.post("/test/", call | {"try_surface": "mcp", "try_spent": "4", "try_estimate": "1.01"}, headers=HTMX))
    no_price = page(browser.post("/test/", call | {"try_surface": "mcp", "try_estimate": "unknown"}, headers=HTMX))
    one_more = page(browser.post("/test/", few | {"try_runs": "61"}, headers=HTMX))
    begun = page(browser.post("/test/", few | {"try_runs": "61", "try_earlier": "kb.read"}, headers=HTMX))
    stopped = page(browser.post("/test/", call | {"try_stopped": "on"}, headers=HTMX))
    ago = page(browser.post("/test/", last | {"try_earlier": "db.query 70s\ndb.query api.example.com 30s"}, headers=HTMX))
    longer = page(browser.post("/test/", last | {"try_earlier": "db.query 30s\ndb.query 50s"}, headers=HTMX))
    too_many = page(browser.post("/test/", call | {"try_earlier": "db.query here there"}, headers=HTMX))

    assert "cost_cap" in dear
    assert "Out after reading</b>" in chained
    assert "Out after reading</b>" not in early
    assert "Reported beside it: completed the sequence" in after
    assert "dollars, such as 2.50" in words
    assert "cost_cap" in dearer
    assert "price_unknown" in no_price
    assert "run_limit" in one_more
    assert "run_limit" not in begun
    assert "run_stopped" in stopped
    assert "Out after reading</b>" not in ago
    assert "Out after reading</b>" in longer
    assert "“db.query here there” is no earlier call" in too_many


def test_the_skill_of_a_call_is_tried(browser):
    call = CALL | {"try_policy": "draft", "try_draft": "name: x\nrules: [{verdict: deny, label: Not theirs, skill_name_glob: community.*}]"}
    theirs = page(browser.post("/test/", call | {"try_skill": "community.mail"}, headers=HTMX))
    ours = page(browser.post("/test/", call | {"try_skill": "builtin.mail"}, headers=HTMX))
    assert "<b>Not theirs</b>" in theirs
    assert "<b>Not theirs</b>" not in ours


def test_the_rule_that_is_typed_is_judged_unsaved(browser, policy):
    call = CALL | {"try_policy": policy.pk}
    with tenancy.scope(policy.workspace_id):
        rule = policy.rules.get()

    added = page(browser.post("/test/", call | RULE | {"editing": "0"}, headers=HTMX))
    changed = page(browser.post("/test/", call | RULE | {"editing": rule.pk, "label": "Harsher"}, headers=HTMX))
    wrong = page(browser.post("/test/", call | RULE | {"editing": "0", "priority": "soon"}, headers=HTMX))

    assert "with the unsaved rule" in added
    assert "Mine" in added
    assert "Harsher" in changed
    assert "Knowledge" not in changed
    assert "It cannot be tried yet." in wrong
    as_saved = RULE | {"label": "Knowledge", "verdict": "allow", "priority": str(rule.priority), "editing": rule.pk}
    opened = page(browser.post("/test/", call | as_saved, headers=HTMX))
    assert "Knowledge" in opened
    assert "with the unsaved rule" not in opened, "its form is open, and nothing in it is changed"
    with tenancy.scope(policy.workspace_id):
        policy.refresh_from_db()
        assert (policy.version, policy.rules.get().label) == (1, "Knowledge")


def test_a_call_is_taken_from_an_event(acme, browser, policy):
    kept = summarise('{"id": 99}')
    event = EventFactory(workspace=acme.workspace, tool_name="kb.read", args_summary=kept.text, args_hash=kept.digest, policy_id=policy.pk, surface="mcp")
    shown = page(browser.get("/test/", {"event": event.pk}))
    assert 'value="kb.read"' in shown
    assert escape('"id": 99') in shown
    assert f'value="{policy.pk}" selected' in shown
    assert "it matches" in shown, "judged at once"
    assert f"/test/?event={event.pk}" in page(browser.get(f"/events/{event.pk}/"))


@pytest.mark.parametrize("query", ["event=x", "event=00000000-0000-7000-8000-000000000000"])
def test_an_event_that_is_none_is_not_tried(browser, query):
    assert browser.get(f"/test/?{query}").status_code in (400, 404)


def test_anothers_event_and_policy_are_not_tried(acme, rival, browser):
    event = EventFactory(workspace=rival.workspace, args_summary="their secret")
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER), {"verdict": "deny", "label": "theirs"})
    assert browser.get("/test/", {"event": event.pk}).status_code == 404
    for editing in ({}, RULE | {"editing": "0"}):
        shown = page(browser.post("/test/", CALL | {"try_policy": theirs.pk} | editing, headers=HTMX))
        assert "There is no such policy." in shown
        assert "theirs" not in shown


def test_a_call_without_a_tool_changes_nothing(browser):
    assert browser.post("/test/", CALL | {"try_tool": " "}, headers=HTMX).status_code == 204


# --- Discovered tools -------------------------------------------------------------------------------------------------
def test_tools_are_listed_with_what_covers_them(acme, browser, policy):
    key, _ = make_key(acme, name="librarian", firewall_policy=policy)
    EventFactory(workspace=acme.workspace, tool_name="kb.read", key_id=key.pk)
    EventFactory(workspace=acme.workspace, tool_name="shell.exec", key_id=key.pk)

    shown = page(browser.get("/tools/"))
    gaps = page(browser.get("/tools/?status=gap"))
    named = page(browser.get("/tools/?q=SHELL"))

    assert ("shell.exec" in named, "kb.read" in named, 'value="SHELL"' in named) == (True, False, True)
    assert "librarian" in shown
    assert "Knowledge" in shown
    assert "no rule of" in gaps
    assert "kb.read" not in gaps
    assert 'name="tool"' not in page(acme.client(Role.MEMBER).get("/tools/")), "a member drafts nothing"


def test_rules_are_drafted_into_a_new_policy_after_a_look(acme, browser):
    chosen = {"tool": ["kb.read", "shell.exec", "bad name"]}

    draft = page(browser.post("/tools/draft/", chosen))
    nameless = page(browser.post("/tools/draft/", chosen | {"save": "yes", "policy": "new"}), 422)
    made = browser.post("/tools/draft/", chosen | {"save": "yes", "policy": "new", "name": "drafted", "verdict.shell.exec": "deny", "default_verdict": "deny"})

    assert "Make 2 rules" in draft
    assert "Nothing was made." in nameless
    assert made.status_code == 302
    with tenancy.scope(acme.workspace.pk):
        policy = acme.workspace.policies.get()
        assert (policy.name, policy.default_verdict) == ("drafted", "deny")
        assert [(rule.tool_name_glob, rule.verdict, rule.priority) for rule in policy.rules.all()] == [("kb.read", "audit", 10), ("shell.exec", "deny", 20)]


def test_rules_drafted_into_a_policy_come_last_and_are_asked_about(acme, browser, policy):
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.policies.filter(pk=policy.pk).update(is_default=True)
    sent = {"tool": ["shell.exec"], "verdict.shell.exec": "allow", "policy": policy.pk, "save": "yes"}

    asked = page(browser.post("/tools/draft/", sent))
    assert "Let more through?" in asked
    assert browser.post("/tools/draft/", sent | {"confirmed": "yes"}).status_code == 302

    with tenancy.scope(acme.workspace.pk):
        policy.refresh_from_db()
        assert [(rule.tool_name_glob, rule.priority) for rule in policy.rules.all()] == [("kb.*", 100), ("shell.exec", 110)]
        assert policy.version == 2


def test_all_gaps_are_drafted_at_once_and_saved_as_one_version(acme, browser, policy):
    for number in range(210):
        EventFactory(workspace=acme.workspace, tool_name=f"crm.get{number:03}")
    assert "Draft rules for all gaps" in page(browser.get("/tools/"))

    draft = page(browser.post("/tools/draft/", {"every": "gaps"}))
    assert "Make 200 rules" in draft
    assert "10 more are not among these." in draft
    chosen = re.findall(r'name="tool" value="([^"]+)"', draft)
    set_all = page(browser.post("/tools/draft/", {"tool": chosen, "all": "deny", "set_all": "yes"}))
    assert set_all.count('<option value="deny" selected>') == 200
    verdicts = {f"verdict.{name}": "deny" for name in chosen}
    assert browser.post("/tools/draft/", {"tool": chosen, **verdicts, "policy": policy.pk, "save": "yes"}).status_code == 302

    with tenancy.scope(acme.workspace.pk):
        policy.refresh_from_db()
        assert (policy.version, policy.rules.count(), policy.rules.filter(verdict="deny").count()) == (2, 201, 200)
        assert policy.rules.first().tool_name_glob == "kb.*", "the rules that were there stay before them"
        assert acme.workspace.policy_versions.first().summary.startswith("Drafted from the tools that were seen: 200 rules. Added")
    assert browser.post("/tools/draft/", {"tool": [f"t{number}" for number in range(201)]}).status_code == 400


def test_anothers_policy_takes_no_drafts(acme, rival, browser):
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER))
    answer = browser.post("/tools/draft/", {"tool": ["a"], "policy": theirs.pk, "save": "yes"})
    assert answer.status_code == 422
    assert "There is no such policy." in answer.content.decode()


# --- Shadow report ----------------------------------------------------------------------------------------------------
def test_the_report_leads_to_events_and_to_going_live(acme, browser, policy):
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.policies.filter(pk=policy.pk).update(shadow_mode=True)
    event = EventFactory(
        workspace=acme.workspace, policy_id=policy.pk, shadow=True, verdict="audit", tool_name="shell.exec", reason="[shadow] would deny — no rule matched"
    )

    assert f"/policies/{policy.pk}/shadow/" in page(browser.get(f"/policies/{policy.pk}/"))
    shown = page(browser.get(f"/policies/{policy.pk}/shadow/"))
    assert f"/events/{event.pk}/" in shown
    assert "/runs/1/run-1/" in shown
    assert ">Start blocking<" in shown
    assert shown.count('<td class="only-s full small">1 denied</td>') == 3, "narrow tables say it in words"
    browser.post(f"/policies/{policy.pk}/set/", {"shadow_mode": "off"})

    after = page(browser.get(f"/policies/{policy.pk}/shadow/"))
    assert "It is not any more." in after
    assert ">Start blocking<" not in after


def test_an_empty_report_says_so(browser, policy):
    assert "Nothing would have been stopped" in page(browser.get(f"/policies/{policy.pk}/shadow/?days=1"))
    assert browser.get(f"/policies/{policy.pk}/shadow/?days=x").status_code == 400
