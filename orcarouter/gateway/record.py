"""What is written of a call: rows of the event and usage tables and of the ledger, by their columns."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from firewall.engine.advertised import Row as Said
from firewall.engine.afterwards import Judged
from firewall.engine.recorded import judged_on
from firewall.engine.summary import summarise
from firewall.engine.types import Decision, Policy, RunState, Surface, ToolCall, Verdict
from keys.engine.grant import Grant, Route
from keys.models import LedgerEntry, UsageSource
from keys.money_selectors import settle_id
from orcarouter.gateway import metrics, rows
from orcarouter.gateway.correlate import Correlation
from orcarouter.gateway.cost import cost_micro_usd
from orcarouter.gateway.engine import costed
from orcarouter.gateway.engine.calls import EmittedCall, Usage
from orcarouter.gateway.engine.exchange import Exchange, shown
from orcarouter.gateway.money import Claim, run_account
from orcarouter.gateway.request import Request
from orcarouter.gateway.rows import Part, Row
from workspaces.ids import moment_of, uuid7

NOTHING = Usage(input_tokens=0, output_tokens=0)
#: As words: a member of Django's choices looks its value up with each use.
_RESERVE, _STREAMED, _SETTLE = (kind.value for kind in (LedgerEntry.Kind.RESERVE, LedgerEntry.Kind.STREAMED, LedgerEntry.Kind.SETTLE))
NOTHING_KEPT = Part(rows.KEPT, {})


@dataclass(slots=True)
class Call:
    """One relay call, as it becomes known on its way through the pipeline."""

    #: The request's: of it is made what stands for the call anywhere.
    uuid: UUID
    request_id: str
    started_at: datetime
    started: float  # of the monotonic clock, in seconds
    correlation: Correlation
    grant: Grant
    exchange: Exchange
    run_id: str
    run_source: str
    context_digest: str
    fingerprint: str
    claim: Claim | None = None
    process_id: UUID | None = None
    route: Route | None = field(default=None)
    first_byte_ms: int | None = None
    #: Attempts at the provider that came to nothing and are booked, and what they are booked at.
    lost_attempts: int = 0
    lost_micro_usd: int = 0
    #: The columns that all rows share, and those that events and usage do. What is not known is left out.
    moment: Part = field(init=False, repr=False)
    who: Part = field(init=False, repr=False)
    labels: Part = field(init=False, repr=False)

    @property
    def attempt_id(self) -> UUID:
        """Under which the attempt at hand is held and settled: the first one's is the call's, and none is of another moment."""
        return UUID(int=self.uuid.int ^ (2 * self.lost_attempts)) if self.lost_attempts else self.uuid

    @property
    def claim_id(self) -> str:
        return f"req_{self.attempt_id.hex}" if self.lost_attempts else self.request_id

    @property
    def held_micro_usd(self) -> int:
        return (self.claim.amount_micro_usd or 0) if self.claim else 0

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of all accounts that the call counts in."""
        known = self.claim.accounts if self.claim else ()
        return (*known, run_account(self.grant.key_id, self.run_id).name)

    def __post_init__(self) -> None:
        labels = {
            "token_name": self.grant.key_name,
            "environment": self.grant.environment,
            "model_name": shown(self.exchange.model),
            "run_source": self.run_source,
        }
        self.labels = Part(rows.LABELS, labels | self.correlation.labels)
        who = {"workspace_id": self.grant.workspace_id, "request_id": self.request_id, "key_id": self.grant.key_id, "agent_run_id": self.run_id}
        self.who = Part(rows.WHO, who)
        self.moment = Part(rows.STARTED, {"occurred_at": self.started_at})

    def leave_run(self) -> None:
        """The run may not begin: what is recorded from here on is not of it, so that it has not begun in the ledger either."""
        self.who = Part(rows.WHO, {**self.who.values, "agent_run_id": None})
        self.labels = Part(rows.LABELS, {**self.labels.values, "run_source": None})


def request(call: Call, decision: Decision, run: RunState, at: datetime) -> list[Row]:
    """The one event of a request that was refused for itself, not for one of its tools; ``run`` is what it was judged with."""
    return [_event(call, decision, _said(decision, Surface.INBOUND, ()), _judged(call, run, at))]


def advertised(call: Call, offered: Sequence[Said], run: RunState, at: datetime) -> list[Row]:
    """One event for each: a decision for one tool, or one shared by several."""
    judged = _judged(call, run, at)
    return [_event(call, each.decision, _of_offer(each), judged) for each in offered]


