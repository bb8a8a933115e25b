"""What dead processes left behind: open reservations are settled at what was streamed, else given back. Runs in a worker.

Everything here may run twice, at any time, beside the process itself should it turn out to live: an entry that settles a call has
the id of its reservation, so whoever comes second writes nothing, and Valkey counts what PostgreSQL says.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
from django.db import connection

from firewall.engine.types import Decision, ReasonCode, Verdict
from keys import money_services
from keys.models import UsageSource
from keys.money_selectors import settle_id
from keys.selectors import named_key
from orcarouter.gateway import money, record, recorder, runs
from orcarouter.gateway.claims import CALL_SECONDS
from workspaces import ids, tenancy, valkey
from workspaces.selectors import workspace_ids

logger = logging.getLogger(__name__)

#: Open reservations past their deadline are looked for this far back, whatever their process says.
OVERDUE_WITHIN = timedelta(hours=12)
LOST = Decision(
    Verdict.AUDIT,
    "the process that served this call died before the call was recorded; what it held was given back",
    ReasonCode.LOST_RECORD,
    factors=("lost record",),
    risk_score=40,
)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A reservation that nothing has settled, and what was noted of it last. A call's second attempt has one of its own."""

    id: UUID
    request_id: str
    key_id: int
    member_id: int | None
    run_id: str | None
    occurred_at: datetime
    held_micro_usd: int
    streamed_micro_usd: int
    call: dict

    @property
    def claim_id(self) -> str:
        return f"req_{self.id.hex}"


@dataclass(frozen=True, slots=True)
class LeftClaim:
    """A claim in Valkey whose process is gone, or whose time is up."""

    request_id: str
    key_id: int

    @property
    def id(self) -> UUID:
        return UUID(hex=self.request_id.removeprefix("req_"))


def sweep() -> int:
    """End what dead processes left open, in every workspace; the number of calls that were ended."""
    dead = money_services.dead_processes()
    living = money_services.living_processes()
    ended = sum(_sweep_workspace(workspace_id, dead, living) for workspace_id in workspace_ids())
    money_services.bury(dead)
    return ended


def sweep_overdue() -> int:
    """End what is open past its deadline, should a living process have failed to."""
    now = datetime.now(UTC)
    overdue = "r.deadline_at < now() - interval '1 minute'"
    return sum(_end(workspace_id, _open_calls(workspace_id, overdue, {}, since=now - OVERDUE_WITHIN)) for workspace_id in workspace_ids())


def _sweep_workspace(workspace_id: int, dead: dict[UUID, datetime], living: Collection[UUID]) -> int:
    ended = 0
    if dead:
        since = min(dead.values()) - timedelta(seconds=CALL_SECONDS)
        ended = _end(workspace_id, _open_calls(workspace_id, "r.process_id = ANY(%(dead)s)", {"dead": list(dead)}, since=since))
    try:
        return ended + sum(_end_claim(workspace_id, claim) for claim in list(_left_claims(workspace_id, living)))
    except valkey.Unavailable:
        # Its claims are gone with it, or found when it is back.
        return ended


# --- What PostgreSQL knows ----------------------------------------------------------------------------------------------
_OPEN = """
    SELECT r.id, r.request_id, r.key_id, r.member_id, r.agent_run_id, r.occurred_at, r.held_micro_usd,
           COALESCE((SELECT max(n.streamed_micro_usd) FROM keys_ledgerentry n
                      WHERE n.workspace_id = r.workspace_id AND n.key_id = r.key_id AND n.agent_run_id = r.agent_run_id AND n.id >= r.id
                        AND n.kind = 'streamed' AND n.request_id = r.request_id), 0), r.call::text
      FROM keys_ledgerentry r
     WHERE r.workspace_id = %(workspace)s AND r.kind = 'reserve' AND r.id >= %(since)s::uuid AND {which}
       -- Of the same stretch, as it differs in its last bit: without that bound this reads the whole ledger.
       AND NOT EXISTS (SELECT 1 FROM keys_ledgerentry s
                        WHERE s.workspace_id = %(workspace)s AND s.id >= %(since)s::uuid AND s.id = orca_settle_id(r.id))
     ORDER BY r.id LIMIT 5000
"""


def _open_calls(workspace_id: int, which: str, values: dict, *, since: datetime) -> list[OpenCall]:
    with tenancy.scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_OPEN.format(which=which), {"workspace": workspace_id, "since": str(ids.lowest_at(since)), **values})
        return [OpenCall(*(*row[:-1], orjson.loads(row[-1]))) for row in cursor.fetchall()]


