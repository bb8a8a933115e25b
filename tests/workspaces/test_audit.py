"""The audit log: one unbroken chain a workspace, and no way to edit it that does not show."""

from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from threading import Barrier, Thread

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client
from django.utils import timezone

from firewall.models import Policy
from keys.models import ApiKey, ProviderCredential
from tests.factories.workspaces import make_tenant
from workspaces import audit, services, tenancy
from workspaces.permissions import Role
from workspaces.tasks import sign_audit_checkpoints

AUDIT = "/api/workspace/audit/"


def change(tenant, times: int = 3) -> None:
    with tenancy.scope(tenant.workspace.pk):
        for n in range(times):
            services.rename_workspace(tenant.workspace, name=f"name {n}", actor=tenant.person(Role.OWNER), at=timezone.now())


def verified(tenant) -> audit.BadEntry | None:
    with tenancy.scope(tenant.workspace.pk):
        return audit.verify(tenant.workspace)


@contextmanager
def as_the_owner():
    """What an intruder with the owner's connection can do: put the triggers away and write."""
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE workspaces_auditentry DISABLE TRIGGER USER")
        yield cursor
        cursor.execute("ALTER TABLE workspaces_auditentry ENABLE TRIGGER USER")


def test_entries_count_without_a_gap_and_chain(acme, rival):
    change(acme, 5)
    with tenancy.scope(acme.workspace.pk):
        entries = list(acme.workspace.audit_entries.order_by("sequence"))
    assert [entry.sequence for entry in entries] == list(range(1, 7))
    assert [entry.previous_hash for entry in entries] == [audit.GENESIS, *(entry.entry_hash for entry in entries[:-1])]
    assert verified(acme) is None
    assert verified(rival) is None


def test_a_change_that_fails_leaves_no_entry(acme):
    with transaction.atomic():
        change(acme, 1)
        transaction.set_rollback(True)
    assert verified(acme) is None
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.audit_entries.count() == 1


@pytest.mark.parametrize(
    ("tamper", "sequence", "reason"),
    [
        ("UPDATE workspaces_auditentry SET actor_label = 'nobody' WHERE workspace_id = %s AND sequence = 3", 3, "changed"),
        ("UPDATE workspaces_auditentry SET payload = '{}' WHERE workspace_id = %s AND sequence = 2", 2, "changed"),
        ("UPDATE workspaces_auditentry SET at = at - interval '1 day' WHERE workspace_id = %s AND sequence = 4", 4, "changed"),
        ("DELETE FROM workspaces_auditentry WHERE workspace_id = %s AND sequence = 2", 2, "missing"),
        ("DELETE FROM workspaces_auditentry WHERE workspace_id = %s AND sequence = 1", 1, "missing"),
        ("UPDATE workspaces_auditentry SET sequence = sequence + 1 WHERE workspace_id = %s AND sequence = 4", 4, "missing"),
        ("UPDATE workspaces_auditentry SET previous_hash = entry_hash WHERE workspace_id = %s AND sequence = 3", 3, "continue"),
    ],
)
def test_tampering_shows_at_the_first_bad_entry(committed, tamper, sequence, reason):
    acme, rival = make_tenant(), make_tenant()
    change(acme)
    with as_the_owner() as cursor:
        cursor.execute(tamper, [acme.workspace.pk])
    bad = verified(acme)
    assert bad
    assert (bad.sequence, reason in bad.reason) == (sequence, True)
    assert verified(rival) is None


def test_the_command_names_the_bad_entry_and_exits_1(committed):
    acme, rival = make_tenant(), make_tenant()
    change(acme)
    said = StringIO()
    call_command("audit", "verify", "--workspace", str(acme.workspace.pk), stdout=said)
    assert f"workspace {acme.workspace.pk}: 4 entries, the chain holds" in said.getvalue()
    with as_the_owner() as cursor:
        cursor.execute("UPDATE workspaces_auditentry SET action = 'x' WHERE workspace_id = %s AND sequence = 2", [acme.workspace.pk])
    said = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "verify", stdout=said)
    assert ended.value.code == 1
    assert f"workspace {acme.workspace.pk}: entry 2 was changed" in said.getvalue()
    call_command("audit", "verify", "--workspace", str(rival.workspace.pk), stdout=said)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE workspaces_auditentry SET action = 'x'", "DELETE FROM workspaces_auditentry", "TRUNCATE workspaces_auditentry"],
)
@pytest.mark.parametrize("alias", ["default", "owner"])
def test_nobody_changes_or_removes_an_entry(committed, statement, alias):
    acme = make_tenant()
    with tenancy.scope(acme.workspace.pk, using=alias), connections[alias].cursor() as cursor:
        with pytest.raises(DatabaseError, match=r"append-only|permission denied"):
            cursor.execute(statement)
        transaction.set_rollback(True, using=alias)
    assert verified(acme) is None


