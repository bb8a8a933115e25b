"""Reads of the ledger: what was spent, what is held. A balance is the sum of its entries, whatever Valkey says.

Each sum is one statement, so one snapshot: days that are summed, and the entries since.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from django.db import connection

from keys.engine.ceilings import Account, Cycle, Limits, Scope
from keys.engine.grant import Price, Tier
from keys.models import ApiKey, PriceOverride
from workspaces import ids, tenancy
from workspaces.models import Workspace

#: Runs of a key that stay stopped: far more than anybody stops by hand.
MAX_STOPPED_RUNS = 10_000
#: No call lasts as long: a reservation older than this is the sweep's to end, and holds nothing.
OPEN_WITHIN = timedelta(hours=2)
_EVER = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Balance:
    """What was spent, and what calls in flight hold, in micro-USD."""

    spent_micro_usd: int = 0
    held_micro_usd: int = 0


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A reservation that nothing has settled yet: of a call, or of another attempt at one."""

    id: UUID
    held_micro_usd: int

    @property
    def claim_id(self) -> str:
        """Under which Valkey knows it."""
        return f"req_{self.id.hex}"


@dataclass(frozen=True, slots=True)
class Statement:
    """An account as the ledger has it at one moment."""

    spent_micro_usd: int = 0
    open_calls: tuple[OpenCall, ...] = ()

    @property
    def balance(self) -> Balance:
        return Balance(self.spent_micro_usd, sum(call.held_micro_usd for call in self.open_calls))


# --- Balances -------------------------------------------------------------------------------------------------------
# The settling entry's id is made beside the rows, not in the condition: row-level security lets no function that might tell of a row be part of
# an index's condition, so that each look read the whole ledger, 1.3 seconds of it at three million calls, for the first call of every run.
_STATEMENT = """
    WITH days AS (
        SELECT COALESCE(sum(spent_micro_usd), 0)::bigint AS spent FROM keys_ledgerday
         WHERE workspace_id = %(workspace)s AND day >= %(since)s AND {of_day}
    ), recent AS MATERIALIZED (
        SELECT id, orca_settle_id(id) AS settle_id, kind, held_micro_usd, spent_micro_usd FROM keys_ledgerentry
         WHERE workspace_id = %(workspace)s AND id >= GREATEST(%(first)s::uuid, {rolled}) AND {of_entry}
    )
    SELECT (SELECT spent FROM days) + (SELECT COALESCE(sum(spent_micro_usd), 0)::bigint FROM recent),
           (SELECT COALESCE(json_agg(json_build_array(r.id, r.held_micro_usd)), '[]'::json) FROM recent r
             WHERE r.kind = 'reserve' AND r.id >= %(open_since)s::uuid
               AND NOT EXISTS (SELECT 1 FROM keys_ledgerentry s
                                WHERE s.workspace_id = %(workspace)s AND s.id >= %(open_since)s::uuid AND s.id = r.settle_id))
"""
#: Of an entry and of a day: which of them an account sums.
_OF = {
    Scope.KEY: ("key_id = %(owner)s", "key_id = %(owner)s"),
    Scope.CYCLE: ("key_id = %(owner)s", "key_id = %(owner)s"),
    Scope.WORKSPACE: ("true", "true"),
    Scope.MEMBER: ("member_id = %(owner)s", "member_id = %(owner)s"),
    # A run is read from its entries alone: they are kept far longer than it lasts.
    Scope.RUN: ("key_id = %(owner)s AND agent_run_id = %(run)s", "false"),
}
_ROLLED = "(SELECT orca_lowest_id(before) FROM keys_ledgerrolled)"


def statement(workspace_id: int, account: Account, *, at: datetime) -> Statement:
    """What an account has spent, and its calls in flight."""
    of_entry, of_day = _OF[account.scope]
    rolled = "%(first)s::uuid" if account.scope is Scope.RUN else _ROLLED
    since = account.since or _EVER
    owner, _, run = account.owner.partition(".")
    said: dict[str, int | str | date] = {
        "workspace": workspace_id,
        "since": since,
        "first": str(ids.lowest_at(datetime(since.year, since.month, since.day, tzinfo=UTC))),
        "open_since": str(ids.lowest_at(at - OPEN_WITHIN)),
        "owner": int(owner or 0),
        "run": run,
    }
    with tenancy.scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_STATEMENT.format(of_entry=of_entry, of_day=of_day, rolled=rolled), said)
        spent, open_calls = cursor.fetchone()
    return Statement(int(spent), tuple(OpenCall(UUID(name), held) for name, held in open_calls))


