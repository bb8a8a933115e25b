"""Firewall > Posture: what each level stops, what it would have done, and the way into one and back."""

from django.utils.html import escape

from firewall.console.autonomy import grouped
from firewall.engine.autonomy import LEVELS
from firewall.engine.presets import PRESETS
from firewall.engine.summary import summarise
from tests.factories.firewall import EventFactory, make_policy
from tests.factories.keys import make_key
from workspaces import tenancy
from workspaces.permissions import Role


def page(answer, status=200) -> str:
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def test_the_levels_and_presets_are_told_rule_by_rule(acme):
    shown = page(acme.client(Role.MEMBER).get("/posture/"))
    for level in LEVELS.values():
        assert escape(level.description) in shown
        for group in grouped(level.rules):
            assert escape(group.notes) in shown
    for preset in PRESETS.values():
        assert escape(preset.description) in shown
    assert "Apply" not in shown
    assert sum(group.rules for group in grouped(LEVELS["tight"].rules)) == len(LEVELS["tight"].rules)


def test_what_a_level_would_have_done_comes_before_it_is_applied(acme):
    own = make_policy(acme.workspace, acme.person(Role.OWNER), name="own")
    make_key(acme, name="apart", firewall_policy=own)
    EventFactory(workspace=acme.workspace, tool_name="bash", args_summary='{"command": "rm -rf /"}', args_hash=summarise('{"command": "rm -rf /"}').digest)
    EventFactory(workspace=acme.workspace, tool_name="bash", args_summary='{"command": "ls"}', args_hash=summarise('{"command": "ls"}').digest)

    seen = page(acme.client(Role.MEMBER).get("/posture/", {"level": "balanced"}))
    asked = page(acme.client(Role.DEVELOPER).get("/posture/", {"level": "balanced"}))

    assert "If balanced had been in force" in seen
    assert "apart" in seen
    assert "Apply balanced" not in seen
    assert "Of the last 7 days' <b>2 calls</b> it would have denied <b>1</b>" in asked
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.policies.count() == 1
    assert acme.client(Role.MEMBER).get("/posture/", {"level": "loose"}).status_code == 400


def test_a_level_is_applied_and_undone(acme):
    client = acme.client(Role.DEVELOPER)
    assert "observe" in page(client.get("/posture/")).casefold()

    applied = page(client.post("/posture/apply/", {"level": "tight"}, follow=True))
    assert "The posture is tight, in force now." in applied
    assert "Tight was applied" in applied
    with tenancy.scope(acme.workspace.pk):
        entry = acme.workspace.audit_entries.filter(action="firewall_autonomy_applied").get()

    undone = page(client.post("/posture/undo/", {"audit_id": entry.pk}, follow=True))
    assert "The level tight is undone" in undone
    assert "was applied" not in undone
    with tenancy.scope(acme.workspace.pk):
        assert not acme.workspace.policies.exists()


def test_what_changed_since_is_named_and_asked_about(acme):
    client = acme.client(Role.DEVELOPER)
    client.post("/posture/apply/", {"level": "balanced"})
    with tenancy.scope(acme.workspace.pk):
        entry = acme.workspace.audit_entries.filter(action="firewall_autonomy_applied").get()
        made = acme.workspace.policies.get()
    make_key(acme, name="nightly", firewall_policy=made)
    client.post(f"/policies/{made.pk}/rules/", {"verdict": "deny", "tool_name_glob": "a", "priority": "5", "stage": "", "enabled": "on"})
    assert "edited since it was applied" in page(client.get("/posture/"))

    refused = page(client.post("/posture/undo/", {"audit_id": entry.pk}), 409)
    assert "policy autonomy_balanced was changed" in refused
    assert "key nightly is bound" in refused
    assert "Restore all the same" in refused

    assert "is undone" in page(client.post("/posture/undo/", {"audit_id": entry.pk, "force": "yes"}, follow=True))
    assert "undone already" in page(client.post("/posture/undo/", {"audit_id": entry.pk}), 409)


def test_there_is_no_other_level(acme):
    assert "One of tight, balanced, permissive." in page(acme.client(Role.DEVELOPER).post("/posture/apply/", {"level": "none"}), 422)
    assert acme.client(Role.DEVELOPER).post("/posture/undo/", {"audit_id": "x"}).status_code == 400