def _end(workspace_id: int, calls: Iterable[OpenCall]) -> int:
    calls = list(calls)
    if not calls:
        return 0
    recorder.record_now([], [_usage(workspace_id, call) for call in calls], [_settlement(workspace_id, call) for call in calls])
    for call in calls:
        names = money.accounts_of(call.key_id, call.member_id, call.occurred_at)
        _settle_in_valkey(workspace_id, call.claim_id, _spent(workspace_id, call.id), *names, money.run_account(call.key_id, call.run_id or "").name)
        logger.warning("call_swept", extra={"workspace_id": workspace_id, "request_id": call.request_id, "cost_micro_usd": call.streamed_micro_usd})
    return len(calls)


def _usage(workspace_id: int, call: OpenCall) -> dict:
    cost = call.streamed_micro_usd + call.call.get("lost_micro_usd", 0)
    source = UsageSource.COUNTED if cost else UsageSource.NONE
    of_end = {"status": 500, "error_code": "lost_record", "outcome": "lost", "usage_source": source.value, "latency_ms": 0}
    counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "first_byte_ms"))
    # The id that the process itself would write, should it live.
    request_uuid = UUID(hex=call.request_id.removeprefix("req_"))
    own = {"id": request_uuid, "workspace_id": workspace_id, "request_id": call.request_id, "key_id": call.key_id, "agent_run_id": call.run_id}
    return call.call | of_end | counts | own | {"occurred_at": call.occurred_at, "cost_micro_usd": cost}


def _settlement(workspace_id: int, call: OpenCall) -> dict:
    return {
        "id": settle_id(call.id),
        "workspace_id": workspace_id,
        "occurred_at": call.occurred_at,
        "request_id": call.request_id,
        "kind": "settle",
        "cause": "swept",
        "key_id": call.key_id,
        "member_id": call.member_id,
        "agent_run_id": call.run_id,
        "held_micro_usd": -call.held_micro_usd,
        "spent_micro_usd": call.streamed_micro_usd,
    }


def _spent(workspace_id: int, reserve_id: UUID) -> int | None:
    """What the ledger says that a call cost; None where it says nothing."""
    with tenancy.scope(workspace_id), connection.cursor() as cursor:
        cursor.execute("SELECT spent_micro_usd FROM keys_ledgerentry WHERE workspace_id = %s AND id = %s", [workspace_id, settle_id(reserve_id)])
        row = cursor.fetchone()
    return row and row[0]


# --- What only Valkey knows -----------------------------------------------------------------------------------------------
def _left_claims(workspace_id: int, living: Collection[UUID]) -> Iterator[LeftClaim]:
    now_ms = datetime.now(UTC).timestamp() * 1000
    lives = {str(process_id).encode() for process_id in living}
    for request_id, line in valkey.client().hscan_iter(f"{runs.space(workspace_id)}claims", count=500):
        process_id, deadline_ms, key_id, *_ = line.split(b"|")
        if process_id not in lives or int(deadline_ms) < now_ms:
            yield LeftClaim(request_id.decode(), int(key_id))


def _end_claim(workspace_id: int, claim: LeftClaim) -> int:
    """End a claim as PostgreSQL knows its call; one that it does not know is given back, and an event says so."""
    spent = _spent(workspace_id, claim.id)
    if spent is None and _is_reserved(workspace_id, claim.id):
        # Its process died a moment ago, and is not given up yet.
        return 0
    if spent is None and not _is_recorded(workspace_id, claim.request_id):
        key = named_key(workspace_id, claim.key_id)
        said = {"workspace_id": workspace_id, "request_id": claim.request_id, "key_id": claim.key_id}
        said |= {"token_name": key.name if key else "", "environment": key.environment if key else ""}
        recorder.record_now([record.lost(said, LOST, datetime.now(UTC))], [], [])
        logger.warning("lost_record", extra={"workspace_id": workspace_id, "request_id": claim.request_id})
    _settle_in_valkey(workspace_id, claim.request_id, spent or 0)
    return 1


def _is_reserved(workspace_id: int, reserve_id: UUID) -> bool:
    return _exists(workspace_id, "SELECT 1 FROM keys_ledgerentry WHERE workspace_id = %s AND id = %s", reserve_id)


def _is_recorded(workspace_id: int, request_id: str) -> bool:
    """Whether a call has a usage row: one that was refused has one, and no reservation."""
    return _exists(workspace_id, "SELECT 1 FROM keys_usage WHERE workspace_id = %s AND request_id = %s", request_id)


def _exists(workspace_id: int, question: str, value: UUID | str) -> bool:
    with tenancy.scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(question, [workspace_id, value])
        return cursor.fetchone() is not None


def _settle_in_valkey(workspace_id: int, request_id: str, spent: int | None, *names: str) -> None:
    """Valkey away: its accounts come back out of the ledger, or the claim is found again."""
    try:
        valkey.client().eval(money.SETTLE, 1, valkey.version_key(workspace_id), request_id, spent or 0, *names)
    except valkey.Unavailable:
        logger.info("swept_without_valkey", extra={"request_id": request_id})
