"""The firewall's pages, as a browser without scripts meets them; and the fragments that htmx asks for."""

import json
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from firewall.console.edits import typed_rule
from firewall.engine.validate import problems
from firewall.models import Policy, RuleVerdict, Stage
from tests.factories.firewall import EventFactory, make_policy
from tests.firewall.pages import HTMX, RULE, fresh, page
from workspaces import tenancy
from workspaces.permissions import Role

NOW = datetime.now(UTC)


def in_force(policy):
    """Make the policy judge calls: what loosens it is asked about from then on."""
    with tenancy.scope(policy.workspace_id):
        policy.workspace.policies.filter(pk=policy.pk).update(is_default=True)


# --- Policies ---------------------------------------------------------------------------------------------------------
def test_a_policy_is_made_ruled_and_read_back(acme, browser):
    assert "No policy yet" in page(browser.get("/policies/"))

    made = browser.post("/policies/new/", {"name": "research", "default_verdict": "deny", "block_notice": "on"}, follow=True)
    address = made.redirect_chain[-1][0]
    browser.post(address + "rules/", RULE)
    shown = page(browser.post(address + "rules/", RULE | {"tool_name_glob": "*.read", "priority": "20"}, follow=True))

    assert "version 3" in shown
    assert shown.index("<code>kb.*</code>") < shown.index("<code>*.read</code>")
    assert " wide</span>" in shown, "a suffix that allows is wide"
    assert "research" in page(browser.get("/policies/"))


def test_a_refused_form_comes_back_with_what_was_typed(browser, policy):
    made = browser.post("/policies/new/", {"name": "agents", "default_verdict": "deny"})
    ruled = browser.post(f"/policies/{policy.pk}/rules/", RULE | {"tool_name_glob": "a\tb", "label": "mine"}, headers=HTMX)

    assert escape("There is a policy named agents already.") in page(made, 422)
    assert "mine" in page(ruled, 422)
    assert "Without control characters." in page(ruled, 422)


def test_a_rule_that_cannot_be_opens_no_form(browser, policy):
    for wanted in ("9" * 5000, "²", "-1"):
        page(browser.get(f"/policies/{policy.pk}/", {"edit": wanted}))


def test_rules_move_by_buttons_and_by_order(browser, policy):
    first, second = fresh(policy).in_order

    browser.post(f"/policies/{policy.pk}/rules/order/", {"up": second.pk})
    assert [rule.pk for rule in fresh(policy).in_order] == [second.pk, first.pk]
    browser.post(f"/policies/{policy.pk}/rules/order/", {"order": [first.pk, second.pk]})
    assert [rule.pk for rule in fresh(policy).in_order] == [first.pk, second.pk]
    assert policy.version == 3


def test_a_rule_is_told_in_words_as_it_is_typed(acme, browser, policy):
    EventFactory(workspace=acme.workspace, tool_name="kb__read")
    address = f"/policies/{policy.pk}/rule-words/"

    words = page(browser.post(address, {"tool_name_glob": "kb.*", "stage": "response", "verdict": "deny"}, headers=HTMX))
    literal = page(browser.post(address, {"tool_name_glob": "kb*", "stage": "", "verdict": "allow"}, headers=HTMX))

    assert "begins with <code>kb.</code> is stopped when the model calls it" in words
    assert "<code>kb__read</code>" in words
    assert "Did you mean" in literal


def clauses(*rows):
    return {f"clause_{name}": [row[place] for row in rows] for place, name in enumerate(("path", "op", "value"))}


def test_a_rule_is_written_with_clauses(browser, policy):
    typed = clauses(("$.amount", "gt", "500"), ("$.to", "in", 'anna\r\n"7"\r\n7'), ("$.cmd", "shell_destructive", ""))

    shown = page(browser.post(f"/policies/{policy.pk}/rules/", RULE | {"priority": "30", "verdict": "deny"} | typed, follow=True))

    rule = fresh(policy).in_order[-1]
    assert [clause["value"] for clause in rule.args_match["clauses"]] == [500, ["anna", "7", 7], True]
    assert "<code>$.amount</code> is more than <code>500</code>" in shown
    assert "<code>$.to</code> is one of <code>anna</code>, <code>&quot;7&quot;</code> or <code>7</code>" in shown
    assert "is a command that destroys something" in shown
    opened = page(browser.get(f"/policies/{policy.pk}/", {"edit": rule.pk}))
    assert "anna\n&quot;7&quot;\n7</textarea>" in opened, "typed again as it is, it means the same"


