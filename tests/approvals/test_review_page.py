"""The queue and a hold as their pages tell of them."""

import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import review_selectors, services
from approvals.console import holds
from approvals.engine.binding import State
from tests.factories.activity import UsageFactory
from tests.factories.approvals import make_hold, make_holding_policy
from tests.factories.firewall import EventFactory
from workspaces import tenancy
from workspaces.permissions import Role

PAGE = "/approvals/"


@pytest.fixture
def policy(acme):
    return make_holding_policy(acme)


def shown(tenant, path=PAGE, role=Role.DEVELOPER, **headers) -> str:
    answer = tenant.client(role).get(path, headers=headers)
    assert answer.status_code == 200, answer.content
    return re.sub(r"\s+", " ", answer.content.decode())


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def panel(tenant, hold, role=Role.DEVELOPER) -> str:
    return words(shown(tenant, f"{PAGE}{hold.pk}/", role, **{"HX-Request": "true"}))


def decide(tenant, hold, decision, role, **more) -> str:
    answer = tenant.client(role).post(f"{PAGE}{hold.pk}/decide/", {"decision": decision} | more, headers={"HX-Request": "true"})
    return words(answer.content.decode())


def approved(tenant, hold) -> None:
    with tenancy.scope(tenant.workspace.pk):
        services.resolve(hold, decision=State.APPROVED, by=tenant.person(Role.ADMIN))


def test_a_call_is_told_beside_the_last_approved_one_and_what_is_usual(acme, policy):
    for amount in (62, 940, 310):
        approved(acme, make_hold(policy, arguments=json.dumps({"amount": amount, "to": "kestrel", "auth": {"password": "[redacted]"}})))
    hold = make_hold(policy, arguments=json.dumps({"amount": 4180, "to": "marlow", "auth": {"password": "[redacted]"}, "note": "one\ntwo\u202e"}))
    told = panel(acme, hold)
    assert "amount 310 4180 13 times as much 62 to 940 in 3 calls" in told
    assert "to kestrel marlow Never used before 1 other value in 3 calls" in told
    assert "auth.password [redacted] [redacted] Hidden, so not compared" in told
    assert "U+202E" in told
    assert "3 approved, 0 rejected in 30 days" in told
    assert "The rule a person decides of" in told
    assert "holds it: Any tool whose name begins with payments. is held until a person approves it when it is called." in told
    assert "within 15 min" in told


def test_every_field_can_be_seen_or_is_counted(acme, policy):
    hold = make_hold(policy, arguments=json.dumps({f"f{n}": n for n in range(230)}))
    assert "30 more fields: see them as JSON" in panel(acme, hold)
    assert "It has no arguments." in panel(acme, make_hold(policy, arguments="{}"))
    assert "Not one JSON object with unique names." in panel(acme, make_hold(policy, arguments='{"a": 1, "a": 2}'))
    assert "Too long to be shown whole." in panel(acme, make_hold(policy, arguments='"' + "x" * 300_000))


def test_a_line_of_the_queue_does_not_open_what_is_long(acme, policy):
    make_hold(policy, arguments=json.dumps({"body": "x" * 40_000}))
    make_hold(policy, arguments="{}")
    make_hold(policy, arguments='{"amount": 5, "to": "marlow", "n": 1, "more": 2}')
    queue = words(shown(acme))
    assert "arguments of 39 kB" in queue
    assert "no arguments" in queue
    assert "amount 5, to marlow, n 1 " in queue


