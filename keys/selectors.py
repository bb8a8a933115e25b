"""Reads of keys, providers and usage. ``load_grant`` comes before a workspace is known and finds it by the key's hash."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncHour

from firewall.engine import types as firewall
from firewall.models import Event, EventSource, Policy
from firewall.selectors import compiled, settings_of
from keys import money_selectors
from keys.engine import token
from keys.engine.ceilings import Limits
from keys.engine.grant import Grant, Price, Route
from keys.engine.scope import ModelList, Scope, Status
from keys.engine.tool_prices import ToolPrices
from keys.models import UNPRICED, ApiKey, ProviderCredential, ProviderModel, Usage, UsageSource
from workspaces import ids, money, tenancy, vault
from workspaces.engine.client_address import parse_network
from workspaces.models import AuditEntry, User, Workspace

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
        settings = settings_of(workspace)
        default_id = workspace.policies.filter(is_default=True).values_list("pk", flat=True).first()
        return Grant(
            workspace_id=workspace_id,
            config_version=workspace.config_version,
            key_id=key.pk,
            key_name=key.name,
            environment=key.environment,
            is_firewall_gateway=key.is_firewall_gateway,
            one_run_an_hour=key.run_scope == ApiKey.RunScope.KEY,
            scope=scope_of(key),
            key_policy=_compiled(workspace_id, key.firewall_policy_id, workspace.config_version),
            default_policy=_compiled(workspace_id, default_id, workspace.config_version),
            observe_mode=settings.observe_mode,
            run_gap_seconds=settings.run_gap_seconds,
            models=_routes(workspace_id, workspace.config_version),
            limits=money_selectors.limits_of(key),
            tool_prices=_tool_prices(workspace_id, workspace.config_version),
            stopped_runs=money_selectors.stopped_runs(workspace, key.pk),
        )


def config_version(workspace_id: int) -> int:
    """The configuration version of a workspace, as PostgreSQL has it."""
    with tenancy.scope(workspace_id):
        return Workspace.objects.values_list("config_version", flat=True).get(pk=workspace_id)


@dataclass(frozen=True, slots=True)
class RunTrace:
    """What the usage ledger knows of one run of a key."""

    run_id: str
    calls: int
    cost_micro_usd: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Trail:
    """A key's derived calls of late: each context digest and fingerprint with the run of its last call, and those runs.

    ``conversations`` has the runs of calls that were asked about, without messages to go by; None is no conversation.
    """

    contexts: dict[str, str]
    fingerprints: dict[str, str]
    conversations: dict[str | None, str]
    runs: dict[str, RunTrace]


#: Calls that a trail goes back at most.
MAX_TRAIL = 5_000


@dataclass(frozen=True, slots=True)
class NamedKey:
    """What is to be known of a key in whose runs another one asks."""

    name: str
    environment: str
    is_frozen: bool
    stopped_runs: frozenset[str]
    limits: Limits


def named_key(workspace_id: int, key_id: int) -> NamedKey | None:
    """A key of this workspace; None where there is none."""
    with tenancy.scope(workspace_id):
        found = ApiKey.objects.filter(workspace_id=workspace_id, pk=key_id).select_related("workspace").first()
        if found is None:
            return None
        stopped = money_selectors.stopped_runs(found.workspace, key_id)
        return NamedKey(found.name, found.environment, found.is_frozen, stopped, money_selectors.limits_of(found))


def named_run(workspace_id: int, key_id: int, run_id: str) -> RunTrace | None:
    """A run by its id, however old; None for one that made no call."""
    with tenancy.scope(workspace_id):
        return _run_traces(workspace_id, key_id, {run_id}).get(run_id)


def trail(
    workspace_id: int,
    key_id: int,
    since: datetime,
    *,
    digests: Collection[str] | None = None,
    fingerprint: str | None = None,
    conversation: tuple[str | None] | None = None,
) -> Trail:
    """The derived calls since a moment; with ``digests`` and ``fingerprint``, or with ``conversation``, only those that have one of them."""
    calls = _made(workspace_id, key_id).filter(id__gte=ids.lowest_at(since), run_source="derived")
    asked = _asked(workspace_id, key_id).filter(id__gte=ids.lowest_at(since), run_source="derived")
    if digests is not None:
        calls, asked = calls.filter(Q(context_digest__in=digests) | Q(fingerprint=fingerprint)), asked.none()
    if conversation is not None:
        calls, asked = calls.none(), asked.filter(conversation_id=conversation[0]) if conversation[0] else asked.filter(conversation_id=None)
    contexts: dict[str, str] = {}
    fingerprints: dict[str, str] = {}
    conversations: dict[str | None, str] = {}
    with tenancy.scope(workspace_id):
        for run_id, context, task in calls.order_by("-id").values_list("agent_run_id", "context_digest", "fingerprint")[:MAX_TRAIL]:
            if run_id:
                contexts.setdefault(context or "", run_id)
                fingerprints.setdefault(task or "", run_id)
        for run_id, conversation_id in asked.order_by("-id").values_list("agent_run_id", "conversation_id")[:MAX_TRAIL]:
            conversations.setdefault(conversation_id, run_id or "")
        found = {*contexts.values(), *fingerprints.values(), *conversations.values()}
        return Trail(contexts, fingerprints, conversations, _run_traces(workspace_id, key_id, found))


def runs_begun(workspace_id: int, key_id: int, since: datetime, at_most: int) -> dict[str, datetime]:
    """The runs whose first call came since a moment, with when that was; of more than ``at_most`` the latest."""
    first: dict[str, datetime] = {}
    calls = _made(workspace_id, key_id).filter(agent_run_id__isnull=False)
    with tenancy.scope(workspace_id):
        for rows in (calls, _asked(workspace_id, key_id)):
            earlier = rows.filter(agent_run_id=OuterRef("agent_run_id"), id__lt=ids.lowest_at(since))
            recent = rows.filter(id__gte=ids.lowest_at(since)).exclude(Exists(earlier)).values("agent_run_id").annotate(first_at=Min("occurred_at"))
            for run_id, at in recent.order_by("-first_at").values_list("agent_run_id", "first_at")[:at_most]:
                first[run_id or ""] = min(at, first.get(run_id or "", at))
    return first


def _made(workspace_id: int, key_id: int) -> QuerySet[Usage]:
    """Calls of models; what a tool cost that was asked about is in the events."""
    return Usage.objects.filter(workspace_id=workspace_id, key_id=key_id).exclude(usage_source=UsageSource.TOOL)


def _asked(workspace_id: int, key_id: int) -> QuerySet[Event]:
    """Events of calls that were asked about, of runs that began."""
    asked = Event.objects.filter(workspace_id=workspace_id, key_id=key_id, source=EventSource.EVALUATE, agent_run_id__isnull=False)
    return asked.exclude(verdict=firewall.Verdict.DENY, reason_code=firewall.ReasonCode.RUN_LIMIT)


def _run_traces(workspace_id: int, key_id: int, run_ids: Collection[str]) -> dict[str, RunTrace]:
    calls = Usage.objects.filter(workspace_id=workspace_id, key_id=key_id, agent_run_id__in=run_ids)
    models = Count("id", filter=~Q(usage_source=UsageSource.TOOL))
    totals = calls.values("agent_run_id").annotate(calls=models, cost=Coalesce(Sum("cost_micro_usd"), 0), last_at=Max("occurred_at"))
    found = {run_id: RunTrace(run_id, *rest) for run_id, *rest in totals.values_list("agent_run_id", "calls", "cost", "last_at") if run_id}
    asked = _asked(workspace_id, key_id).filter(agent_run_id__in=run_ids).values("agent_run_id")
    counts = asked.annotate(calls=Count("request_id", distinct=True), last=Max("occurred_at"))
    for run_id, count, last_at in counts.values_list("agent_run_id", "calls", "last"):
        known = found.get(run_id or "", RunTrace(run_id or "", 0, 0, last_at))
        found[known.run_id] = replace(known, calls=known.calls + count, last_at=max(known.last_at, last_at))
    return found


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


# Keys of one workspace share what is compiled and decrypted: by its version, which moves with every change of either.
@lru_cache(maxsize=1024)
def _compiled(workspace_id: int, policy_id: int | None, config_version: int) -> firewall.Policy | None:
    policy = policy_id and Policy.objects.filter(workspace_id=workspace_id, pk=policy_id).first()
    return compiled(policy, policy.rules.all()) if policy else None


@lru_cache(maxsize=256)
def _tool_prices(workspace_id: int, config_version: int) -> ToolPrices:
    return ToolPrices.of(money_selectors.tool_prices(Workspace(pk=workspace_id)))


@lru_cache(maxsize=256)
def _routes(workspace_id: int, config_version: int) -> dict[str, tuple[Route, ...]]:
    found: dict[str, list[Route]] = {}
    own = money_selectors.prices(Workspace(pk=workspace_id))
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
                    price=_price(model, own.get(model.name)),
                    is_demo=provider.is_demo,
                )
            )
    return {name: tuple(routes) for name, routes in found.items()}


def provider_secret(provider: ProviderCredential) -> str:
    """The secret in clear; empty where the provider asks for none. Raises ``vault.SealBroken``."""
    if provider.secret_sealed is None:
        return ""
    return vault.unseal(bytes(provider.secret_sealed), workspace_id=provider.workspace_id, purpose=provider_seal(provider.pk))


def provider_seal(provider_id: int) -> str:
    """What a provider's sealed secret is bound to: copied to another row, it does not open."""
    return f"keys.provider:{provider_id}"