def test_a_typed_rule_keeps_what_its_form_does_not_show(policy):
    rule = fresh(policy).in_order[1]
    rule.egress = {"allow": [], "deny": ["evil.example"]}

    typed = typed_rule(policy, {"verdict": "deny", "sanitize": None}, over=rule)

    assert (typed.pk, typed.egress, typed.label) == (rule.pk, rule.egress, "No shell")


@pytest.mark.parametrize(
    ("typed", "cents"), [("10", 1000), ("$2.5", 250), ("1,500.25", 150_025), ("1,000,001", None), ("1,5", None), ("1,50", None), ("1.500,25", None)]
)
def test_a_comma_that_may_part_cents_is_refused(browser, policy, typed, cents):
    sent = RULE | {"verdict": "cap_cost", "cap": typed}
    answer = browser.post(f"/policies/{policy.pk}/rules/", sent, headers=HTMX)
    if cents is None:
        page(answer, 422)
        assert fresh(policy).version == 1
    else:
        page(answer)
        assert [rule.cap_cost_cents for rule in fresh(policy).in_order if rule.verdict == "cap_cost"] == [cents]


def test_a_clause_that_was_sent_in_part_is_refused_and_not_left_out(browser, policy):
    sent = RULE | {"clause_path": ["$.a", "$.b"], "clause_op": ["eq"], "clause_value": ["1"]}
    assert 'id="clause-2-error">One of eq, contains' in page(browser.post(f"/policies/{policy.pk}/rules/", sent, headers=HTMX), 422)
    assert fresh(policy).version == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"clause_path": ["$.a", " "], "clause_op": ["eq", "shell_destructive"], "clause_value": ["1", ""]}, 'id="clause-2-error">Fill it in, or remove it.'),
        ({"step_match": [""], "step_count": ["3"], "step_where": [""]}, 'id="step-1-error">Fill it in, or remove it.'),
    ],
)
def test_a_row_that_nobody_filled_in_is_told_and_not_left_out(browser, policy, rows, said):
    assert said in page(browser.post(f"/policies/{policy.pk}/rules/", RULE | rows, headers=HTMX), 422)
    assert fresh(policy).version == 1


def test_a_wrong_clause_is_told_beside_it(browser, policy):
    typed = clauses(("$.a", "eq", "1"), ("$.b", "gt", "many"), ("$[*]", "regex", "("))

    refused = page(browser.post(f"/policies/{policy.pk}/rules/", RULE | typed, headers=HTMX), 422)

    assert 'id="clause-2-error">gt takes a number.' in refused
    assert 'id="clause-3-error">A path is $' in refused
    assert "clause-1-error" not in refused
    assert fresh(policy).version == 1
    both = page(browser.post(f"/policies/{policy.pk}/rules/", RULE | typed | {"priority": "-3", "verdict": "cap_cost", "cap": "ten"}, headers=HTMX), 422)
    assert all(said in both for said in ("greater than or equal to 0", "Dollars and cents", 'id="clause-2-error">gt takes a number.')), "all at once"
    assert both.count("Dollars and cents") == 1
    assert "cap_cost_cents" not in both


def test_rows_of_clauses_come_and_go_and_nothing_is_saved(browser, policy):
    typed = RULE | {"label": "mine", "notes": "x" * 3000} | clauses(("$.a", "eq", "1"), ("$.b", "eq", "2"))

    more = page(browser.post(f"/policies/{policy.pk}/rules/", typed | {"rows": "add"}))
    less = page(browser.post(f"/policies/{policy.pk}/rules/", typed | {"rows": "remove-0"}, headers=HTMX))

    assert more.count('name="clause_path"') == 3
    assert "mine" in more
    assert "error-summary" not in more, "nothing is judged before it is sent to be saved"
    assert less.count('name="clause_path"') == 1
    assert 'value="$.b"' in less
    assert fresh(policy).version == 1


