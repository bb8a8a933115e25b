"""What the gateway gets for a key, and how it learns of a change."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from firewall import services as firewall_services
from keys import provider_services, selectors, services
from keys.engine.grant import Price
from keys.engine.scope import Reason, admits
from keys.provider_services import ModelSpec
from tests.factories.firewall import make_policy
from tests.factories.keys import make_key, make_provider
from workspaces import tenancy, vault
from workspaces.permissions import Role

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def grant_of(plaintext: str):
    return selectors.load_grant(vault.lookup_hash(plaintext))


def change(acme, service, row, **arguments) -> None:
    with tenancy.scope(acme.workspace.pk):
        service(row, **arguments, actor=acme.person(Role.OWNER), at=timezone.now())


def test_an_unknown_key_grants_nothing(acme):
    assert grant_of("sk-orca-" + "a" * 48) is None


def test_a_key_grants_its_scope_its_policy_and_the_workspaces_models(acme):
    policy = make_policy(
        acme.workspace, acme.person(Role.DEVELOPER), {"verdict": "allow", "tool_name_glob": "kb.*"}, default_verdict="deny", block_notice=False
    )
    default = make_policy(acme.workspace, acme.person(Role.DEVELOPER), name="default", is_default=True)
    make_provider(acme, name="second", order=20, models=("shared",), base_url="https://198.20.0.2/v1/")
    first = make_provider(acme, name="first", order=10, models=(ModelSpec("shared", "vendor/shared", 150_000, None), "own"))
    make_provider(acme, name="off", enabled=False, models=("hidden",))
    key, plaintext = make_key(acme, name="agent", environment="prod", firewall_policy=policy, run_scope="key", allow_ips=["10.0.0.0/8"])
    grant = grant_of(plaintext)
    assert (grant.workspace_id, grant.key_id, grant.key_name, grant.environment, grant.one_run_an_hour) == (acme.workspace.pk, key.pk, "agent", "prod", True)
    assert (grant.observe_mode, grant.run_gap_seconds) == (True, 1800)
    assert (grant.policy.id, grant.key_policy.id, grant.default_policy.id) == (policy.pk, policy.pk, default.pk)
    assert (grant.policy.default_verdict, grant.policy.block_notice, [rule.tool_name_glob for rule in grant.policy.rules]) == ("deny", False, ["kb.*"])
    assert [(route.provider_name, route.upstream_model, route.base_url) for route in grant.models["shared"]] == [
        ("first", "vendor/shared", "https://198.20.0.1/v1"),
        ("second", "shared", "https://198.20.0.2/v1"),
    ]
    assert grant.models["shared"][0].price == Price(150_000, None)
    assert grant.models["own"][0].provider_id == first.pk
    assert set(grant.models) == {"shared", "own"}
    assert admits(grant.scope, model="own", address=None, at=NOW).reason is Reason.ADDRESS


def test_secrets_are_in_the_grant_and_not_in_its_repr(acme):
    make_provider(acme, secret="sk-canary-secret")
    make_provider(acme, name="open", secret="", models=("free",))
    _, plaintext = make_key(acme)
    grant = grant_of(plaintext)
    assert (grant.models["gpt-4o"][0].secret, grant.models["free"][0].secret) == ("sk-canary-secret", "")
    assert "sk-canary" not in repr(grant)
    assert plaintext not in repr(grant)


def test_a_secret_that_does_not_open_takes_its_provider_out_and_no_other(acme):
    broken, other = make_provider(acme, name="broken", order=1), make_provider(acme, name="other", order=2)
    with tenancy.scope(acme.workspace.pk):
        # Copied from another row: what it is bound to does not fit.
        acme.workspace.providers.filter(pk=broken.pk).update(secret_sealed=other.secret_sealed)
    _, plaintext = make_key(acme)
    assert [route.provider_name for route in grant_of(plaintext).models["gpt-4o"]] == ["other"]


@pytest.mark.parametrize("what", ["key", "policy", "rule", "provider", "settings", "default"])
def test_after_any_change_the_next_grant_has_it_and_a_newer_version(what, acme):
    actor = acme.person(Role.DEVELOPER)
    policy = make_policy(acme.workspace, actor, {"verdict": "allow", "tool_name_glob": "a"})
    provider = make_provider(acme)
    key, plaintext = make_key(acme, firewall_policy=policy)
    before = grant_of(plaintext)
    match what:
        case "key":
            change(acme, services.change_key, key, changes={"model_limits_enabled": True})
            assert grant_of(plaintext).scope.lists("gpt-4o") is False
        case "policy":
            change(acme, firewall_services.change_policy, policy, changes={"enabled": False})
            assert grant_of(plaintext).policy is None
        case "rule":
            change(acme, firewall_services.add_rule, policy, fields={"verdict": "deny", "tool_name_glob": "b"})
            assert len(grant_of(plaintext).policy.rules) == 2
        case "provider":
            change(acme, provider_services.change_provider, provider, changes={"models": [ModelSpec("new")]})
            assert set(grant_of(plaintext).models) == {"new"}
        case "settings":
            change(acme, firewall_services.change_settings, acme.workspace, changes={"observe_mode": False})
            assert grant_of(plaintext).observe_mode is False
        case "default":
            make_policy(acme.workspace, actor, name="default", is_default=True)
            assert grant_of(plaintext).default_policy.name == "default"
    assert grant_of(plaintext).config_version > before.config_version


def test_grants_of_one_workspace_share_what_is_compiled(acme):
    policy = make_policy(acme.workspace, acme.person(Role.DEVELOPER))
    make_provider(acme)
    one, other = (make_key(acme, firewall_policy=policy)[1] for _ in range(2))
    assert grant_of(one).models is grant_of(other).models
    assert grant_of(one).policy is grant_of(other).policy


def test_a_key_of_an_archived_workspace_grants_nothing(acme):
    _, plaintext = make_key(acme)
    with tenancy.scope(acme.workspace.pk), transaction.atomic():
        acme.workspace.archived_at = timezone.now()
        acme.workspace.save(update_fields=["archived_at"])
    assert grant_of(plaintext) is None


def test_an_expired_key_is_loaded_and_judged_and_a_frozen_one_is_left_to_the_firewall(acme):
    _, expired = make_key(acme, expires_at=timezone.now() - timedelta(seconds=1))
    _, frozen = make_key(acme, is_frozen=True)
    assert admits(grant_of(expired).scope, model=None, address=None, at=timezone.now()).reason is Reason.EXPIRED
    assert grant_of(frozen).scope.is_frozen
    assert admits(grant_of(frozen).scope, model=None, address=None, at=timezone.now()) is None
