"""Changes of keys and providers that meet: nobody waits in a circle, and what is gone stays gone."""

from threading import Barrier, Thread

import pytest
from django.db import connection
from django.utils import timezone

from firewall import services as firewall
from keys import provider_services, services
from tests.factories.firewall import make_policy
from tests.factories.keys import make_key, make_provider
from tests.factories.workspaces import make_tenant
from workspaces import tenancy
from workspaces.errors import NotFound
from workspaces.models import AuditEntry
from workspaces.permissions import Role


def test_changes_at_once_wait_for_each_other_and_never_in_a_circle(committed):
    tenant = make_tenant()
    workspace, actor = tenant.workspace, tenant.person(Role.OWNER)
    policy, provider = make_policy(workspace, actor), make_provider(tenant)
    keys = [make_key(tenant)[0] for _ in range(2)]

    def bind(turn: int) -> None:
        services.create_key(workspace, fields={"name": "bound", "firewall_policy": services.policy_of(workspace, policy.pk)}, actor=actor, at=timezone.now())

    def judge(turn: int) -> None:
        firewall.change_policy(policy, changes={"enabled": bool(turn % 2)}, actor=actor, at=timezone.now())

    def switch(turn: int) -> None:
        for key in keys[:: 1 if turn % 2 else -1]:
            services.change_key(key, changes={"is_disabled": bool(turn % 2)}, actor=actor, at=timezone.now())

    def order(turn: int) -> None:
        provider_services.change_provider(provider, changes={"order": turn}, actor=actor, at=timezone.now())

    def move(turn: int) -> None:
        provider_services.create_provider(
            workspace, name=f"p{turn}", base_url="https://198.20.0.1/v1", secret="", models=[], actor=actor, at=timezone.now(), order=turn
        )
        provider_services.move_provider(workspace.providers.get(name=f"p{turn}"), up=True, actor=actor, at=timezone.now())

    work = [bind, judge, switch, switch, order, move]
    failed, barrier = [], Barrier(len(work))

    def run(place: int) -> None:
        barrier.wait(timeout=60)
        try:
            for turn in range(8):
                with tenancy.scope(workspace.pk):
                    work[place](turn + place)
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [Thread(target=run, args=[place]) for place in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert failed == []


@pytest.mark.parametrize("verb", ["change", "delete", "reveal"])
def test_a_key_that_somebody_deleted_first_is_gone(acme, verb):
    key, _ = make_key(acme)
    actor, at = acme.person(Role.DEVELOPER), timezone.now()
    again = {
        "change": lambda: services.change_key(key, changes={"name": "x"}, actor=actor, at=at),
        "delete": lambda: services.delete_keys(acme.workspace, keys=[key], actor=actor, at=at),
        "reveal": lambda: services.reveal_key(key, actor=actor, at=at),
    }[verb]
    with tenancy.scope(acme.workspace.pk):
        services.delete_keys(acme.workspace, keys=[acme.workspace.api_keys.get(pk=key.pk)], actor=actor, at=at)
        with pytest.raises(NotFound):
            again()
        assert AuditEntry.objects.filter(target_kind="keys.apikey").order_by("sequence").values_list("action", flat=True)[1:].get() == "key_delete"


@pytest.mark.parametrize("verb", ["change", "delete", "move"])
def test_a_provider_that_somebody_deleted_first_is_gone(acme, verb):
    provider = make_provider(acme)
    actor, at = acme.person(Role.ADMIN), timezone.now()
    again = {
        "change": lambda: provider_services.change_provider(provider, changes={"order": 7}, actor=actor, at=at),
        "delete": lambda: provider_services.delete_provider(provider, actor=actor, at=at),
        "move": lambda: provider_services.move_provider(provider, up=True, actor=actor, at=at),
    }[verb]
    with tenancy.scope(acme.workspace.pk):
        provider_services.delete_provider(acme.workspace.providers.get(pk=provider.pk), actor=actor, at=at)
        with pytest.raises(NotFound):
            again()


def test_a_secret_set_meanwhile_does_not_go_to_the_new_address(acme):
    """Two admins at once: the one who moves the provider saw it without a secret."""
    provider = make_provider(acme, secret="")
    actor, at = acme.person(Role.ADMIN), timezone.now()
    with tenancy.scope(acme.workspace.pk):
        provider_services.change_provider(acme.workspace.providers.get(pk=provider.pk), changes={"secret": "sk-fresh"}, actor=actor, at=at)
        with pytest.raises(provider_services.errors.ValidationFailed):
            provider_services.change_provider(provider, changes={"base_url": "https://198.20.0.2/v1"}, actor=actor, at=at)
