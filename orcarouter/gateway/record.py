"""What is written of a call: rows of the event and usage tables as plain dicts, in the recorder's columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from firewall.engine.advertised import Row
from firewall.engine.summary import summarise
from firewall.engine.types import Decision, Surface, Verdict
from keys.engine.grant import Grant, Price, Route
from keys.models import UsageSource
from orcarouter.gateway import metrics
from orcarouter.gateway.correlate import Correlation
from orcarouter.gateway.engine import pricing
from orcarouter.gateway.engine.calls import EmittedCall, Usage
from orcarouter.gateway.engine.exchange import Exchange, shown
from workspaces.ids import uuid7

NOTHING = Usage(input_tokens=0, output_tokens=0)


@dataclass(slots=True)
class Call:
    """One relay call, as it becomes known on its way through the pipeline."""

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
    route: Route | None = field(default=None)
    first_byte_ms: int | None = None
    #: The columns that events and usage share.
    shared: dict = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.shared = {
            "workspace_id": self.grant.workspace_id,
            "request_id": self.request_id,
            "key_id": self.grant.key_id,
            "token_name": self.grant.key_name,
            "environment": self.grant.environment,
            "model_name": shown(self.exchange.model),
            "conversation_id": self.correlation.conversation_id,
            "agent_run_id": self.run_id,
            "run_source": self.run_source,
            "step_id": self.correlation.step_id,
            "parent_step_id": self.correlation.parent_step_id,
        }


def advertised(call: Call, rows: Sequence[Row], at: datetime) -> list[dict]:
    """One event a row: a decision for one tool, or one shared by several."""
    return [_event(call, row.decision, Surface.INBOUND, at, row.tools) for row in rows]


def emitted(call: Call, calls: Sequence[EmittedCall], decisions: Sequence[Decision], at: datetime) -> list[dict]:
    """One event for each tool call of an answer, with what is kept of its arguments: of the clean ones where they were sanitized."""
    found = []
    for called, decision in zip(calls, decisions, strict=True):
        if not decision.is_recorded:
            continue
        row = _event(call, decision, Surface.RESPONSE, at, (called.name,))
        arguments = decision.arguments if decision.verdict is Verdict.SANITIZE else None
        summary = summarise(called.arguments if arguments is None else arguments)
        row["args_summary"], row["args_hash"] = summary.text, summary.digest
        found.append(row)
    return found


def _event(call: Call, decision: Decision, surface: Surface, at: datetime, tools: Sequence[str]) -> dict:
    metrics.decisions_of(surface, decision.verdict).inc(len(tools))
    names = [shown(name) for name in tools]
    return {
        **call.shared,
        "id": uuid7(),
        "occurred_at": at,
        "source": "relay",
        "surface": surface,
        "verdict": decision.verdict,
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


def usage(call: Call, *, outcome: str, status: int, used: Usage, source: UsageSource, latency_ms: int, error_code: str | None = None) -> dict:
    """The one row a finished call leaves; ``cost_micro_usd`` None is an unknown price."""
    return {
        **call.shared,
        "id": uuid7(),
        "occurred_at": call.started_at,
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
        "cost_micro_usd": _cost(call, used),
        "latency_ms": latency_ms,
        "first_byte_ms": call.first_byte_ms,
        "context_digest": call.context_digest,
        "fingerprint": call.fingerprint,
    }


def _cost(call: Call, used: Usage) -> int | None:
    if used == NOTHING:
        return 0
    route = call.route
    if route is None:
        return None
    price = route.price
    if price is None or (price.input_per_million_micro_usd is not None and price.output_per_million_micro_usd is not None):
        return _cost_of(call, route, used)
    # One side has a price of our own, the other the list price: each is counted for itself.
    costs = [_cost_of(call, route, side) for side in _sides(used)]
    return None if None in costs else sum(cost for cost in costs if cost)


def _cost_of(call: Call, route: Route, used: Usage) -> int | None:
    override = _override(route.price, used)
    return pricing.cost_micro_usd(route.upstream_model, used, at=call.started_at, override=override, base_url=None if route.is_demo else route.base_url)


def _override(price: Price | None, used: Usage) -> pricing.ModelPrice | None:
    """Our own price, if it has one for each side that was used."""
    if price is None:
        return None
    sides = ((price.input_per_million_micro_usd, used.input_tokens), (price.output_per_million_micro_usd, used.output_tokens))
    if any(own is None and tokens for own, tokens in sides):
        return None
    return pricing.ModelPrice(price.input_per_million_micro_usd or 0, price.output_per_million_micro_usd or 0)


def _sides(used: Usage) -> tuple[Usage, Usage]:
    asked = Usage(
        input_tokens=used.input_tokens,
        cached_tokens=used.cached_tokens,
        cache_write_tokens=used.cache_write_tokens,
        input_audio_tokens=used.input_audio_tokens,
    )
    return asked, Usage(output_tokens=used.output_tokens, reasoning_tokens=used.reasoning_tokens, output_audio_tokens=used.output_audio_tokens)