def test_changes_at_once_queue_for_their_place_and_deadlock_with_nobody(committed):
    """Half of them tell the gateway first and half after: whatever the order of the locks, nobody waits in a circle."""
    acme, failed, barrier = make_tenant(), [], Barrier(6)

    def work(turn: int) -> None:
        barrier.wait(timeout=60)
        try:
            for _ in range(5):
                with tenancy.scope(acme.workspace.pk):
                    steps = [lambda: services.touch_config(acme.membership(Role.OWNER).workspace), lambda: change(acme, 1)]
                    for step in steps if turn % 2 else reversed(steps):
                        step()
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [Thread(target=work, args=[turn]) for turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert failed == []
    assert verified(acme) is None
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.audit_entries.count() == 31
        acme.workspace.refresh_from_db()
        assert acme.workspace.config_version == 32


def test_entries_cut_off_the_end_show_by_the_checkpoint(committed):
    acme = make_tenant()
    change(acme)
    with tenancy.scope(acme.workspace.pk):
        signed = audit.sign_checkpoint(acme.workspace, at=timezone.now())
        assert signed
        assert (signed.count, audit.sign_checkpoint(acme.workspace, at=timezone.now())) == (4, None)
    change(acme, 1)
    assert verified(acme) is None
    with as_the_owner() as cursor:
        cursor.execute("DELETE FROM workspaces_auditentry WHERE workspace_id = %s AND sequence >= 4", [acme.workspace.pk])
    bad = verified(acme)
    assert bad
    assert (bad.sequence, "signed 4 entries" in bad.reason) == (4, True)


def test_a_checkpoint_that_was_not_signed_here_shows(acme):
    with tenancy.scope(acme.workspace.pk):
        real = audit.sign_checkpoint(acme.workspace, at=timezone.now())
        assert real
        acme.workspace.audit_checkpoints.create(at=real.at + timedelta(hours=1), count=1, head=real.head, signature=real.signature)
    bad = verified(acme)
    assert bad
    assert "not signed here" in bad.reason


def test_the_timer_signs_every_workspace_once_for_each_state(acme, rival):
    for _ in range(2):
        sign_audit_checkpoints()
    for tenant in (acme, rival):
        with tenancy.scope(tenant.workspace.pk):
            assert tenant.workspace.audit_checkpoints.count() == 1
        assert verified(tenant) is None


def test_developers_read_what_concerns_their_work_and_admins_all(acme):
    with tenancy.scope(acme.workspace.pk):
        for target in (Policy(pk=1, name="strict"), ApiKey(pk=2, name="agent"), ProviderCredential(pk=3, name="openai")):
            audit.record(workspace=acme.workspace, actor=None, action="made", target=target, at=timezone.now())
    assert acme.client(Role.MEMBER).get(AUDIT).status_code == 403
    developers = acme.client(Role.DEVELOPER).get(AUDIT).json()["results"]
    assert [row["target_label"] for row in developers] == ["agent", "strict"]
    admins = acme.client(Role.ADMIN).get(AUDIT).json()["results"]
    assert [row["target_label"] for row in admins] == ["openai", "agent", "strict", "acme"]
    # A token does what both its scopes and the role allow.
    for scopes, of_admins in ((["read"], 0), (["read", "admin"], 4)):
        token = acme.token(Role.ADMIN, *scopes)
        shown = Client().get(AUDIT, headers={"Authorization": f"Bearer {token}"}).json()["results"]
        assert sum(row["target_kind"].startswith(("workspaces.", "keys.provider")) for row in shown) == of_admins


def test_the_log_is_filtered_by_action_actor_and_target(acme):
    change(acme, 2)
    client, owner = acme.client(Role.ADMIN), acme.person(Role.OWNER)
    for asked, found in {
        "action=workspace_update": 2,
        "action=workspace_*": 3,
        "actor=system": 1,
        f"actor={owner.pk}": 2,
        f"actor={owner.email.upper()}": 2,
        f"target=workspaces.workspace:{acme.workspace.pk}": 3,
        "target=firewall.policy": 0,
    }.items():
        assert len(client.get(f"{AUDIT}?{asked}").json()["results"]) == found, asked
    first = client.get(f"{AUDIT}?action=workspace_create").json()["results"][0]
    assert client.get(f"{AUDIT}{first['id']}/").json() == first


def test_another_workspaces_entries_are_missing(acme, rival):
    with tenancy.scope(rival.workspace.pk):
        theirs = rival.workspace.audit_entries.get().pk
    assert acme.client(Role.OWNER).get(f"{AUDIT}{theirs}/").status_code == 404