def test_a_rule_that_sanitizes_and_one_that_caps(browser, policy):
    address = f"/policies/{policy.pk}/rules/"
    empty = page(browser.post(address, RULE | {"verdict": "sanitize"}, headers=HTMX), 422)
    wrong = page(browser.post(address, RULE | {"verdict": "sanitize", "custom": "ok\r\n("}, headers=HTMX), 422)
    dear = page(browser.post(address, RULE | {"verdict": "cap_cost", "cap": "ten"}, headers=HTMX), 422)

    browser.post(address, RULE | {"verdict": "sanitize", "presets": ["email", "ssn_us"], "custom": "ACME-[0-9]+\r\n\r\nx+", "cap": "ten"})
    shown = page(browser.post(address, RULE | {"verdict": "cap_cost", "cap": "$1,234.5", "presets": ["email"], "priority": "40"}, follow=True))

    assert "needs at least one preset or pattern" in empty
    assert "“(”:" in wrong
    assert "Dollars and cents" in dear
    cleaning, cap = (next(rule for rule in fresh(policy).in_order if rule.verdict == verdict) for verdict in ("sanitize", "cap_cost"))
    assert cleaning.sanitize == {"presets": ["email", "ssn_us"], "custom": ["ACME-[0-9]+", "x+"]}
    assert (cap.cap_cost_cents, cap.sanitize) == (123450, None)
    assert "redact <code>email</code>, <code>ssn_us</code> and what 2 patterns of its own find" in shown
    assert "the run would cost more than <code>$1,234.50</code>" in shown


def test_every_verdict_and_every_surface_is_offered(browser, policy):
    opened = page(browser.get(f"/policies/{policy.pk}/", {"edit": "0"}))

    for word in (*RuleVerdict.values, *Stage.values):
        assert f'<option value="{word}"' in opened, word


def test_paths_of_seen_calls_are_suggested(acme, browser, policy):
    EventFactory(workspace=acme.workspace, tool_name="kb.read", args_summary='{"id": 1, "to": [{"mail": "a"}], "a b": 1, "deep": {"er": true}}')
    EventFactory(workspace=acme.workspace, tool_name="kb.read", args_summary='{"id": 2, "cut": "')
    EventFactory(workspace=acme.workspace, tool_name="shell.exec", args_summary='{"command": "ls"}')

    words = page(browser.post(f"/policies/{policy.pk}/rule-words/", RULE, headers=HTMX))

    assert [each.partition('"')[0] for each in words.split('<option value="')[1:]] == ["$.deep.er", "$.id", "$.to[0].mail"]


def test_the_json_beside_the_form_is_what_the_api_takes(browser, policy):
    typed = RULE | {"verdict": "sanitize", "presets": ["email"]} | clauses(("$.to", "in", "anna\r\n7"))
    words = page(browser.post(f"/policies/{policy.pk}/rule-words/", typed, headers=HTMX))

    shown = json.loads(unescape(words.partition('id="rule-raw"')[2].partition(">")[2].partition("</textarea>")[0]))

    assert problems(shown) == []
    assert shown["args_match"] == {"clauses": [{"path": "$.to", "op": "in", "value": ["anna", 7]}]}
    assert shown["sanitize"] == {"presets": ["email"], "custom": []}


def test_a_rule_that_is_never_reached_says_so(browser, policy):
    shown = page(browser.post(f"/policies/{policy.pk}/rules/", RULE | {"tool_name_glob": "shell.exec", "priority": "30"}, follow=True))

    assert "Never reached: “No shell” (priority 20) decides before it" in shown


