"""Discovered tools: what was seen, and whether a rule speaks of it."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import transaction

from firewall import tasks, tool_services
from firewall.selectors.matches import matches
from tests.factories.firewall import EventFactory, make_policy
from tests.factories.keys import make_key
from tests.factories.workspaces import make_tenant
from workspaces import tenancy
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/discovered-tools"


def found(tenant, **query):
    answer = tenant.client(Role.MEMBER).get(PATH, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def by_name(tenant, **query):
    return {row["tool_name"]: row for row in found(tenant, **query)}


def met(tenant, tool="web.search", **fields):
    EventFactory(workspace=tenant.workspace, tool_name=tool, **fields)


def test_tools_of_events_are_listed_alone_and_in_groups(acme):
    met(acme, "web.search")
    met(acme, "web.search", surface="inbound")
    met(acme, None, surface="inbound", tools=["kb.read", "web.search"])

    rows = by_name(acme)

    assert list(rows) == ["kb.read", "web.search"]
    search = rows["web.search"]
    assert (search["calls"], search["offers"], search["surfaces"], search["status"]) == (1, 2, ["inbound", "response"], "gap")
    assert (rows["kb.read"]["calls"], rows["kb.read"]["offers"]) == (0, 1)
    assert search["first_seen_at"] <= search["last_seen_at"]


def test_rules_about_money_runs_arguments_places_and_skills_cover_no_tool(acme):
    chain = {"steps": [{"match": "db.*"}, {"match": "*"}], "enforce": "inline"}
    rules = [{"verdict": "cap_cost", "cap_cost_cents": 5}, {"verdict": "deny", "sequence": chain}, {"verdict": "deny", "egress": {"deny": ["10.0.0.0/8"]}}]
    rules.append({"verdict": "deny", "skill_name_glob": "community.*"})
    rules.append({"verdict": "deny", "args_match": {"clauses": [{"path": "$.command", "op": "shell_destructive", "value": True}]}})
    make_policy(acme.workspace, acme.person(Role.OWNER), *rules, is_default=True)
    met(acme, "web.search")

    assert by_name(acme)["web.search"]["status"] == "gap"


def test_a_tool_is_covered_by_the_policy_in_force_for_its_keys(acme):
    owner = acme.person(Role.OWNER)
    cap = {"verdict": "allow", "tool_name_glob": "web.search", "stage": "inbound", "priority": 1}
    default = make_policy(acme.workspace, owner, cap, {"verdict": "deny", "tool_name_glob": "web.*"}, is_default=True)
    own = make_policy(acme.workspace, owner, {"verdict": "allow", "tool_name_glob": "kb.*"}, name="own")
    with_own, _ = make_key(acme, name="with-own", firewall_policy=own)
    without, _ = make_key(acme, name="without")
    met(acme, "web.search", key_id=without.pk)
    met(acme, "kb.read", key_id=with_own.pk)
    met(acme, "kb.read", key_id=without.pk)

    rows = by_name(acme)

    with tenancy.scope(acme.workspace.pk):
        deny, allow = default.rules.get(verdict="deny").pk, own.rules.get().pk
    assert (rows["web.search"]["status"], rows["web.search"]["policy_id"], rows["web.search"]["rule_id"]) == ("covered", default.pk, deny)
    assert (rows["kb.read"]["status"], rows["kb.read"]["policy_id"], rows["kb.read"]["rule_id"]) == ("gap", default.pk, None)
    assert rows["kb.read"]["keys"] == [
        {"key_id": without.pk, "name": "without", "policy_id": default.pk, "rule_id": None},
        {"key_id": with_own.pk, "name": "with-own", "policy_id": own.pk, "rule_id": allow},
    ]
    assert list(by_name(acme, status="gap")) == ["kb.read"]
    assert list(by_name(acme, surface="mcp")) == []


def test_a_rule_about_every_call_of_a_tool_is_told_before_one_about_some(acme):
    big = {"tool_name_glob": "pay.*", "verdict": "deny", "args_match": {"clauses": [{"path": "$.amount", "op": "gt", "value": 500}]}, "priority": 1}
    other = big | {"tool_name_glob": "mail.*"}
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), big, other, {"tool_name_glob": "pay.*", "verdict": "allow"}, is_default=True)
    met(acme, "pay.out")
    met(acme, "mail.send")
    with tenancy.scope(acme.workspace.pk):
        _, conditional, allow = policy.rules.all()
    assert {name: (row["status"], row["rule_id"]) for name, row in by_name(acme).items()} == {
        "mail.send": ("covered", conditional.pk),
        "pay.out": ("covered", allow.pk),
    }


def test_a_rule_for_one_surface_covers_no_other(acme):
    owner = acme.person(Role.OWNER)
    offered, on_mcp = {"verdict": "allow", "tool_name_glob": "web.search", "stage": "inbound"}, {"verdict": "allow", "tool_name_glob": "web.*", "stage": "mcp"}
    policy = make_policy(acme.workspace, owner, offered, on_mcp, is_default=True)
    for surface in ("inbound", "mcp"):
        met(acme, "web.search", surface=surface)
    met(acme, "web.fetch", surface="inbound")
    assert {name: row["status"] for name, row in by_name(acme).items()} == {"web.search": "covered", "web.fetch": "gap"}

    met(acme, "web.search", surface="response")
    assert (by_name(acme)["web.search"]["status"], by_name(acme)["web.search"]["policy_id"]) == ("gap", policy.pk)


def test_a_disabled_policy_covers_nothing(acme):
    make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "deny"}, is_default=True, enabled=False)
    met(acme)
    assert [(row["status"], row["policy_id"]) for row in found(acme)] == [("gap", None)]


def test_another_workspaces_tools_are_not_seen(acme, rival):
    met(rival, "their.tool")
    assert found(acme) == []


def test_pages_go_on_and_back(acme):
    for name in ("a", "b", "é", "d", "c"):
        met(acme, name)
    client = acme.client(Role.MEMBER)
    pages, url = [], f"{PATH}?limit=2"
    while url:
        body = client.get(url).json()
        pages.append([row["tool_name"] for row in body["results"]])
        url, back = body["next"], body["previous"]
    assert pages == [["a", "b"], ["c", "d"], ["é"]]
    body = client.get(back).json()
    assert [row["tool_name"] for row in body["results"]] == ["c", "d"]
    assert [row["tool_name"] for row in client.get(body["previous"]).json()["results"]] == ["a", "b"]


@pytest.mark.parametrize("query", ["status=open", "surface=x", "cursor=!", "cursor=eHg", "cursor=ZiVGRg", "days=3", "limit=0"])
def test_a_question_that_is_none_is_refused(acme, query):
    assert acme.client(Role.MEMBER).get(f"{PATH}?{query}").status_code == 400


# --- The sums ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def tenant(committed):
    """A workspace whose rows stay: sums are made by a task in transactions of its own."""
    return make_tenant()


def test_the_sums_change_nothing_that_is_shown(tenant):
    now = datetime.now(UTC)
    # Nobody else sees them yet: a worker that sums on its own would be there first.
    with transaction.atomic():
        for age in (timedelta(0), timedelta(minutes=5), timedelta(hours=30), timedelta(days=20), timedelta(days=31)):
            met(tenant, "web.search", at=now - age)
            met(tenant, None, tools=["kb.read", "web.search"], at=now - age)
        unsummed = found(tenant)

    tasks.sum_tools()
    tasks.sum_tools()
    summed = found(tenant)

    first = {row["tool_name"]: row.pop("first_seen_at") for row in summed}
    for row in unsummed:
        # Older events count for nothing but the first time that a tool was seen.
        assert row.pop("first_seen_at") > first[row["tool_name"]]
    assert summed == unsummed
    assert [row["calls"] for row in summed] == [4, 8]
    met(tenant, "web.search")
    assert by_name(tenant)["web.search"]["calls"] == 9


def test_what_is_said_about_a_call_is_no_call_of_its_tool(tenant):
    policy = make_policy(tenant.workspace, tenant.person(Role.OWNER), {"verdict": "deny", "tool_name_glob": "web.*"})
    own = {"policy_id": policy.pk, "rule_id": 7}
    with transaction.atomic():
        met(tenant, verdict="pending_approval", **own)
        for code in ("approval_approved", "approval_rejected", "approval_expired"):
            met(tenant, verdict="audit", reason_code=code, **own)
        met(tenant, verdict="audit", reason_code="sequence", policy_id=policy.pk, rule_id=8)
        met(tenant, verdict="audit", reason_code="sequence", shadow=True, policy_id=policy.pk, rule_id=9)
        fresh = (by_name(tenant)["web.search"]["calls"], counted(tenant, policy, datetime.now(UTC)))

    tasks.sum_tools()

    # A rule about a sequence found something; the call that was found is the tool's own.
    assert fresh == (2, {7: 1, 8: 1, 9: 1})
    assert (by_name(tenant)["web.search"]["calls"], counted(tenant, policy, datetime.now(UTC))) == fresh
    tasks.sum_tools_again()
    assert by_name(tenant)["web.search"]["calls"] == 2


def test_what_is_recorded_late_is_summed_with_its_day(tenant):
    noon = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=12)
    met(tenant, at=noon)
    tasks.sum_tools()
    met(tenant, "late.tool", at=noon)
    assert "late.tool" not in by_name(tenant)

    tasks.sum_tools_again()
    tasks.sum_tools_again()

    assert {name: row["calls"] for name, row in by_name(tenant).items()} == {"late.tool": 1, "web.search": 1}


def test_sums_past_retention_are_let_go(tenant):
    met(tenant, at=datetime.now(UTC) - timedelta(days=2))
    tasks.sum_tools()
    tool_services.forget_tools(tenant.workspace, before=date.today() + timedelta(days=1))
    assert found(tenant) == []


# --- How often a rule decided -----------------------------------------------------------------------------------------
def counted(tenant, policy, at):
    with tenancy.scope(tenant.workspace.pk):
        return {rule_id: found.calls for rule_id, found in matches(policy, at=at).items()}


def test_the_calls_of_each_rule_are_counted_before_and_after_they_are_summed(acme):
    now = datetime.now(UTC)
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "deny", "tool_name_glob": "web.*"})
    own = {"policy_id": policy.pk, "rule_id": 7}
    for at in (now, now - timedelta(hours=1), now - timedelta(days=3), now - timedelta(days=20)):
        EventFactory(workspace=acme.workspace, occurred_at=at, **own)
    EventFactory(workspace=acme.workspace, occurred_at=now, tool_name=None, tools=["web.a", "web.b"], surface="inbound", **own)
    EventFactory(workspace=acme.workspace, occurred_at=now, policy_id=policy.pk)
    EventFactory(workspace=acme.workspace, occurred_at=now - timedelta(days=20), policy_id=policy.pk, rule_id=8)
    EventFactory(workspace=acme.workspace, occurred_at=now, policy_id=policy.pk + 1, rule_id=9)

    fresh = counted(acme, policy, now)
    tasks.sum_tools()
    summed = counted(acme, policy, now)
    tasks.sum_tools_again()

    assert fresh == {7: 5, 0: 1, 8: 0}, "of a rule that decided once, weeks ago, that is known"
    assert summed == fresh
    assert counted(acme, policy, now) == fresh
