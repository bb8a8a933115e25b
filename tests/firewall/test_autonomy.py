"""Autonomy levels: applied whole, undone exactly, and seen beforehand."""

import pytest

from firewall import autonomy, selectors, services
from firewall.engine.autonomy import LEVELS
from firewall.engine.summary import summarise
from firewall.engine.validate import policy_problems
from tests.factories.firewall import EventFactory, make_policy
from tests.factories.keys import make_key
from workspaces import tenancy
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/"


def post(tenant, path, **body):
    return tenant.client(Role.DEVELOPER).post(PATH + path, body, content_type="application/json")


def apply(tenant, level):
    answer = post(tenant, "autonomy", level=level)
    assert answer.status_code == 200, answer.content
    return answer.json()


def posture(tenant):
    """All that a level may touch, but for versions."""
    with tenancy.scope(tenant.workspace.pk):
        policies = {each.pk: services.snapshot(each) for each in tenant.workspace.policies.all()}
        return policies, selectors.settings_of(tenant.workspace).observe_mode


@pytest.mark.parametrize("level", LEVELS.values(), ids=lambda each: each.name)
def test_a_levels_rules_may_be_saved(level):
    rules = [dict(rule) for rule in level.rules]
    assert policy_problems({"name": level.policy_name, "default_verdict": level.default_verdict or "audit", "rules": rules}) == []


@pytest.mark.parametrize(("level", "default", "observes"), [("tight", "deny", False), ("balanced", "audit", False)])
def test_a_level_becomes_the_default(acme, level, default, observes):
    own = make_policy(acme.workspace, acme.person(Role.OWNER), name="own")
    key, _ = make_key(acme, name="apart", firewall_policy=own)
    applied = apply(acme, level)
    policies, observe_mode = posture(acme)
    made = policies[applied["policy_id"]]
    assert (made["name"], made["is_default"], made["default_verdict"], observe_mode) == (f"autonomy_{level}", True, default, observes)
    assert (applied["level"], applied["guardrail_id"], applied["observe_mode"]) == (level, None, observes)
    assert applied["unaffected_keys"] == [{"id": key.pk, "name": "apart"}]


def test_permissive_leaves_no_policy_in_force(acme):
    former = apply(acme, "tight")["policy_id"]
    applied = apply(acme, "permissive")
    policies, observe_mode = posture(acme)
    assert (applied["policy_id"], policies[former]["is_default"], observe_mode) == (None, False, True)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("first", [None, "tight", "permissive"])
def test_undo_restores_exactly_what_was(acme, level, first):
    make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "deny", "tool_name_glob": "a.*"}, name="former", is_default=True)
    if first:
        apply(acme, first)
    before = posture(acme)
    applied = apply(acme, level)
    assert first == level or posture(acme) != before
    answer = post(acme, f"autonomy/undo/{applied['audit_id']}")
    assert (answer.status_code, answer.json()) == (200, {"audit_id": applied["audit_id"], "level": level})
    assert posture(acme) == before
    again = post(acme, f"autonomy/undo/{applied['audit_id']}", force=True)
    assert again.status_code == 409


@pytest.mark.parametrize("levels", [("balanced", "tight"), ("tight", "tight"), ("tight", "permissive", "balanced"), ("permissive", "tight", "permissive")])
def test_levels_are_undone_one_after_the_other(acme, levels):
    make_policy(acme.workspace, acme.person(Role.OWNER), {"verdict": "deny", "tool_name_glob": "a.*"}, name="former", is_default=True)
    stood = [posture(acme)]
    applied = []
    for level in levels:
        applied.append(apply(acme, level))
        stood.append(posture(acme))
    for one in reversed(applied):
        assert posture(acme) == stood.pop()
        with tenancy.scope(acme.workspace.pk):
            now = autonomy.standing(acme.workspace)
        assert (now.undoable.pk, now.is_edited) == (one["audit_id"], False)
        assert post(acme, f"autonomy/undo/{one['audit_id']}").status_code == 200
    assert posture(acme) == stood.pop()
    with tenancy.scope(acme.workspace.pk):
        assert autonomy.standing(acme.workspace).undoable is None
        summaries = acme.workspace.policy_versions.values_list("summary", flat=True)
        assert not any("file" in summary for summary in summaries)


def test_undo_names_what_was_edited_or_bound_since_and_force_restores_all_the_same(acme):
    make_policy(acme.workspace, acme.person(Role.OWNER), name="former", is_default=True)
    before = posture(acme)
    applied = apply(acme, "balanced")
    with tenancy.scope(acme.workspace.pk):
        made = acme.workspace.policies.get(pk=applied["policy_id"])
    key, _ = make_key(acme, name="bound", firewall_policy=made)
    assert post(acme, "rules", policy_id=made.pk, verdict="allow").status_code == 201
    acme.client(Role.DEVELOPER).put(f"{PATH}settings", {"observe_mode": True}, content_type="application/json")

    refused = post(acme, f"autonomy/undo/{applied['audit_id']}")
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["metadata"]["changed"] == ["policy autonomy_balanced was changed", "observe mode was switched"]
    assert error["metadata"]["keys"] == [{"id": key.pk, "name": "bound"}]

    assert post(acme, f"autonomy/undo/{applied['audit_id']}", force=True).status_code == 200
    assert posture(acme) == before
    with tenancy.scope(acme.workspace.pk):
        key.refresh_from_db()
        undone = acme.workspace.audit_entries.filter(action="firewall_autonomy_undone").get()
    assert key.firewall_policy_id is None
    assert (undone.payload["audit_id"], undone.payload["forced"]) == (applied["audit_id"], True)


def test_simulate_judges_recent_calls_and_changes_nothing(acme):
    own = make_policy(acme.workspace, acme.person(Role.OWNER), name="own")
    key, _ = make_key(acme, name="apart", firewall_policy=own)
    EventFactory(workspace=acme.workspace, tool_name="bash", args_summary='{"command": "rm -rf /"}', args_hash=summarise('{"command": "rm -rf /"}').digest)
    EventFactory(workspace=acme.workspace, tool_name="bash", args_summary='{"command": "ls"}', args_hash=summarise('{"command": "ls"}').digest)
    EventFactory(workspace=acme.workspace, tool_name="bash", args_summary='{"command": "ls"}', args_hash=summarise('{"command": "ls"}').digest, key_id=key.pk)
    before = posture(acme)

    found = {level: acme.client(Role.MEMBER).get(f"{PATH}simulate", {"level": level}).json() for level in LEVELS}

    assert {level: (body["calls"], body["would_deny"], body["would_hold"]) for level, body in found.items()} == {
        "tight": (2, 2, 0),
        "balanced": (2, 1, 0),
        "permissive": (2, 0, 0),
    }
    assert found["permissive"]["by_tool"] == [{"tool_name": "bash", "calls": 2, "verdict": "observe"}]
    assert found["balanced"]["guardrail_rules"] == []
    assert posture(acme) == before
    assert acme.client(Role.MEMBER).get(f"{PATH}simulate").status_code == 400
