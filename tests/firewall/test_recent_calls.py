"""Recent calls in the Test box: what an event keeps of a call, to be judged again by any policy, saved or not."""

import json

import pytest
from psycopg.types.json import Json

from firewall.engine.summary import summarise
from tests.factories.firewall import EventFactory, make_policy
from tests.firewall.pages import HTMX, page
from workspaces import tenancy
from workspaces.permissions import Role


def call(acme, arguments=None, **fields):
    kept = summarise(arguments) if arguments is not None else None
    return EventFactory(workspace=acme.workspace, args_summary=kept and kept.text, args_hash=kept and kept.digest, **fields)


def field(shown, name):
    return shown.partition(f'name="{name}"')[2].partition(">")[2].partition("</textarea>")[0].strip()


def test_a_recent_call_fills_the_fields_and_nothing_is_kept_of_the_trial(acme, browser, policy):
    made = call(acme, '{"sql": "drop table \\u00e9\\ud800", "rows": [1]}', tool_name="db.query", surface="mcp", skill_name="community.db", policy_id=policy.pk)

    listed = page(browser.get("/test/recent/", {"policy": policy.pk}, headers=HTMX))
    filled = page(browser.get("/test/recent/", {"event": made.pk}, headers=HTMX))
    whole = page(browser.get("/test/", {"event": made.pk, "policy": policy.pk}))

    assert "<dialog" in listed
    assert "that this policy judged" in listed
    assert "on mcp by research" in listed
    assert "<html" not in filled
    for shown in (filled, whole):
        assert '<option value="mcp" selected>' in shown
        assert 'name="try_tool" value="db.query"' in shown
        assert 'name="try_skill" value="community.db"' in shown
        assert json.loads(field(shown, "try_arguments").replace("&quot;", '"')) == {"sql": "drop table \u00e9\ud800", "rows": [1]}
    assert f'<option value="{policy.pk}" selected>' in whole
    assert 'hx-trigger="load"' in filled
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.events.count() == 1


SECRET = "AKIA" + "ABCDEFGHIJKLMNOP"


@pytest.mark.parametrize(
    ("arguments", "fields", "text", "said"),
    [
        ('{"id": 7}', {}, '"id": 7', ""),
        (json.dumps({"key": SECRET}), {}, "[redacted:aws_access_key]", "Secrets in its arguments are not kept"),
        (json.dumps({"text": "x" * 3000}), {}, "", "longer than what is kept"),
        ("{not json", {}, "{not json", ""),
        ('{"to": "a@b.example"}', {"verdict": "sanitize"}, "a@b.example", "after the rule took out"),
        (None, {}, "", "are not kept."),
        (None, {"source": "evaluate"}, "", ""),
        (None, {"surface": "inbound"}, "", ""),
    ],
)
def test_only_arguments_that_are_kept_are_filled_in_and_what_is_missing_is_said(acme, browser, arguments, fields, text, said):
    made = call(acme, arguments, **fields)

    filled = page(browser.get("/test/recent/", {"event": made.pk}, headers=HTMX))

    typed = field(filled, "try_arguments").replace("&quot;", '"')
    assert text in typed
    assert bool(typed) is bool(text)
    assert SECRET not in filled
    assert (said in filled) if said else ("try-missing" not in filled)


def test_what_the_run_had_cost_is_filled_in_too(acme, browser):
    made = call(acme, "{}", judged_on=Json({"run": [3, 2_500_000, 250_000, None, 4, 0]}))

    filled = page(browser.get("/test/recent/", {"event": made.pk}, headers=HTMX))

    for name, value in (("spent", "2.75"), ("estimate", "unknown"), ("runs", "4")):
        assert f'name="try_{name}" value="{value}"' in filled


def test_a_call_is_offered_once_and_the_list_has_an_end(acme, browser, policy):
    own = {"policy_id": policy.pk}
    for number in range(25):
        call(acme, f'{{"n": {number}}}', tool_name=f"kb.t{number}", **own)
    for _ in range(3):
        call(acme, '{"same": 1}', tool_name="kb.same", **own)
    call(acme, "{}", tool_name="of.another")
    EventFactory(workspace=acme.workspace, tool_name=None, tools=["offered.a", "offered.b"], surface="inbound", **own)

    shown = page(browser.get("/test/recent/", {"policy": policy.pk}))
    every = page(browser.get("/test/recent/"))
    unused = make_policy(acme.workspace, acme.person(Role.OWNER), name="unused")

    assert "<html" in shown
    assert (shown.count("kb.same"), shown.count("?event=") // 2) == (1, 20)
    assert "of.another" not in shown
    assert "offered.a" not in every
    assert "of.another" in every
    assert "has judged none lately" in page(browser.get("/test/recent/", {"policy": unused.pk}))


def test_what_is_said_about_a_call_does_not_stand_for_it(acme, browser, policy):
    made = call(acme, '{"id": 7}', tool_name="db.query", verdict="allow", policy_id=policy.pk)
    for code in ("sequence", "approval_approved"):
        call(acme, '{"id": 7}', tool_name="db.query", verdict="audit", reason_code=code, policy_id=policy.pk)

    listed = page(browser.get("/test/recent/", {"policy": policy.pk}, headers=HTMX))

    assert str(made.pk) in listed
    assert listed.count("db.query") == 1


def test_another_workspaces_calls_are_missing_and_members_take_none(acme, rival, browser):
    theirs = call(rival, '{"theirs": 1}', tool_name="their.tool")

    assert browser.get("/test/recent/", {"event": theirs.pk}).status_code == 404
    assert browser.get("/test/recent/", {"event": "7"}).status_code == 400
    assert browser.get("/test/recent/", {"policy": "x"}).status_code == 400
    empty = page(browser.get("/test/recent/"))
    assert "their.tool" not in empty
    assert "No call has been made yet" in empty
    assert acme.client(Role.MEMBER).get("/test/recent/").status_code == 403
