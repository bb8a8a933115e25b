"""The second wall: what PostgreSQL shows when code forgets the workspace."""

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from workspaces import services, tenancy
from workspaces.models import AccessToken, AuditEntry, Invitation, Membership, Workspace
from workspaces.permissions import Role

TENANT_MODELS = [Membership, Invitation, AccessToken, AuditEntry]


@pytest.fixture
def filled(acme, rival):
    for tenant in (acme, rival):
        tenant.token(Role.OWNER)
        with tenancy.scope(tenant.workspace.pk):
            services.invite(tenant.workspace, email="x@example.com", role=Role.MEMBER, actor=tenant.person(Role.OWNER), at=timezone.now())
    return acme, rival


def test_the_product_runs_as_a_role_that_walls_bind(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == ("orca_app", False, False)


def test_every_table_with_a_workspace_has_the_wall(db):
    models = {model._meta.db_table for model in apps.get_models() if any(field.name == "workspace" for field in model._meta.fields)}
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND relkind IN ('r', 'p')")
        walled = {name for (name,) in cursor.fetchall()}
    assert models | {"workspaces_workspace"} <= walled


@pytest.mark.parametrize("model", [*TENANT_MODELS, Workspace])
def test_a_forgotten_filter_shows_this_workspace_only(filled, model):
    column = "pk" if model is Workspace else "workspace_id"
    for tenant in filled:
        with tenancy.scope(tenant.workspace.pk):
            assert set(model.objects.values_list(column, flat=True)) == {tenant.workspace.pk}


@pytest.mark.parametrize("model", [*TENANT_MODELS, Workspace])
def test_outside_every_scope_there_is_nothing(filled, model):
    assert not model.objects.exists()


@pytest.mark.parametrize("model", [Membership, Invitation, AccessToken])
def test_another_workspaces_rows_are_neither_changed_nor_removed(filled, model):
    acme, rival = filled
    with tenancy.scope(acme.workspace.pk):
        assert model.objects.filter(workspace=rival.workspace).update(created_at=timezone.now()) == 0
        assert model.objects.filter(workspace=rival.workspace).delete()[0] == 0


def test_a_row_is_not_written_into_another_workspace(filled):
    acme, rival = filled
    with tenancy.scope(acme.workspace.pk):
        for write in (
            lambda: Membership(workspace=rival.workspace, user=acme.person(Role.OWNER), role=Role.OWNER).save(),
            lambda: acme.workspace.memberships.filter(role=Role.MEMBER).update(workspace=rival.workspace),
        ):
            with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
                write()


def test_a_person_sees_their_own_memberships_and_changes_none(filled):
    acme, _ = filled
    person = acme.person(Role.MEMBER)
    with tenancy.person(person.pk):
        assert [row.workspace.name for row in Membership.objects.select_related("workspace")] == ["acme"]
        assert Membership.objects.update(role=Role.OWNER) == 0


def test_an_inner_scope_gives_the_outer_one_back(filled):
    acme, rival = filled
    with tenancy.scope(acme.workspace.pk):
        with tenancy.scope(rival.workspace.pk):
            assert Workspace.objects.get() == rival.workspace
        assert Workspace.objects.get() == acme.workspace
