"""The configuration version: what the gateway compares, in PostgreSQL and in Valkey's copy of it."""

from collections.abc import Iterator

import pytest
from django.db import transaction

from tests.factories.workspaces import make_tenant
from workspaces import services, tenancy, valkey
from workspaces.models import Workspace


@pytest.fixture
def workspace(committed, settings) -> Iterator[Workspace]:
    """Its copies are in a database of Valkey's that no worker corrects meanwhile."""
    settings.REDIS_URL += "&db=1" if "?" in settings.REDIS_URL else "?db=1"
    valkey.client.cache_clear()
    yield make_tenant().workspace
    valkey.client.cache_clear()


def copy(workspace: Workspace) -> dict:
    fields = ["v", "dirty"]
    found = valkey.client().hmget(valkey.version_key(workspace.pk), fields)
    return {name: int(value or 0) for name, value in zip(fields, found, strict=True)}


def touch(workspace: Workspace) -> None:
    with tenancy.scope(workspace.pk):
        services.touch_config(workspace)


def test_a_commit_sets_the_copy_and_clears_the_mark(workspace):
    touch(workspace)
    touch(workspace)
    assert copy(workspace) == {"v": workspace.config_version, "dirty": 0}


def test_between_change_and_commit_the_copy_is_marked(workspace):
    before = copy(workspace)["v"]
    with tenancy.scope(workspace.pk):
        services.touch_config(workspace)
        services.touch_config(workspace)
        assert copy(workspace) == {"v": before, "dirty": 2}
    assert copy(workspace) == {"v": before + 2, "dirty": 0}


def test_a_rolled_back_change_leaves_a_mark_that_the_sweep_takes_away(workspace):
    with tenancy.scope(workspace.pk):
        services.touch_config(workspace)
        transaction.set_rollback(True)
    workspace_version = copy(workspace)["v"]
    assert copy(workspace)["dirty"] == 1
    services.publish_config_version(workspace.pk, workspace_version)
    assert copy(workspace) == {"v": workspace_version, "dirty": 0}


def test_a_late_writer_does_not_set_the_copy_back(workspace):
    services.publish_config_version(workspace.pk, 900)
    services.publish_config_version(workspace.pk, 7)
    assert copy(workspace)["v"] == 900


def test_with_valkey_away_the_write_goes_on(workspace, settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    valkey.client.cache_clear()
    before = workspace.config_version
    try:
        touch(workspace)
    finally:
        valkey.client.cache_clear()
    with tenancy.scope(workspace.pk):
        assert Workspace.objects.get(pk=workspace.pk).config_version == before + 1
