"""Holds and what becomes of them: each ends in one final state, and every change leaves an event and an audit entry."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

import firewall.services
import workspaces.services
from approvals import review_selectors, services, tasks
from approvals.engine.binding import State
from approvals.models import Approval, Settings, WebhookEndpoint
from tests.factories.approvals import held_call, make_hold, make_holding_policy
from tests.factories.keys import make_key
from workspaces import errors, tenancy
from workspaces.permissions import Role


@pytest.fixture
def policy(acme):
    return make_holding_policy(acme)


@pytest.fixture
def scope(acme):
    with tenancy.scope(acme.workspace.pk):
        yield acme.workspace


def approve(approval, person, **options) -> Approval:
    return services.resolve(approval, decision=State.APPROVED, by=person, **options)


def reject(approval, person, **options) -> Approval:
    return services.resolve(approval, decision=State.REJECTED, by=person, **options)


def is_over(approval: Approval) -> None:
    # Before this test's one transaction began, too: its beginning is what the sweep takes for now.
    Approval.objects.filter(pk=approval.pk).update(expires_at=Now() - timedelta(hours=1))


def spend(approval, policy, **changes):
    bound = replace(held_call(policy).bound, **changes)
    return services.redeem(approval.workspace, calls={approval.pk: bound}, request_id="req_again")


def verbs(workspace) -> list[str]:
    return list(workspace.audit_entries.filter(action__startswith="firewall_approval").order_by("sequence").values_list("action", flat=True))


def test_a_hold_is_approved_and_spent_once_and_each_step_is_told(scope, acme, policy):
    hold = make_hold(policy)
    assert len(hold.pk) == 24
    assert set(hold.pk) <= set("0123456789abcdef")
    assert hold.expires_at - hold.created_at == timedelta(hours=24)
    approved = approve(hold, acme.person(Role.DEVELOPER), reason="invoice seen")
    assert (approved.state, approved.reason, approved.expires_at - approved.resolved_at) == ("approved", "invoice seen", timedelta(minutes=15))
    spent = spend(approved, policy)
    assert [each.state for each in spent] == ["consumed"]
    with pytest.raises(errors.ApprovalInvalid) as refused:
        spend(approved, policy)
    assert refused.value.metadata["reason"] == "used"
    events = list(scope.events.filter(approval_id=hold.pk).order_by("id").values_list("verdict", "reason_code", "agent_run_id"))
    assert events == [("pending_approval", None, "run-1"), ("audit", "approval_approved", "run-1"), ("allow", "approval_consumed", "run-1")]
    assert verbs(scope) == ["firewall_approval_create", "firewall_approval_approve", "firewall_approval_consume"]


def test_the_same_call_keeps_its_hold_and_equal_calls_share_one(scope, acme, policy):
    first = make_hold(policy)
    assert make_hold(policy, arguments='{ "amount":4180.0 }').pk == first.pk
    assert make_hold(policy, arguments='{"amount": 4181}').pk != first.pk
    assert make_hold(policy, key_id=8).pk != first.pk
    reject(first, acme.person(Role.DEVELOPER))
    assert make_hold(policy).pk != first.pk
    call = held_call(policy, arguments='{"amount": 1}')
    found = services.hold_calls(scope, calls=[call, call])
    assert found[0].pk == found[1].pk


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"key_id": 8}, "key_id"),
        ({"tool_name": "payments.refund"}, "tool_name"),
        ({"surface": "response"}, "surface"),
        ({"args_hash": "0" * 64}, "args_hash"),
        ({"tool_hash": "0" * 64}, "tool_hash"),
        ({"request_hash": "0" * 64}, "request_hash"),
        ({"policy_id": 10**9}, "policy_id"),
    ],
)
def test_an_approval_fits_its_own_call_and_no_other(scope, acme, policy, changes, field):
    hold = approve(make_hold(policy), acme.person(Role.DEVELOPER))
    with pytest.raises(errors.ApprovalInvalid) as refused:
        spend(hold, policy, **changes)
    assert (refused.value.metadata["reason"], refused.value.metadata["field"]) == ("mismatch", field)
    assert spend(hold, policy)[0].state == "consumed"


def test_of_several_approvals_all_are_spent_or_none(scope, acme, policy):
    reviewer = acme.person(Role.DEVELOPER)
    one, two = approve(make_hold(policy), reviewer), make_hold(policy, arguments="{}")
    calls = {one.pk: held_call(policy).bound, two.pk: held_call(policy, arguments="{}").bound}
    with pytest.raises(errors.ApprovalInvalid) as refused:
        services.redeem(scope, calls=calls, request_id="r")
    assert (refused.value.metadata["reason"], refused.value.metadata["approval_id"]) == ("pending", two.pk)
    approve(two, reviewer)
    assert {each.state for each in services.redeem(scope, calls=calls, request_id="r")} == {"consumed"}


def test_the_first_decision_stands_and_the_slower_reviewer_is_told(scope, acme, policy):
    hold, fast, slow = make_hold(policy), acme.person(Role.DEVELOPER), acme.person(Role.ADMIN)
    reject(hold, fast, reason="no invoice")
    assert reject(hold, slow).resolved_by == fast
    with pytest.raises(errors.ApprovalResolved) as refused:
        approve(hold, slow)
    assert (refused.value.status, refused.value.metadata["state"], refused.value.metadata["resolved_by"]) == (409, "rejected", fast.email)
    with pytest.raises(errors.ApprovalInvalid) as unspent:
        spend(hold, policy)
    assert unspent.value.metadata["reason"] == "rejected"


@pytest.mark.parametrize("is_approved", [False, True])
def test_what_is_over_is_over_before_and_after_the_sweep(scope, acme, policy, is_approved):
    hold = make_hold(policy)
    if is_approved:
        approve(hold, acme.person(Role.DEVELOPER))
    is_over(hold)
    with pytest.raises(errors.ApprovalInvalid) as unspent:
        spend(hold, policy)
    assert unspent.value.metadata["reason"] == "expired"
    if not is_approved:
        with pytest.raises(errors.ApprovalResolved):
            approve(hold, acme.person(Role.DEVELOPER))
    tasks.expire()
    hold.refresh_from_db()
    assert hold.state == "expired"
    tasks.expire()
    assert verbs(scope)[-1] == "firewall_approval_expire"
    assert verbs(scope).count("firewall_approval_expire") == 1
    assert scope.events.filter(reason_code="approval_expired", approval_id=hold.pk).count() == 1


def test_a_call_whose_hold_is_over_is_held_anew(scope, policy):
    former = make_hold(policy)
    is_over(former)
    assert make_hold(policy).pk != former.pk


def test_there_is_room_for_twenty_holds_a_run(scope, policy):
    calls = [held_call(policy, arguments=f'{{"n": {n}}}') for n in range(22)]
    found = services.hold_calls(scope, calls=calls)
    assert [each is not None for each in found] == [True] * 20 + [False] * 2
    assert services.hold_calls(scope, calls=calls[19:21], all_or_none=True) == [None, None]
    assert services.hold_calls(scope, calls=[held_call(policy, run="run-2")])[0] is not None


def test_there_is_room_for_a_hundred_holds_a_key(scope, policy):
    for run in range(5):
        calls = [held_call(policy, arguments=f'{{"n": {n}}}', run=f"run-{run}") for n in range(run * 20, run * 20 + 20)]
        assert all(services.hold_calls(scope, calls=calls))
    assert services.hold_calls(scope, calls=[held_call(policy, run="another")]) == [None]
    assert services.hold_calls(scope, calls=[held_call(policy, run="another", key_id=8)])[0] is not None


def test_an_edit_before_the_decision_binds_to_what_the_reviewer_saw(scope, acme, policy):
    owner = acme.person(Role.OWNER)
    hold, before = make_hold(policy), held_call(policy).bound.rule_hash
    firewall.services.change_rule(policy.rules.first(), changes={"label": "changed"}, actor=owner, at=timezone.now())
    with pytest.raises(errors.Conflict):
        approve(hold, acme.person(Role.DEVELOPER), seen_rule_hash=before)
    after = held_call(policy).bound.rule_hash
    assert after != before
    approved = approve(hold, acme.person(Role.DEVELOPER), seen_rule_hash=after)
    firewall.services.change_rule(policy.rules.first(), changes={"tool_name_glob": "payments.transfer"}, actor=owner, at=timezone.now())
    with pytest.raises(errors.ApprovalInvalid) as refused:
        spend(approved, policy)
    assert refused.value.metadata["reason"] == "rule_changed"
    with pytest.raises(errors.ApprovalInvalid):
        spend(approved, policy, rule_hash=before)
    assert spend(approved, policy, rule_hash=after)[0].state == "consumed"


def test_with_four_eyes_the_keys_side_does_not_decide(scope, acme, policy):
    owner, developer, admin = (acme.person(role) for role in (Role.OWNER, Role.DEVELOPER, Role.ADMIN))
    key, _ = make_key(acme)
    hold = make_hold(policy, key_id=key.pk)
    Settings.objects.create(workspace=scope, four_eyes=True)
    for person, because in ((developer, "made the key"), (owner, "change the rule")):
        with pytest.raises(errors.PermissionRefused, match=because):
            approve(hold, person)
    assert approve(hold, admin).state == "approved"


def test_with_four_eyes_whoever_set_a_secret_that_is_valid_does_not_decide(scope, acme, policy):
    admin, owner = acme.person(Role.ADMIN), acme.person(Role.OWNER)
    Settings.objects.create(workspace=scope, four_eyes=True)
    later = timezone.now() + timedelta(hours=1)
    WebhookEndpoint.objects.create(workspace=scope, secret_set_by=owner, former_secret_set_by=admin, former_secret_until=later)
    hold = make_hold(policy)
    with pytest.raises(errors.PermissionRefused, match="set the webhook's secret"):
        approve(hold, admin)
    WebhookEndpoint.objects.filter(workspace=scope).update(former_secret_until=timezone.now())
    assert approve(hold, admin).state == "approved"


def test_a_quorum_takes_as_many_people_and_one_may_refuse(scope, acme, policy):
    developer, admin = acme.person(Role.DEVELOPER), acme.person(Role.ADMIN)
    scope.review_plans.create(policy=policy, quorum=2)
    hold = make_hold(policy)
    assert [approve(hold, developer).state for _ in range(2)] == ["pending", "pending"]
    assert approve(hold, admin).state == "approved"
    other = make_hold(policy, arguments="{}")
    approve(other, developer)
    assert reject(other, admin).state == "rejected"


def test_of_a_quorum_counts_who_may_decide_still(scope, acme, policy):
    developer, admin, owner = (acme.person(role) for role in (Role.DEVELOPER, Role.ADMIN, Role.OWNER))
    scope.review_plans.create(policy=policy, quorum=2)
    hold = make_hold(policy)
    assert approve(hold, developer).state == "pending"
    workspaces.services.remove_member(acme.membership(Role.DEVELOPER), actor=owner, at=timezone.now())
    assert approve(hold, admin).state == "pending"
    assert review_selectors.reviewed(hold, owner).approvals == 1
    assert approve(hold, owner).state == "approved"


def test_of_a_quorum_counts_what_was_said_of_the_rule_as_it_is(scope, acme, policy):
    developer, admin, owner = (acme.person(role) for role in (Role.DEVELOPER, Role.ADMIN, Role.OWNER))
    scope.review_plans.create(policy=policy, quorum=2)
    hold = make_hold(policy)
    approve(hold, developer)
    firewall.services.change_rule(policy.rules.get(), changes={"label": "looked at twice"}, actor=owner, at=timezone.now())
    assert approve(hold, admin).state == "pending"
    assert approve(hold, developer).state == "approved"


def test_only_a_policys_reviewers_decide(scope, acme, policy):
    developer, admin = acme.person(Role.DEVELOPER), acme.person(Role.ADMIN)
    plan = scope.review_plans.create(policy=policy, reviewer_ids=[admin.pk])
    hold = make_hold(policy)
    with pytest.raises(errors.PermissionRefused):
        approve(hold, developer)
    plan.reviewer_ids, plan.least_role = [], Role.ADMIN
    plan.save()
    with pytest.raises(errors.PermissionRefused):
        approve(hold, developer)
    assert approve(hold, admin).state == "approved"


def test_a_kept_answer_goes_when_it_can_no_longer_be_given_out(scope, acme, policy):
    reviewer = acme.person(Role.DEVELOPER)
    calls = [held_call(policy, arguments=f'{{"n": {n}}}') for n in range(2)]
    one, two = services.hold_calls(scope, calls=calls, keep=lambda held: f"answer {held}")
    kept = scope.kept_answers.get()
    assert b"answer" not in bytes(kept.sealed)
    reject(one, reviewer)
    assert scope.kept_answers.exists()
    approve(two, reviewer)
    services.redeem(scope, calls={two.pk: calls[1].bound}, request_id="r")
    assert not scope.kept_answers.exists()


def test_another_workspaces_approval_is_unknown(scope, acme, rival, policy):
    hold, bound = approve(make_hold(policy), acme.person(Role.DEVELOPER)), held_call(policy).bound
    with tenancy.scope(rival.workspace.pk), pytest.raises(errors.ApprovalInvalid) as refused:
        services.redeem(rival.workspace, calls={hold.pk: bound}, request_id="r")
    assert refused.value.metadata["reason"] == "unknown"