@pytest.mark.parametrize(
    ("path", "sent", "through"),
    [
        ("set/", {"shadow_mode": "on"}, "shell.*"),
        ("set/", {"enabled": "off"}, "any tool that no rule names"),
        ("set/", {"is_default": "off"}, "shell.*"),
        ("set/", {"default_verdict": "allow"}, "any tool that no rule names"),
        ("", {"name": "agents", "default_verdict": "audit", "version": "1"}, "any tool that no rule names"),
        ("rules/", RULE, "kb.*"),
        ("rules/{shell}/", RULE | {"tool_name_glob": "shell.*"}, "shell.*"),
        ("delete/", {}, "shell.*"),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_what_loosens_a_policy_in_force_is_asked_first(browser, policy, path, sent, through, headers):
    in_force(policy)
    address = f"/policies/{policy.pk}/" + path.format(shell=fresh(policy).in_order[1].pk)

    asked = browser.post(address, sent, headers=headers)
    assert through in page(asked)
    assert (asked.headers.get("HX-Retarget") == "#ask") is bool(headers)
    assert fresh(policy).version == 1, "nothing is changed by a question"

    browser.post(address, sent | {"confirmed": "yes"})
    with tenancy.scope(policy.workspace_id):
        assert not policy.workspace.policies.filter(pk=policy.pk, version=1).exists()


def test_what_loosens_nothing_is_not_asked_about(browser, policy):
    in_force(policy)
    shell = fresh(policy).in_order[1].pk

    tighter = RULE | {"tool_name_glob": "*", "verdict": "deny"}
    for path, sent in [("rules/", tighter), ("rules/order/", {"up": shell}), (f"rules/{shell}/", tighter)]:
        before = fresh(policy).version
        browser.post(f"/policies/{policy.pk}/{path}", sent)
        assert fresh(policy).version == before + 1


def test_a_question_says_how_often_it_was_denied(acme, browser, policy):
    in_force(policy)
    for _ in range(3):
        EventFactory(workspace=acme.workspace, tool_name="shell.exec", verdict="deny", policy_id=policy.pk)

    asked = page(browser.post(f"/policies/{policy.pk}/set/", {"shadow_mode": "on"}))

    row = asked[asked.index("shell.exec") :]
    assert row.index(">3<") < row.index("</tr>")


def test_a_promotion_asks_what_the_old_default_would_not_let_through(browser, acme, policy):
    in_force(policy)
    loose = make_policy(acme.workspace, acme.person(Role.DEVELOPER), name="loose", default_verdict="allow")

    assert "Make loose the workspace default?" in page(browser.post(f"/policies/{loose.pk}/set/", {"is_default": "on"}))
    browser.post(f"/policies/{loose.pk}/set/", {"is_default": "on", "confirmed": "yes"})
    assert fresh(loose).is_default
    assert not fresh(policy).is_default


def test_a_member_reads_policies_and_changes_none(acme, policy):
    member = acme.client(Role.MEMBER)

    shown = page(member.get(f"/policies/{policy.pk}/"))
    assert "No shell" in shown
    assert "Add rule" not in shown
    for path in ("", "set/", "delete/", "rules/", "rules/order/"):
        assert member.post(f"/policies/{policy.pk}/{path}", {"shadow_mode": "on"}).status_code == 403
    assert member.get("/events/").status_code == 403
    assert fresh(policy).version == 1


def test_another_workspaces_policies_and_events_are_missing(acme, rival, browser):
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER), {"verdict": "deny"})
    event = EventFactory(workspace=rival.workspace)
    rule = fresh(theirs).in_order[0].pk

    assert browser.get(f"/policies/{theirs.pk}/").status_code == 404
    for path in ("", "set/", "delete/", "rules/", "rules/order/", f"rules/{rule}/", f"rules/{rule}/delete/"):
        assert browser.post(f"/policies/{theirs.pk}/{path}", RULE).status_code == 404
    assert browser.get(f"/events/{event.pk}/").status_code == 404
    assert str(event.pk) not in page(browser.get("/events/"))


# --- Events -----------------------------------------------------------------------------------------------------------
def test_a_grouped_event_has_a_line_for_each_tool_that_is_meant(acme, browser):
    event = EventFactory(workspace=acme.workspace, surface="inbound", tool_name=None, tools=["web.search", "kb.read", "kb.write"])

    whole, some = page(browser.get("/events/")), page(browser.get("/events/?tool_name=kb.*"))

    assert [f'data-id="{event.pk}{end}"' in whole for end in ("", ".1", ".2", ".3")] == [True, True, True, False]
    assert [f'data-id="{event.pk}{end}"' in some for end in ("", ".1", ".2")] == [False, True, True]
    assert "kb.write" in page(browser.get(f"/events/{event.pk}/2/", headers=HTMX))
    assert browser.get(f"/events/{event.pk}/3/").status_code == 404