def balance(workspace: Workspace, account: Account, *, at: datetime) -> Balance:
    """What an account has spent and holds: ``keys.engine.ceilings`` says which accounts there are."""
    return statement(workspace.pk, account, at=at).balance


_OF_KEYS = """
    SELECT key_id, sum(spent)::bigint, sum(held)::bigint FROM (
        SELECT key_id, spent_micro_usd AS spent, 0 AS held FROM keys_ledgerday
         WHERE workspace_id = %(workspace)s AND key_id = ANY(%(keys)s) AND day >= %(since)s
        UNION ALL
        SELECT key_id, spent_micro_usd, held_micro_usd FROM keys_ledgerentry
         WHERE workspace_id = %(workspace)s AND key_id = ANY(%(keys)s)
           AND id >= GREATEST(%(first)s::uuid, (SELECT orca_lowest_id(before) FROM keys_ledgerrolled))
    ) AS each GROUP BY key_id
"""


def key_balances(workspace: Workspace, key_ids: Collection[int], *, since: date | None = None) -> dict[int, Balance]:
    """The balance of each of these keys, since ever or since a day of UTC; keys that spent nothing have an empty one."""
    first = since or _EVER
    lowest = ids.lowest_at(datetime(first.year, first.month, first.day, tzinfo=UTC))
    with connection.cursor() as cursor:
        cursor.execute(_OF_KEYS, {"workspace": workspace.pk, "keys": list(key_ids), "since": first, "first": str(lowest)})
        found = {key_id: Balance(spent, held) for key_id, spent, held in cursor.fetchall()}
    return {key_id: found.get(key_id, Balance()) for key_id in key_ids}


# --- For the gateway ------------------------------------------------------------------------------------------------
def limits_of(key: ApiKey) -> Limits:
    """What is set for the calls of this key."""
    budgets: dict[int | None, int] = dict(key.workspace.budgets.values_list("member_id", "limit_micro_usd"))
    return Limits(
        credit_limit_micro_usd=key.credit_limit_micro_usd,
        cycle_limit_micro_usd=key.cycle_limit_micro_usd,
        cycle=Cycle(key.cycle),
        member_id=key.created_by_id,
        workspace_month_micro_usd=budgets.get(None),
        member_month_micro_usd=budgets.get(key.created_by_id) if key.created_by_id else None,
    )


def stopped_runs(workspace: Workspace, key_id: int) -> frozenset[str]:
    """The runs of a key that were stopped, the latest ``MAX_STOPPED_RUNS`` of them."""
    return frozenset(workspace.stopped_runs.filter(key_id=key_id).order_by("-id").values_list("run_id", flat=True)[:MAX_STOPPED_RUNS])


def prices(workspace: Workspace) -> dict[str, Price]:
    """The workspace's own price of each model that has one."""
    return {row.model: _price(row) for row in workspace.price_overrides.all()}


def tool_prices(workspace: Workspace) -> dict[str, int]:
    """What each tool costs that has a price, by its glob."""
    return dict(workspace.tool_prices.values_list("tool_name_glob", "price_micro_usd"))


def _price(row: PriceOverride) -> Price:
    return Price(
        input_per_million_micro_usd=row.input_per_million_micro_usd,
        output_per_million_micro_usd=row.output_per_million_micro_usd,
        cached_input_per_million_micro_usd=row.cached_input_per_million_micro_usd,
        cache_write_per_million_micro_usd=row.cache_write_per_million_micro_usd,
        reasoning_per_million_micro_usd=row.reasoning_per_million_micro_usd,
        input_audio_per_million_micro_usd=row.input_audio_per_million_micro_usd,
        output_audio_per_million_micro_usd=row.output_audio_per_million_micro_usd,
        per_request_micro_usd=row.per_request_micro_usd,
        tools=tuple(sorted(row.tools.items())),
        tiers=tuple(Tier(**tier) for tier in sorted(row.tiers, key=lambda tier: tier["above_input_tokens"])),
        default_output_tokens=row.default_output_tokens,
    )


def settle_id(reserve_id: UUID) -> UUID:
    """The id of the entry that settles a reservation: whoever settles second writes nothing."""
    return ids.of_int(reserve_id.int ^ 1)
