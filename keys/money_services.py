"""Changes of budgets, prices and stopped runs: one function a verb, one transaction, one audit entry, in force on the next call."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from firewall.engine.glob import escaped, hints
from firewall.engine.types import Verdict
from keys import money_selectors
from keys.models import Budget, PriceOverride, StoppedRun, ToolPrice
from workspaces import audit, errors
from workspaces.models import User, Workspace
from workspaces.selectors import hold
from workspaces.services import touch_config


@transaction.atomic
def set_budget(workspace: Workspace, *, member: User | None, limit_micro_usd: int, actor: User | None, at: datetime) -> Budget:
    """Set what the workspace (``member`` None), or the keys that a member made, may spend in a month. 0 lets nothing through."""
    hold(workspace.pk)
    if member is not None and not workspace.memberships.filter(user=member).exists():
        raise errors.NotFound("Not found.", param="member_id")
    before = workspace.budgets.filter(member=member).values_list("limit_micro_usd", flat=True).first()
    budget, _ = workspace.budgets.update_or_create(member=member, defaults={"limit_micro_usd": limit_micro_usd, "updated_at": at})
    if before != limit_micro_usd:
        touch_config(workspace)
        payload = {"member_id": member and member.pk, "limit_micro_usd": {"from": before, "to": limit_micro_usd}}
        audit.record(workspace=workspace, actor=actor, action="budget_update", target=budget, at=at, payload=payload)
    return budget


@transaction.atomic
def remove_budget(budget: Budget, *, actor: User | None, at: datetime) -> None:
    """From the next call on there is no limit. One that is gone already leaves no entry."""
    workspace = hold(budget.workspace_id)
    payload = {"member_id": budget.member_id, "limit_micro_usd": budget.limit_micro_usd}
    if not workspace.budgets.filter(pk=budget.pk).exists():
        return
    touch_config(workspace)
    audit.record(workspace=workspace, actor=actor, action="budget_delete", target=budget, at=at, payload=payload)
    budget.delete()


@transaction.atomic
def set_price(workspace: Workspace, *, model: str, fields: Mapping[str, Any], actor: User | None, at: datetime) -> PriceOverride:
    """Set the workspace's own price of a model; ``fields`` not named stay. Raises ``ValidationFailed`` for what is no price."""
    hold(workspace.pk)
    if not model.isprintable() or "*" in model or model != model.strip():
        raise errors.ValidationFailed("A model's name as agents ask for it: printable, and no pattern.", param="model")
    _check(fields)
    row = workspace.price_overrides.filter(model=model).first() or PriceOverride(workspace=workspace, model=model)
    changed = {name: value for name, value in fields.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    is_new = row.pk is None
    if changed or is_new:
        row.updated_at = at
        row.save()
        touch_config(workspace)
        audit.record(workspace=workspace, actor=actor, action="price_update", target=row, at=at, payload={"model": model, **changed})
    return row


@transaction.atomic
def remove_price(price: PriceOverride, *, actor: User | None, at: datetime) -> None:
    """From the next call on the provider's or the list price holds again."""
    workspace = hold(price.workspace_id)
    if not workspace.price_overrides.filter(pk=price.pk).exists():
        return
    touch_config(workspace)
    audit.record(workspace=workspace, actor=actor, action="price_delete", target=price, at=at, payload={"model": price.model})
    price.delete()


@transaction.atomic
def set_tool_prices(workspace: Workspace, *, prices: Mapping[str, int], actor: User | None, at: datetime) -> None:
    """Set what one use of each tool costs, by tool glob; tools that are not named cost nothing from the next call on. Raises ``ValidationFailed``."""
    hold(workspace.pk)
    _check_tool_prices(prices)
    before = money_selectors.tool_prices(workspace)
    changed = {glob: {"from": before.get(glob), "to": prices.get(glob)} for glob in sorted({*before, *prices}) if before.get(glob) != prices.get(glob)}
    if not changed:
        return
    workspace.tool_prices.filter(tool_name_glob__in=changed).delete()
    workspace.tool_prices.bulk_create(ToolPrice(workspace=workspace, tool_name_glob=glob, price_micro_usd=prices[glob]) for glob in changed if glob in prices)
    touch_config(workspace)
    audit.record(workspace=workspace, actor=actor, action="price_update", target=workspace, at=at, payload={"tools": changed})


def _check_tool_prices(prices: Mapping[str, int]) -> None:
    if len(prices) > MAX_PRICED_TOOLS:
        raise errors.ValidationFailed(f"At most {MAX_PRICED_TOOLS} tools have a price.", param="prices")
    for glob, price in prices.items():
        wrong = next((hint.text for hint in hints(glob, Verdict.DENY) if hint.level == "error"), None)
        if wrong or not glob:
            raise errors.ValidationFailed(wrong or "A tool has a name.", param=f"prices.{escaped(glob)}")
        if not _is_amount(price):
            raise errors.ValidationFailed("A price is from 0 to a billion dollars.", param=f"prices.{escaped(glob)}")


@transaction.atomic
def stop_run(workspace: Workspace, *, key_id: int, run_id: str, actor: User | None, at: datetime) -> StoppedRun:
    """Deny every further call of a run, on every process from the next call on. A run that is stopped stays so; again changes nothing."""
    hold(workspace.pk)
    stopped, is_new = workspace.stopped_runs.get_or_create(key_id=key_id, run_id=run_id, defaults={"stopped_at": at, "stopped_by": actor})
    if is_new:
        touch_config(workspace)
        audit.record(workspace=workspace, actor=actor, action="run_stop", target=stopped, at=at, payload={"key_id": key_id, "run_id": run_id})
    return stopped


#: The price fields, all of them amounts.
AMOUNTS = tuple(field.name for field in PriceOverride._meta.fields if field.name.endswith("_micro_usd"))
MAX_AMOUNT = 10**15
MAX_TIERS, MAX_TOOLS, MAX_PRICED_TOOLS = 10, 50, 500
_TIER = {"above_input_tokens", "input_per_million_micro_usd", "output_per_million_micro_usd", "cached_input_per_million_micro_usd"}


def _check(fields: Mapping[str, Any]) -> None:
    """Whatever the surface let through: a price that cannot be counted with would fail calls, not the change."""
    for name in AMOUNTS:
        if name in fields and not (fields[name] is None and name != "per_request_micro_usd") and not _is_amount(fields[name]):
            raise errors.ValidationFailed("A price is from 0 to a billion dollars.", param=name)
    tools = fields.get("tools", {})
    if not isinstance(tools, dict) or len(tools) > MAX_TOOLS or not all(isinstance(name, str) and name and _is_amount(price) for name, price in tools.items()):
        raise errors.ValidationFailed(f"Tools are at most {MAX_TOOLS} names, each with a price.", param="tools")
    tiers = fields.get("tiers", [])
    if not isinstance(tiers, list) or len(tiers) > MAX_TIERS or not all(map(_is_tier, tiers)):
        raise errors.ValidationFailed(f"Tiers are at most {MAX_TIERS}, each with above_input_tokens and a price.", param="tiers")
    if len({tier["above_input_tokens"] for tier in tiers}) < len(tiers):
        raise errors.ValidationFailed("Two tiers begin at the same number of tokens.", param="tiers")
    length = fields.get("default_output_tokens")
    if length is not None and not (_is_amount(length) and 1 <= length <= 10_000_000):
        raise errors.ValidationFailed("An answer's default length is from 1 to 10,000,000 tokens.", param="default_output_tokens")


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_AMOUNT


def _is_tier(tier: object) -> bool:
    return (
        isinstance(tier, dict)
        and "above_input_tokens" in tier
        and set(tier) <= _TIER
        and any(value is not None for name, value in tier.items() if name != "above_input_tokens")
        and all(_is_amount(value) for value in tier.values() if value is not None)
    )


# --- Which gateway processes live -----------------------------------------------------------------------------------
#: Silent for so long, a process is doubted; doubted for so long again while PostgreSQL answers, it is dead.
SILENT_SECONDS, DOUBTED_SECONDS = 12, 6


def beat(process_id: UUID) -> bool:
    """Say that a process lives. False: it was silent for so long that it has been given up, and must go on under another id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO keys_gatewayprocess AS p (id, seen_at) VALUES (%s, now()) "
            "ON CONFLICT (id) DO UPDATE SET seen_at = now(), doubted_at = NULL WHERE p.swept_at IS NULL RETURNING id",
            [process_id],
        )
        return cursor.fetchone() is not None


def dead_processes() -> dict[UUID, datetime]:
    """Processes that have died, each with when it was last seen. Given up here: from now on none of them may go on under its id.

    A silent one is doubted first, and given up at a later look: after an outage of PostgreSQL all have been silent. They are
    told again and again until ``bury``, should a sweep be killed.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE keys_gatewayprocess SET swept_at = now() WHERE swept_at IS NULL"
            " AND seen_at < now() - make_interval(secs => %s) AND doubted_at < now() - make_interval(secs => %s)",
            [SILENT_SECONDS, DOUBTED_SECONDS],
        )
        cursor.execute(
            "UPDATE keys_gatewayprocess SET doubted_at = now() WHERE doubted_at IS NULL AND seen_at < now() - make_interval(secs => %s)", [SILENT_SECONDS]
        )
        cursor.execute("SELECT id, seen_at FROM keys_gatewayprocess WHERE swept_at IS NOT NULL")
        return dict(cursor.fetchall())


def living_processes() -> set[UUID]:
    """Those that have not been given up."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM keys_gatewayprocess WHERE swept_at IS NULL")
        return {row[0] for row in cursor.fetchall()}


def bury(process_ids: Iterable[UUID]) -> None:
    """Forget dead processes whose calls have all been ended."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM keys_gatewayprocess WHERE swept_at IS NOT NULL AND id = ANY(%s)", [list(process_ids)])
