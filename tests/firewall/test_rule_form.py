"""A rule in its form: destinations, sequences, and the same rule as JSON beside the fields."""

import json

import pytest
from django.http import QueryDict
from django.utils import timezone

from firewall import step_rows
from firewall.console.words import rule_in_words
from firewall.rule_form import RuleForm, rule_as_json
from firewall.services import whole_rule
from tests.factories.firewall import EventFactory, record
from tests.firewall.pages import HTMX, RULE, fresh, page
from workspaces import tenancy


def test_a_rule_is_written_with_lists_of_destinations(browser, policy):
    address = f"/policies/{policy.pk}/rules/"
    typed = RULE | {"tool_name_glob": "", "stage": "egress", "verdict": "deny", "priority": "30"}

    wrong = page(browser.post(address, typed | {"egress_deny": "10.0.0.0/8\r\n*.example.com"}, headers=HTMX), 422)
    aside = page(browser.post(address, typed | {"egress_allow": "api.example.com"}, headers=HTMX), 422)
    shown = page(browser.post(address, typed | {"egress_deny": " 10.0.0.0/8\r\n\r\nmetadata.google.internal", "egress_allow": "10.0.0.7"}, follow=True))

    assert "“*.example.com”: A host (no wildcard)" in wrong
    assert 'id="rule-egress_deny-error"' in aside, "what the verdict needs is said where it is to be typed"
    rule = fresh(policy).in_order[-1]
    assert rule.egress == {"allow": ["10.0.0.7"], "deny": ["10.0.0.0/8", "metadata.google.internal"]}
    assert "it goes to <code>10.0.0.0/8</code> or <code>metadata.google.internal</code> but not to <code>10.0.0.7</code>" in shown
    assert "10.0.0.0/8\nmetadata.google.internal</textarea>" in page(browser.get(f"/policies/{policy.pk}/", {"edit": rule.pk}))


STEPS = {"step_match": ["db.*", "", ""], "step_count": ["3", "1", "1"], "step_where": ["", "egress", ""], "window": "5m", "enforce": "inline"}


def test_a_sequence_is_typed_in_steps():
    data = QueryDict(mutable=True)
    for name, value in (RULE | {"verdict": "deny"} | STEPS).items():
        data.setlist(name, value if isinstance(value, list) else [value])
    form = RuleForm(data)
    form.is_valid()

    chain = form.fields_of_rule["sequence"]

    steps = [{"match": "db.*", "min_count": 3, "egress": False}, {"match": "", "min_count": 1, "egress": True}]
    assert chain == {"window_seconds": 300, "steps": steps, "enforce": "inline"}
    said = rule_in_words(form.fields_of_rule)
    assert "if with it the run has made <code>db.*</code> ×3, then any tool reaching out, all within 5 min." in said
    again = RuleForm.of(whole_rule(form.fields_of_rule), version=1)
    assert [row.as_json() for row in again.steps] == steps
    assert again["window"].initial == "5m"


def test_a_step_of_any_tool_is_no_blank_row():
    steps = [{"match": "", "min_count": 1, "egress": False}, {"match": "", "min_count": 3, "egress": True}, {"match": "a.*", "min_count": 2, "egress": False}]
    fields = {"verdict": "deny", "priority": 1, "sequence": {"window_seconds": 0, "steps": steps, "enforce": "inline"}}
    rows = step_rows.rows_of(fields["sequence"])
    data = QueryDict(mutable=True)
    for name, value in (RULE | {"verdict": "deny", "enforce": "inline"} | step_rows.columns(rows)).items():
        data.setlist(name, value if isinstance(value, list) else [value])
    form = RuleForm(data)

    assert form.is_valid(), form.errors
    assert [step["match"] for step in form.fields_of_rule["sequence"]["steps"]] == ["*", "", "a.*"]


def test_a_wrong_step_is_told_beside_it(browser, policy):
    wrong = RULE | STEPS | {"step_match": ["db.*", "a b", ""], "step_count": ["many", "1", "1"], "window": "soon"}

    window = page(browser.post(f"/policies/{policy.pk}/rules/", wrong, headers=HTMX), 422)
    more = page(browser.post(f"/policies/{policy.pk}/rules/", wrong | {"rows": "step-add"}, headers=HTMX))
    less = page(browser.post(f"/policies/{policy.pk}/rules/", wrong | {"rows": "step-remove-1"}, headers=HTMX))

    assert "A time such as 90s, 5m, 2h or 1d" in window
    assert (more.count('name="step_match"'), less.count('name="step_match"')) == (4, 2)


def test_the_policys_limit_of_runs_is_a_field(browser, policy):
    refused = page(browser.post(f"/policies/{policy.pk}/", {"name": "agents", "default_verdict": "deny", "max_runs_per_key_per_hour": "0"}, headers=HTMX), 422)
    assert 'id="id_max_runs_per_key_per_hour-error"' in refused


# --- The rule as JSON -------------------------------------------------------------------------------------------------
def raw(**fields):
    return json.dumps({"verdict": "deny", "tool_name_glob": "db.*", **fields})