def _price(model: ProviderModel, own: Price | None) -> Price | None:
    """The workspace's own price, each side of it that is left open as the provider's model has it."""
    sides = model.input_per_million_micro_usd, model.output_per_million_micro_usd
    if own is None:
        return None if sides == (None, None) else Price(*sides)
    told = own.input_per_million_micro_usd, own.output_per_million_micro_usd
    merged = [side if mine is None else mine for mine, side in zip(told, sides, strict=True)]
    return replace(own, input_per_million_micro_usd=merged[0], output_per_million_micro_usd=merged[1])


# --- Keys -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class KeyUse:
    """What one key used. ``cost_micro_usd`` None: nothing of it has a known price; ``unpriced_calls`` are not in it."""

    calls: int = 0
    cost_micro_usd: int | None = 0
    unpriced_calls: int = 0


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys. ``q`` is part of the name or environment, or a mask as shown; ``environment`` empty: keys without; ``policy_id`` 0: bound to none.

    ``has_ceiling``: of its own, whatever budgets say. ``unused_days``: a key at least so old without a call in them.
    """

    q: str = ""
    statuses: Collection[Status] = ()
    environment: str | None = None
    policy_id: int | None = None
    has_ceiling: bool | None = None
    unused_days: int | None = None


def find_keys(workspace: Workspace, wanted: KeyFilter, *, at: datetime) -> QuerySet[ApiKey]:
    """Keys narrowed as the list and the API narrow them; None, and no status, is any."""
    keys = workspace.api_keys.select_related("firewall_policy")
    if ends := token.ends_of_mask(wanted.q):
        keys = keys.filter(token_start=ends[0], token_end=ends[1])
    elif wanted.q:
        keys = keys.filter(Q(name__icontains=wanted.q) | Q(environment__icontains=wanted.q))
    if wanted.statuses:
        keys = keys.filter(_of_status(workspace, wanted.statuses, at))
    if wanted.environment is not None:
        keys = keys.filter(environment=wanted.environment)
    if wanted.policy_id is not None:
        keys = keys.filter(firewall_policy_id=wanted.policy_id or None)
    if wanted.has_ceiling is not None:
        capped = Q(credit_limit_micro_usd__gt=0) | Q(cycle_limit_micro_usd__gt=0)
        keys = keys.filter(capped if wanted.has_ceiling else ~capped)
    if wanted.unused_days is not None:
        since = at - timedelta(days=wanted.unused_days)
        # What is stored with the key answers for most of them; calls since it was stored are in the records alone.
        keys = keys.filter(Q(accessed_at=None) | Q(accessed_at__lt=since), created_at__lt=since)
        for rows in _records(workspace):
            keys = keys.exclude(Exists(rows.filter(key_id=OuterRef("pk"), pk__gte=ids.lowest_at(since))))
    return keys


def _records(workspace: Workspace) -> tuple[QuerySet[Usage], QuerySet[Event]]:
    """Where a key's use shows: in its calls, and where it only asked about some in the events."""
    return workspace.usage.all(), workspace.events.all()