@pytest.mark.parametrize(
    ("fields", "effect"),
    [
        ({"surface": "inbound", "source": "relay"}, "exactly this request may go to the model with this tool on offer, once, within 15 min"),
        ({"surface": "response", "source": "relay"}, "the agent gets the answer that was kept, and the model is not asked again"),
        ({"surface": "mcp", "source": "evaluate"}, "Approved, the agent may make exactly this call, once, within 15 min."),
    ],
)
def test_what_approving_does_is_said_in_words(acme, policy, fields, effect):
    hold = make_hold(policy)
    for name, value in fields.items():
        setattr(hold, name, value)
    assert effect in " ".join(holds.effect(hold, use_seconds=900))
    assert "within 1 min 30 s" in holds.effect(hold, use_seconds=90)[0]
    assert "within 24 h" in holds.effect(hold, use_seconds=86_400)[0]
    assert "within 10 s" in holds.effect(hold, use_seconds=10)[0]


def test_others_alike_are_told_with_all_in_which_they_differ(acme, policy):
    hold = make_hold(policy, arguments='{"amount": 1, "to": "a", "secret": "[redacted]"}')
    make_hold(policy, arguments='{"amount": 2, "to": "a", "secret": "[redacted]", "cc": "x"}')
    make_hold(policy, arguments='{"amount": 1, "secret": "[redacted]"}')
    # What the gateway hashes is the true value, of which two may be redacted to the same.
    with tenancy.scope(acme.workspace.pk):
        hidden = make_hold(policy, arguments='{"amount": 1, "to": "a", "secret": "other"}')
        hidden.arguments_sealed = services.vault.seal(
            '{"amount": 1, "to": "a", "secret": "[redacted]"}', workspace_id=acme.workspace.pk, purpose=services.selectors.arguments_seal(hidden.pk)
        )
        hidden.save(update_fields=["arguments_sealed"])
    told = panel(acme, hold)
    assert "3 more like it" in told
    assert "amount 2 cc x" in told
    assert "without to" in told
    assert "differs in what is hidden" in told
    assert "None" not in told


def test_the_run_so_far_leaves_out_what_was_merely_offered_and_tells_unknown_cost(acme, policy):
    of_run = {"workspace": acme.workspace, "key_id": 7, "agent_run_id": "run-1"}
    with tenancy.scope(acme.workspace.pk):
        EventFactory(**of_run, surface="inbound", verdict="audit", tool_name="merely.offered")
        EventFactory(**of_run, surface="inbound", verdict="deny", tool_name="never.offered")
        EventFactory(**of_run, surface="response", verdict="allow", tool_name="web.search", args_summary='{"query": "marlow"}')
        UsageFactory(**of_run, cost_micro_usd=120_000)
        UsageFactory(**of_run, cost_micro_usd=None)
        UsageFactory(**of_run, cost_micro_usd=0, usage_source="none")
    told = panel(acme, make_hold(policy))
    assert "merely.offered" not in told
    assert "never.offered" in told
    assert "web.search {&quot;query&quot;: &quot;marlow&quot;}" in told
    assert "2 model calls so far, $0.12 and 1 without a known price." in told
    assert "No model was asked in this run so far, so it has cost nothing." in panel(acme, make_hold(policy, run="run-2", arguments="{}"))


def test_the_slower_reviewer_is_told_who_was_faster_whatever_they_wanted(acme, policy):
    hold = make_hold(policy)
    assert "The call may run once." in decide(acme, hold, "approved", Role.ADMIN, reason="seen")
    faster = f"{acme.person(Role.ADMIN).email} was faster: approved at "
    for decision in ("approved", "rejected"):
        told = decide(acme, hold, decision, Role.DEVELOPER)
        assert faster in told
        assert "The call may run once." not in told
        assert "will not run" not in told
    assert "The call may run once." in decide(acme, hold, "approved", Role.ADMIN)


def test_a_page_that_shows_a_hold_learns_what_has_become_of_it(acme, policy):
    hold = make_hold(policy)
    look = f"{PAGE}?part=queue&state=pending&hold={hold.pk}"
    assert "data-gone" not in shown(acme, look, **{"HX-Request": "true"})
    approved(acme, hold)
    assert f"{acme.person(Role.ADMIN).email} has decided about this hold: approved at " in shown(acme, look, **{"HX-Request": "true"})
    over = make_hold(policy, arguments='{"n": 1}')
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.approvals.filter(pk=over.pk).update(expires_at=timezone.now())
    assert "nobody decided in time" in shown(acme, f"{PAGE}?part=queue&hold={over.pk}", **{"HX-Request": "true"})
    assert "Nobody decided in time: the call did not run." in panel(acme, over)