def emitted(call: Call, calls: Sequence[EmittedCall], judged: Sequence[Judged], at: datetime) -> list[Row]:
    """The events of an answer's tool calls, of each one and of the sequences it completed, with what is kept of its arguments."""
    found = []
    for called, each in zip(calls, judged, strict=True):
        rested_on = _judged(call, each.run, at)
        for decision in (each.decision, *each.findings):
            if decision.is_recorded:
                said = _said(decision, Surface.RESPONSE, (called.name,))
                found.append(_event(call, decision, said, rested_on, Part(rows.KEPT, _kept(called.arguments, decision))))
    return found


def evaluated(
    shared: Mapping[str, object], called: ToolCall, arguments: str | None, decision: Decision, *, policy: Policy | None, run: RunState, at: datetime
) -> dict:
    """The event of a call that its maker asked about, with ``shared`` for what it belongs to; ``arguments`` None where none were given."""
    said = _said(decision, called.surface, (called.name,)).values
    own = {**_own(decision, said), "source": "evaluate", "occurred_at": at, "judged_on": judged_on(policy, run, called.destinations)}
    return {**shared, **said, **own} if arguments is None else {**shared, **said, **own, **_kept(arguments, decision)}


def lost(shared: Mapping[str, object], decision: Decision, at: datetime) -> dict:
    """The event of a call that nothing else is known of."""
    said = _said(decision, Surface.INBOUND, ()).values
    return {**shared, **said, **_own(decision, said), "occurred_at": at}


def _kept(arguments: str, decision: Decision) -> dict:
    """What is kept of a call's arguments: of the clean ones where they were sanitized."""
    clean = decision.arguments if decision.verdict is Verdict.SANITIZE else None
    summary = summarise(arguments if clean is None else clean)
    return {"args_summary": summary.text, "args_hash": summary.digest}


def _event(call: Call, decision: Decision, said: Part, judged: Part, kept: Part = NOTHING_KEPT) -> Row:
    return Row(_own(decision, said.values), judged, call.who, call.labels, said, kept)


def _own(decision: Decision, said: Mapping[str, Any]) -> dict:
    """What no other event says, of one that is counted by this."""
    metrics.DECISIONS.counts[said["surface"], said["verdict"]] += len(said["tools"]) or 1
    return {"id": uuid7(), "approval_id": decision.approval_id}


def _judged(call: Call, run: RunState, at: datetime) -> Part:
    return Part(rows.JUDGED, {"occurred_at": at, "judged_on": judged_on(call.grant.policy, run)})


@lru_cache(maxsize=4_096)  # the rows of an offer are the same with each call, and to make what they say costs most of an event
def _of_offer(row: Said) -> Part:
    return _said(row.decision, Surface.INBOUND, row.tools)


def _said(decision: Decision, surface: Surface, tools: Sequence[str]) -> Part:
    """What an event says of its decision."""
    names = [shown(name) for name in tools]
    said = {
        "source": "relay",
        "surface": surface.value,
        "verdict": decision.verdict.value,
        "tool_name": names[0] if len(names) == 1 else None,
        "tools": names if len(names) > 1 else [],
        "reason": shown(decision.reason, 500),
        "reason_code": decision.reason_code,
        "factors": [shown(factor, 200) for factor in decision.factors[:32]],
        "risk_score": decision.risk_score,
        "policy_id": decision.policy_id,
        "policy_name": decision.policy_name or None,
        "policy_version": decision.policy_version,
        "rule_id": decision.rule_id,
        "rule_label": decision.rule_label or None,
        "shadow": decision.shadow,
        "gap": decision.gap,
        "quarantine": False,
    }
    return Part(rows.SAID, said)


def tool_usage(shared: Mapping[str, object], request: Request, *, status: int, outcome: str, error_code: str | None, cost_micro_usd: int) -> dict:
    """The usage row of a call that was asked about and whose tool has a price; no model was called by it."""
    unknown = ("provider_id", "provider_name", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "first_byte_ms")
    return {
        **dict.fromkeys((*unknown, "context_digest", "fingerprint")),
        **shared,
        "model_name": None,
        "id": request.uuid,
        "occurred_at": moment_of(request.uuid),
        "status": status,
        "error_code": error_code,
        "outcome": outcome,
        "streamed": False,
        "usage_source": UsageSource.TOOL.value,
        "cost_micro_usd": cost_micro_usd,
        "latency_ms": round((time.time() - moment_of(request.uuid).timestamp()) * 1000),
    }