def _of_status(workspace: Workspace, statuses: Collection[Status], at: datetime) -> Q:
    on, expired = Q(is_disabled=False), Q(expires_at__lte=at)
    exhausted = Q(pk__in=_spent_up(workspace) if {Status.ENABLED, Status.EXHAUSTED} & set(statuses) else [])
    each = {
        Status.ENABLED: on & ~expired & ~exhausted,
        Status.DISABLED: Q(is_disabled=True),
        Status.EXPIRED: on & expired,
        Status.EXHAUSTED: on & ~expired & exhausted,
    }
    return reduce(or_, (each[status] for status in statuses))


def _spent_up(workspace: Workspace) -> list[int]:
    """The keys that have spent what they may in their life."""
    limits = dict(workspace.api_keys.filter(credit_limit_micro_usd__gt=0).order_by().values_list("pk", "credit_limit_micro_usd"))
    balances = money_selectors.key_balances(workspace, limits) if limits else {}
    return [key_id for key_id, balance in balances.items() if balance.spent_micro_usd >= limits[key_id]]


def uses_of(workspace: Workspace, keys: Iterable[ApiKey], *, since: datetime) -> dict[int, KeyUse]:
    """What each of these keys used since a moment."""
    key_ids = [key.pk for key in keys]
    usage = workspace.usage.filter(key_id__in=key_ids, pk__gte=ids.lowest_at(since))
    sums = {"calls": Count("pk"), "cost": Sum("cost_micro_usd"), "unpriced": Count("pk", filter=UNPRICED)}
    known = {row["key_id"]: row for row in usage.order_by().values("key_id").annotate(**sums)}
    return {key_id: _use(known[key_id]) if key_id in known else KeyUse() for key_id in key_ids}