def test_json_that_is_typed_fills_the_fields(browser, policy):
    clause = {"path": "$.sql", "op": "regex", "value": "drop"}
    typed = RULE | {"raw": raw(args_match={"clauses": [clause]}, priority=70), "raw_was": "", "edit": "0", "version": "1"}

    answer = browser.post(f"/policies/{policy.pk}/rule-json/", typed, headers=HTMX)

    shown = page(answer)
    assert answer.headers["HX-Trigger"] == "rule-typed"
    assert 'value="db.*"' in shown
    assert 'name="clause_path" value="$.sql"' in shown
    assert "matches the pattern <code>drop</code>" in shown
    assert fresh(policy).version == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Not JSON yet:"),
        ("[]", "A rule is one JSON object"),
        ('{"verdict": "deny", "verdict": "allow"}', "each name once"),
        (raw(verdict="explode"), "verdict: One of"),
        (raw(args_match={"clauses": [{"path": "$.a", "op": "gt", "value": "x"}]}), "args_match.clauses.0.value"),
        (raw(colour="red"), "colour: There is no such field."),
    ],
)
def test_what_is_wrong_with_json_is_told_at_it(browser, policy, text, said):
    sent = RULE | {"raw": text, "raw_was": raw(), "edit": "0"}

    typed = browser.post(f"/policies/{policy.pk}/rule-json/", sent, headers=HTMX)
    saved = page(browser.post(f"/policies/{policy.pk}/rules/", sent, headers=HTMX), 422)

    assert said in page(typed)
    assert typed.headers["HX-Retarget"] == "#rule-raw-error"
    assert said in saved
    assert "error-summary" in saved
    assert fresh(policy).version == 1


def test_the_json_has_the_last_word_when_it_was_edited_last(browser, policy):
    own = fresh(policy).in_order[0]
    was = rule_as_json(vars(own))
    fields = RULE | {"tool_name_glob": "web.search", "raw_was": was, "version": "1"}
    address = f"/policies/{policy.pk}/rules/{own.pk}/"

    both = page(browser.post(address, fields | {"label": "typed", "raw": raw()}, headers=HTMX), 422)
    moved = page(browser.post(address, fields | {"raw": raw(), "rows": "from-json"}))
    browser.post(address, fields | {"raw": raw(label="By JSON")})

    assert "The fields and the JSON were both changed" in both
    assert 'value="db.*"' in moved, "without scripts a button fills the fields"
    rule = next(rule for rule in fresh(policy).in_order if rule.pk == own.pk)
    assert (rule.label, rule.tool_name_glob, rule.verdict) == ("By JSON", "db.*", "deny")


def test_remarks_come_as_the_rule_is_typed(browser, policy):
    address = f"/policies/{policy.pk}/rule-words/"

    unreached = page(browser.post(address, RULE | {"tool_name_glob": "shell.exec", "priority": "30", "edit": "0"}, headers=HTMX))
    shadowing = page(browser.post(address, RULE | {"tool_name_glob": "*", "verdict": "deny", "priority": "5", "edit": "0"}, headers=HTMX))

    assert "Never reached: “No shell” (priority 20) decides before it" in unreached
    assert "With it, No shell: Never reached: “the unsaved rule” (priority 5)" in shadowing
    assert "Globs are case-sensitive" in page(browser.post(address, RULE | {"verdict": "deny", "edit": "0"}, headers=HTMX))


# --- What the list says ----------------------------------------------------------------------------------------------
def test_rules_show_how_often_they_decided(acme, browser, policy):
    search, _ = fresh(policy).in_order
    for _ in range(3):
        EventFactory(workspace=acme.workspace, policy_id=policy.pk, rule_id=search.pk)
    EventFactory(workspace=acme.workspace, policy_id=policy.pk)

    shown = page(browser.get(f"/policies/{policy.pk}/"))

    search, shell, default = (row.partition("</tr>")[0] for row in shown.partition("<tbody")[2].split("<tr ")[1:4])
    assert ">3<span" in search
    assert ">never<span" in shell
    assert ">1<span" in default


def test_the_list_of_policies_tells_every_warning(browser, policy):
    browser.post(f"/policies/{policy.pk}/rules/", RULE | {"tool_name_glob": "shell.exec", "priority": "30", "label": "Unreached"})

    shown = page(browser.get("/policies/"))

    assert "1 warning" in shown
    assert "agents, priority 30, Unreached:</b> Never reached: “No shell” (priority 20)" in shown


def test_what_was_seen_of_a_tool_is_suggested_however_much_came_after(acme, browser, policy):
    now = timezone.now()
    EventFactory(workspace=acme.workspace, tool_name="payments__transfer", args_summary='{"amount_usd": 900}')
    EventFactory(workspace=acme.workspace, tool_name="payments__refund", args_summary='{"order": "A-7"}')
    record(*EventFactory.build_batch(500, workspace=acme.workspace, args_summary='{"query": "whales"}'))
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.tool_days.create(day=now.date(), tool_name="payments.void", surface="response", key_id=1, calls=1, first_seen_at=now, last_seen_at=now)

    told = page(browser.post(f"/policies/{policy.pk}/rule-words/", RULE | {"tool_name_glob": "payments.*", "verdict": "deny"}, headers=HTMX))

    assert "<code>payments.void</code>, <code>payments__refund</code>, <code>payments__transfer</code>" in told
    assert [path in told for path in ('value="add:$.amount_usd"', 'value="add:$.order"', 'value="add:$.query"')] == [True, True, False]