def test_a_request_with_hundreds_of_tools_does_not_fill_the_page(acme, browser):
    EventFactory(workspace=acme.workspace, surface="inbound", tool_name=None, tools=[f"t.{number}" for number in range(512)])

    shown = page(browser.get("/events/"))

    assert shown.count("data-id=") == 12
    assert "and 500 more" in shown


def test_a_row_opens_beside_the_list_and_alone(acme, browser, policy):
    rule = fresh(policy).in_order[1]
    event = EventFactory(
        workspace=acme.workspace, tool_name="shell.exec", verdict="deny",
        reason='matched shell.* (rule "No shell")', policy_id=policy.pk, policy_name="agents",
        policy_version=1, rule_id=rule.pk, rule_label="No shell", args_summary='{"command": "<script>rm</script>"}', args_hash="ab" * 32,
    )  # fmt: skip

    alone, beside = page(browser.get(f"/events/{event.pk}/?verdict=deny", headers=HTMX)), page(browser.get(f"/events/{event.pk}/?verdict=deny"))

    assert "<html" not in alone
    for shown in (alone, beside):
        assert "The call was taken out of the answer." in shown
        assert "still the current one" in shown
        assert "&lt;script&gt;" in shown
        assert "<script>rm" not in shown
        assert f"/policies/{policy.pk}/#rule-{rule.pk}" in shown


def test_invisible_characters_of_a_tool_are_shown(acme, browser):
    EventFactory(workspace=acme.workspace, tool_name="kb.\u202eread")

    assert "U+202E" in page(browser.get("/events/"))


def test_pages_of_the_feed_keep_their_filters(acme, browser):
    for number in range(60):
        EventFactory(workspace=acme.workspace, verdict="deny", at=NOW - timedelta(seconds=number))
    first = browser.get("/events/?verdict=deny")

    older = browser.get("/events/", {"verdict": "deny", "cursor": first.context["older"]})

    assert page(first).count("data-id=") == 50
    assert "data-feed=" in page(first)
    assert page(older).count("data-id=") == 10
    assert "data-feed=" not in page(older), "what arrives belongs on the first page"


def test_filters_that_say_nothing_usable_are_a_bad_request(browser):
    for query in ("verdict=maybe", "key_id=x", "from=yesterday", "run_id=%00", "cursor=x", "tool_name=%00"):
        assert browser.get(f"/events/?{query}").status_code == 400, query


def test_a_list_of_many_policies_comes_in_pages_by_name(acme, browser):
    with tenancy.scope(acme.workspace.pk):
        policies = Policy.objects.bulk_create(Policy(workspace=acme.workspace, name=f"p{number:03}", shadow_mode=number % 2 == 0) for number in range(120))
    names = [policy.name for policy in policies]

    def listed(**asked):
        return browser.get("/policies/", asked).context

    first = listed()
    second = listed(cursor=first["page"].older)
    third = listed(cursor=second["page"].older)
    back = listed(cursor=third["page"].newer)
    assert [[line.policy.name for line in each["lines"]] for each in (first, second, third, back)] == [names[:50], names[50:100], names[100:], names[50:100]]
    assert (first["count"], first["page"].newer, third["page"].older) == (120, "", "")
    shadow = listed(state="shadow")
    assert ([line.policy.name for line in shadow["lines"]], shadow["count"]) == (names[0:100:2], 60)
    assert [line.policy.name for line in listed(q="P11", state="not in use")["lines"]] == names[111:120:2]
    assert "No policy matches" in page(browser.get("/policies/", {"q": "elsewhere"}))
    for query in ("state=loud", "cursor=x", "cursor=ZgA"):
        assert browser.get(f"/policies/?{query}").status_code == 400, query


def test_each_policy_of_the_list_costs_no_query_of_its_own(acme, browser):
    def asked(count):
        with tenancy.scope(acme.workspace.pk):
            Policy.objects.bulk_create(Policy(workspace=acme.workspace, name=f"p{count}-{number}", shadow_mode=True) for number in range(count))
        browser.get("/policies/")
        with CaptureQueriesContext(connection) as queries:
            page(browser.get("/policies/"))
        return len(queries)

    assert asked(2) == asked(30)