def _use(row: Mapping[str, Any]) -> KeyUse:
    cost = row["cost"] if row["cost"] is not None or row["unpriced"] else 0
    return KeyUse(row["calls"] or 0, cost, row["unpriced"] or 0)


def last_used(workspace: Workspace, keys: Iterable[ApiKey]) -> dict[int, datetime | None]:
    """When each of these keys was last used; what was stored with the key outlives the usage."""
    keys = list(keys)
    calls, events = (Subquery(rows.filter(key_id=OuterRef("pk")).order_by("-pk").values("occurred_at")[:1]) for rows in _records(workspace))
    found = workspace.api_keys.filter(pk__in=[key.pk for key in keys]).order_by().annotate(call=calls, event=events)
    recorded = {key_id: seen for key_id, *seen in found.values_list("pk", "call", "event")}
    return {key.pk: max(filter(None, (key.accessed_at, *recorded.get(key.pk, ()))), default=None) for key in keys}


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a key. ``cost_micro_usd`` is None where a call's price is unknown."""

    starts_at: datetime
    calls: int
    cost_micro_usd: int | None

    @property
    def dollars(self) -> Decimal | None:
        return None if self.cost_micro_usd is None else money.to_usd(self.cost_micro_usd)


def spend_by_hour(workspace: Workspace, key: ApiKey, *, at: datetime) -> list[Hour]:
    """The last 24 hours of a key, the current one included; hours without a call too."""
    first = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    calls = workspace.usage.filter(key_id=key.pk, pk__gte=ids.lowest_at(first)).annotate(hour=TruncHour("occurred_at"))
    rows = calls.values("hour").annotate(calls=Count("pk"), cost=Sum("cost_micro_usd"), unknown=Count("pk", filter=UNPRICED))
    found = {row["hour"]: Hour(row["hour"], row["calls"], None if row["unknown"] else row["cost"] or 0) for row in rows}
    return [found.get(hour, Hour(hour, 0, 0)) for hour in (first + timedelta(hours=number) for number in range(24))]


def first_model(workspace: Workspace) -> str:
    """A model that a first call may name; empty while no provider is enabled."""
    return workspace.provider_models.filter(provider__enabled=True).order_by("provider__order", "pk").values_list("name", flat=True).first() or ""


def last_uses(workspace: Workspace, *, since: datetime) -> dict[int, datetime]:
    """The last use of each key that was used since then."""
    found: dict[int, datetime] = {}
    for rows in _records(workspace):
        recent = rows.filter(pk__gte=ids.lowest_at(since)).order_by().values("key_id").annotate(last=Max("occurred_at"))
        for key_id, last in recent.values_list("key_id", "last"):
            if key_id is not None:
                found[key_id] = max(last, found.get(key_id, last))
    return found


def environments(workspace: Workspace) -> list[str]:
    """The tags in use, for a filter."""
    return list(workspace.api_keys.exclude(environment="").order_by("environment").values_list("environment", flat=True).distinct())


def key_with_creator(workspace_id: int, key_id: int) -> ApiKey | None:
    return ApiKey.objects.filter(workspace_id=workspace_id, pk=key_id).select_related("workspace", "created_by").first()


def reveals_since(person: User, since: datetime) -> int:
    """How many keys a person has revealed since then, in every workspace they are in."""
    total = 0
    for workspace_id in list(person.memberships.values_list("workspace_id", flat=True)):
        with tenancy.scope(workspace_id):
            total += AuditEntry.objects.filter(workspace_id=workspace_id, actor_id=person.pk, action="key_reveal", at__gt=since).count()
    return total


# --- Providers ------------------------------------------------------------------------------------------------------
def providers(workspace: Workspace) -> QuerySet[ProviderCredential]:
    """Providers with their models, in the order in which they are asked."""
    return workspace.providers.prefetch_related("models").order_by("order", "pk")
