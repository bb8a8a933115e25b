"""Recorded runs: calls judged as the gateway judges them, and the events that its own record makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from firewall.engine import advertised, afterwards
from firewall.engine.arguments import decoded
from firewall.engine.decide import decide
from firewall.engine.destinations import destinations
from firewall.engine.replay import Event
from firewall.engine.types import Decision, Policy, RunState, Surface, ToolCall, Verdict
from orcarouter.gateway import record, rows

START_MS = 1_760_000_000_000


def event_of(row: dict, at_ms: int) -> Event:
    """The recorder's row as it is read back."""
    return Event(
        *(row["id"], at_ms, row["source"], str(row["surface"]), str(row["verdict"]), row["tool_name"], row["tools"], row.get("skill_name")),
        *(row["reason_code"] and str(row["reason_code"]), row["request_id"], row["agent_run_id"], row["key_id"], row["token_name"]),
        *(row.get("args_summary"), row.get("args_hash"), row.get("approval_id"), row["shadow"], row["policy_id"], row["policy_version"], row["judged_on"]),
    )


def shared(number: int, run_id: str = "run-1", skill: str | None = None) -> dict[str, Any]:
    return {"workspace_id": 1, "request_id": f"req_{number}", "key_id": 1, "token_name": "agent", "agent_run_id": run_id, "skill_name": skill}


class Live:
    """One run as it happens under a policy. Every call costs ``cost`` micro-USD once it was let in."""

    def __init__(self, policy: Policy | None, *, observe_mode: bool = False, run_id: str = "run-1", cost: int = 1, gap_ms: int = 400) -> None:
        self.policy, self.observes, self.run_id, self.cost, self.gap_ms = policy, observe_mode, run_id, cost, gap_ms
        self.run = RunState(at_ms=START_MS)
        self.events: list[Event] = []
        self.decisions: list[tuple[ToolCall, RunState, Decision]] = []

    def ask(self, call: ToolCall, **state: Any) -> Decision:
        """A call that its maker asks about, on any surface but ``inbound``."""
        self.run = replace(self.run, calls=len(self.events), at_ms=self.run.at_ms + self.gap_ms, **state)
        given = call.arguments
        # As the hook does: a call without arguments is called with none.
        call = replace(call, arguments="{}" if given is None else given)
        if call.destinations is None and self.policy and any(line.reads_addresses for line in self.policy.lines if line.rule.enabled):
            # As the hook does: what a rule with addresses looks at is looked up.
            found = destinations(decoded(call.arguments or ""))
            call = replace(call, destinations=tuple(replace(to, addresses=()) if to.needs_resolving else to for to in found))
        decision = decide(self.policy, call, self.run, observe_mode=self.observes)
        goes_on = decision.verdict not in (Verdict.DENY, Verdict.PENDING_APPROVAL)
        findings = afterwards.completed(self.policy, call, self.run) if goes_on else ()
        number = len(self.decisions)
        at = datetime.fromtimestamp(self.run.at_ms / 1000, UTC)
        for each in (decision, *findings):
            if each.is_recorded:
                told = shared(number, self.run_id, call.skill)
                row = record.evaluated(told, call, given, each, policy=self.policy, run=self.run, at=at)
                self.events.append(event_of(row, self.run.at_ms))
        self.decisions.append((call, self.run, decision))
        if goes_on:
            self.run = replace(afterwards.advance(self.policy, call, self.run), spent_micro_usd=self.run.spent_micro_usd + self.cost)
        return decision

    def offer(self, names: Sequence[str], **state: Any) -> list[Decision]:
        """Tools that one request offers."""
        self.run = replace(self.run, at_ms=self.run.at_ms + self.gap_ms, **state)
        offered = advertised.decide_advertised(self.policy, tuple(names), self.run, observe_mode=self.observes)
        told = shared(len(self.decisions), self.run_id)
        call: Any = SimpleNamespace(who=rows.Part(rows.WHO, told), labels=rows.Part(rows.LABELS, told), grant=SimpleNamespace(policy=self.policy))
        found = record.advertised(call, offered.rows, self.run, datetime.fromtimestamp(self.run.at_ms / 1000, UTC))
        self.events += [event_of(row, self.run.at_ms) for row in found]
        self.decisions += [(ToolCall(Surface.INBOUND, name), self.run, decision) for name, decision in zip(names, offered.decisions, strict=True)]
        return list(offered.decisions)