def test_more_holds_than_a_page_shows_can_all_be_reached(acme, policy):
    made = [make_hold(policy, arguments=f'{{"n": {n}}}', run=f"run-{n % 3}").pk for n in range(holds.SHOWN + 2)]
    seen, path = [], PAGE
    while path:
        page = shown(acme, path)
        seen += re.findall(r'<li data-id="([0-9a-f]{24})"', page)
        onward = re.search(r'href="(\?[^"]+)" rel="next"', page)
        path = PAGE + onward[1].replace("&amp;", "&") if onward else ""
    assert seen == made
    assert 'rel="prev"' in page
    assert "data-queue" in shown(acme, f"{PAGE}?state=rejected")
    assert acme.client(Role.DEVELOPER).get(f"{PAGE}?cursor=Zm5vbnNlbnNl").status_code == 400


def test_a_list_of_what_is_over_says_who_decided_and_what_became_of_it(acme, policy):
    admin = acme.person(Role.ADMIN).email
    used, unused = (make_hold(policy, arguments=f'{{"n": {n}}}') for n in range(2))
    for hold in (used, unused):
        approved(acme, hold)
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.approvals.filter(pk=used.pk).update(state=State.CONSUMED, consumed_at=timezone.now())
        acme.workspace.approvals.filter(pk=unused.pk).update(state=State.EXPIRED)
    assert re.search(rf"used n 0 agent · approved by {re.escape(admin)}, used 0 s ago", words(shown(acme, f"{PAGE}?state=consumed")))
    assert f"expired n 1 agent · approved by {admin}, not used in time" in words(shown(acme, f"{PAGE}?state=expired"))


def test_the_queue_asks_the_database_as_often_for_many_holds_as_for_one(acme, policy):
    client = acme.client(Role.DEVELOPER)
    make_hold(policy, arguments='{"n": 0}')
    # The first request of a session also keeps its workspace.
    client.get(PAGE)
    with CaptureQueriesContext(connection) as one:
        client.get(f"{PAGE}?part=queue", headers={"HX-Request": "true"})
    for n in range(1, 6):
        make_hold(policy, arguments=f'{{"n": {n}}}')
    with CaptureQueriesContext(connection) as many:
        client.get(f"{PAGE}?part=queue", headers={"HX-Request": "true"})
    assert len(many) == len(one)


def test_the_menu_counts_open_holds_for_those_who_may_decide(acme, rival, policy):
    for n in range(3):
        make_hold(policy, arguments=f'{{"n": {n}}}')
    counted = r'<span class="count" id="menu-count">3<span class="visually-hidden"> open'
    assert counted in shown(acme, "/policies/")
    assert "menu-count" not in shown(acme, "/policies/", Role.MEMBER)
    assert '<span class="count" id="menu-count" hidden>0<' in shown(rival, "/policies/")


@pytest.mark.parametrize(("role", "path"), [(Role.MEMBER, "/policies/"), (Role.DEVELOPER, f"{PAGE}?part=queue")])
def test_a_count_that_is_not_shown_costs_no_query(acme, policy, role, path):
    client, made = acme.client(role), make_hold(policy)
    with CaptureQueriesContext(connection) as asked:
        client.get(path, headers={"HX-Request": "true"} if "part" in path else {})
    counts = [each["sql"] for each in asked if "COUNT(" in each["sql"] and "approvals_approval" in each["sql"]]
    # The queue's own figure, asked for once.
    assert len(counts) == ("part" in path)
    assert review_selectors.open_count(acme.workspace) == 1, made
