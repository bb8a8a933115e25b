"""Reads of keys, providers and usage. ``load_grant`` comes before a workspace is known and finds it by the key's hash."""

import logging
from functools import lru_cache

from django.db import connection

from firewall.engine import types as firewall
from firewall.models import Policy, Settings
from keys.engine.grant import BoundPolicy, Grant, Price, Route
from keys.engine.scope import ModelList, Scope, parse_network
from keys.models import ApiKey, ProviderCredential, ProviderModel
from workspaces import tenancy, vault
from workspaces.models import Workspace

logger = logging.getLogger(__name__)


# --- For the gateway ------------------------------------------------------------------------------------------------
def load_grant(token_hash: str) -> Grant | None:
    """Everything the gateway needs to serve the key of this hash; None for an unknown key or an archived workspace.

    Disabled, frozen and expired keys are loaded too: ``scope.admits`` judges
    them. ``config_version`` is read before all else, so a change that happens
    meanwhile is newer than the grant and makes it stale. About ten queries.
    """
    workspace_id = _workspace_of(token_hash)
    if workspace_id is None:
        return None
    with tenancy.scope(workspace_id):
        workspace = Workspace.objects.get(pk=workspace_id)
        key = workspace.api_keys.filter(token_hash=token_hash).first()
        if key is None or workspace.archived_at:
            return None
        settings = Settings.objects.filter(workspace=workspace).first() or Settings(workspace=workspace)
        default = workspace.policies.filter(is_default=True).first()
        attached = workspace.policies.filter(pk=key.firewall_policy_id).first() if key.firewall_policy_id else None
        return Grant(
            workspace_id=workspace_id,
            config_version=workspace.config_version,
            key_id=key.pk,
            key_name=key.name,
            environment=key.environment,
            is_firewall_gateway=key.is_firewall_gateway,
            one_run_an_hour=key.run_scope == ApiKey.RunScope.KEY,
            scope=scope_of(key),
            key_policy=attached and _bound(attached, workspace.config_version),
            default_policy=default and _bound(default, workspace.config_version),
            observe_mode=settings.observe_mode,
            run_gap_seconds=settings.run_gap_seconds,
            models=_routes(workspace_id, workspace.config_version),
        )


def scope_of(key: ApiKey) -> Scope:
    """The limits of a key as the gateway judges them."""
    return Scope(
        is_disabled=key.is_disabled,
        is_frozen=key.is_frozen,
        expires_at=key.expires_at,
        networks=tuple(map(parse_network, key.allow_ips)),
        models=ModelList(tuple(key.model_limits)) if key.model_limits_enabled else None,
    )


def _workspace_of(token_hash: str) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_key_workspace(%s)", [token_hash])
        return cursor.fetchone()[0]


def _bound(policy: Policy, config_version: int) -> BoundPolicy:
    return BoundPolicy(_compiled(policy.workspace_id, policy.pk, config_version), policy.block_notice, policy.refuse_unknown_fields)


# Keys of one workspace share what is compiled and decrypted: by its version, which moves with every change of either.
@lru_cache(maxsize=1024)
def _compiled(workspace_id: int, policy_id: int, config_version: int) -> firewall.Policy:
    policy = Policy.objects.prefetch_related("rules").get(workspace_id=workspace_id, pk=policy_id)
    return firewall.Policy(
        id=policy.pk,
        name=policy.name,
        version=policy.version,
        default_verdict=firewall.Verdict(policy.default_verdict),
        shadow_mode=policy.shadow_mode,
        enabled=policy.enabled,
        rules=tuple(
            firewall.Rule(
                id=rule.pk,
                priority=rule.priority,
                label=rule.label,
                stage=firewall.Surface(rule.stage) if rule.stage else None,
                tool_name_glob=rule.tool_name_glob,
                verdict=firewall.Verdict(rule.verdict),
                enabled=rule.enabled,
            )
            for rule in policy.rules.all()
        ),
    )


@lru_cache(maxsize=256)
def _routes(workspace_id: int, config_version: int) -> dict[str, tuple[Route, ...]]:
    found: dict[str, list[Route]] = {}
    providers = ProviderCredential.objects.filter(workspace_id=workspace_id, enabled=True).prefetch_related("models").order_by("order", "pk")
    for provider in providers:
        try:
            secret = provider_secret(provider)
        except vault.SealBroken:
            logger.error("provider_secret_does_not_open", extra={"workspace_id": workspace_id, "provider_id": provider.pk})
            continue
        for model in provider.models.all():
            found.setdefault(model.name, []).append(
                Route(
                    provider_id=provider.pk,
                    provider_name=provider.name,
                    base_url=provider.base_url.rstrip("/"),
                    upstream_model=model.upstream or model.name,
                    secret=secret,
                    price=_price(model),
                    is_demo=provider.is_demo,
                )
            )
    return {name: tuple(routes) for name, routes in found.items()}


def provider_secret(provider: ProviderCredential) -> str:
    """The secret in clear; empty where the provider asks for none. Raises ``vault.SealBroken``."""
    if provider.secret_sealed is None:
        return ""
    return vault.unseal(provider.secret_sealed, workspace_id=provider.workspace_id, purpose=provider_seal(provider.pk))


def provider_seal(provider_id: int) -> str:
    """What a provider's sealed secret is bound to: copied to another row, it does not open."""
    return f"keys.provider:{provider_id}"


def _price(model: ProviderModel) -> Price | None:
    if model.input_per_million_micro_usd is None and model.output_per_million_micro_usd is None:
        return None
    return Price(model.input_per_million_micro_usd, model.output_per_million_micro_usd)