def tool_movement(shared: Mapping[str, object], request: Request, *, member_id: int | None, cost_micro_usd: int) -> dict:
    """What such a call has spent: it was held in Valkey alone, for the moment of its judgement."""
    return {
        "id": settle_id(request.uuid),
        "workspace_id": shared["workspace_id"],
        "occurred_at": moment_of(request.uuid),
        "request_id": request.id,
        "kind": _SETTLE,
        "cause": "tool",
        "key_id": shared["key_id"],
        "member_id": member_id,
        "agent_run_id": shared["agent_run_id"],
        "held_micro_usd": 0,
        "spent_micro_usd": cost_micro_usd,
    }


# --- Money ------------------------------------------------------------------------------------------------------------
def _movement(call: Call, entry_id: UUID, kind: str, cause: str, /, **more: object) -> Row:
    own = {"id": entry_id, "kind": kind, "cause": cause, "member_id": call.grant.limits.member_id}
    return Row({**own, "held_micro_usd": 0, "spent_micro_usd": 0, **more}, call.moment, call.who)


def reserve(call: Call) -> Row:
    """Before the provider is asked: what the call holds, and what is to be said of it should its process die."""
    deadline = call.claim and datetime.fromtimestamp(call.claim.deadline_ms / 1000, UTC)
    kept = {**call.labels.values, "streamed": call.exchange.is_stream, "context_digest": call.context_digest, "fingerprint": call.fingerprint}
    if call.lost_micro_usd:
        kept["lost_micro_usd"] = call.lost_micro_usd
    more = {"held_micro_usd": call.held_micro_usd, "process_id": call.process_id, "deadline_at": deadline, "call": kept}
    return _movement(call, call.attempt_id, _RESERVE, "retry" if call.lost_attempts else "call", **more)


def streamed(call: Call, used: Usage) -> Row:
    """What a call has cost so far: it moves nothing."""
    return _movement(call, uuid7(), _STREAMED, "call", streamed_micro_usd=cost_of(call, used) or 0)


def settle(call: Call, *, cause: str, cost_micro_usd: int) -> Row:
    """At the end: what was held is given back, what was spent is booked."""
    return _movement(call, settle_id(call.attempt_id), _SETTLE, cause, held_micro_usd=-call.held_micro_usd, spent_micro_usd=cost_micro_usd)


def usage(
    call: Call, *, outcome: str, status: int, used: Usage, source: UsageSource, cost_micro_usd: int | None, latency_ms: int, error_code: str | None = None
) -> Row:
    """The one row a finished call leaves, of all its attempts. ``cost_micro_usd`` is of the last attempt; None is an unknown price."""
    if call.lost_micro_usd and source is UsageSource.NONE:
        source = UsageSource.COUNTED
    own = {
        # Its request's own id: whoever writes second, the call or the sweep, writes nothing.
        "id": call.uuid,
        "provider_id": call.route and call.route.provider_id,
        "provider_name": call.route and call.route.provider_name,
        "status": status,
        "error_code": error_code,
        "outcome": outcome,
        "streamed": call.exchange.is_stream,
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "cached_tokens": used.cached_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "usage_source": source.value,
        "cost_micro_usd": None if cost_micro_usd is None else cost_micro_usd + call.lost_micro_usd,
        "latency_ms": latency_ms,
        "first_byte_ms": call.first_byte_ms,
        "context_digest": call.context_digest,
        "fingerprint": call.fingerprint,
    }
    return Row(own, call.moment, call.who, call.labels)


def cost_of(call: Call, used: Usage) -> int | None:
    """What the attempt at hand cost, in micro-USD; None: the price is unknown."""
    if used == NOTHING:
        return 0
    return cost_micro_usd(call.route, used, at=call.started_at) if call.route else None


def whole_cost_of(call: Call, used: Usage) -> int | None:
    """What the call cost with all its attempts."""
    cost = cost_of(call, used)
    return None if cost is None else cost + call.lost_micro_usd


def teller(call: Call, headers: Mapping[bytes, bytes]) -> Callable[[Usage], int | None] | None:
    """What says the cost of a usage, for a client that asked to be told; None for every other."""
    return partial(whole_cost_of, call) if costed.wants(headers) else None


def told(call: Call, headers: Mapping[bytes, bytes], body: bytes, reported: Usage | None) -> bytes:
    """The answer that leaves, its cost in its usage where the client asked and the provider told what was used."""
    tells = teller(call, headers)
    return costed.told(body, tells(reported) if tells and reported else None)
