"""What an autonomy level would have done to the calls of the last days."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from firewall.engine import rule_json
from firewall.engine.arguments import decoded
from firewall.engine.autonomy import Level
from firewall.engine.decide import decide
from firewall.engine.presets import Fields
from firewall.engine.types import Policy, RunState, Surface, ToolCall, Verdict
from firewall.models import AFTER_A_HOLD
from workspaces.ids import lowest_at
from workspaces.models import Workspace

WINDOW_DAYS = 7
#: Events that are judged anew, the newest first.
MOST_REPLAYED = 5_000
_STATELESS = RunState()


@dataclass(frozen=True, slots=True)
class ToolVerdict:
    tool_name: str
    verdict: Verdict
    calls: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """``by_tool`` has the most calls first; keys with an enabled policy of their own are left out, as a level leaves them alone."""

    level: str
    window_days: int
    calls: int
    would_deny: int
    would_hold: int
    by_tool: list[ToolVerdict]
    rules: Sequence[Fields]
    is_partial: bool


def simulate(workspace: Workspace, level: Level, *, at: datetime) -> Simulation:
    """Judge the newest events anew. Of their arguments only the summary is left: one that was cut short is judged without arguments."""
    policy = _policy(level)
    of_their_own = workspace.policies.filter(enabled=True, api_keys__isnull=False).exclude(name=level.policy_name)
    bound = list(of_their_own.values_list("api_keys__id", flat=True))
    recent = (
        workspace.events.filter(pk__gte=lowest_at(at - timedelta(days=WINDOW_DAYS)), pk__lt=lowest_at(at))
        .exclude(key_id__in=bound)
        .exclude(reason_code__in=AFTER_A_HOLD)
    )
    rows = list(recent.order_by("-pk").values_list("surface", "tool_name", "tools", "args_summary")[: MOST_REPLAYED + 1])
    counts: Counter[tuple[str, Verdict]] = Counter()
    for surface, tool, tools, summary in rows[:MOST_REPLAYED]:
        arguments = summary if summary and decoded(summary) is not None else None
        for name in [tool] if tool else tools:
            call = ToolCall(Surface(surface), name, arguments)
            counts[name, decide(policy, call, _STATELESS, observe_mode=level.observe_mode).verdict] += 1
    verdicts: Counter[Verdict] = Counter()
    for (_, verdict), calls in counts.items():
        verdicts[verdict] += calls
    by_tool = [ToolVerdict(name, verdict, calls) for (name, verdict), calls in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
    denied, held = verdicts[Verdict.DENY], verdicts[Verdict.PENDING_APPROVAL]
    return Simulation(level.name, WINDOW_DAYS, counts.total(), denied, held, by_tool, level.rules, len(rows) > MOST_REPLAYED)


def _policy(level: Level) -> Policy | None:
    if level.default_verdict is None:
        return None
    rules = tuple(rule_json.rule(number, fields) for number, fields in enumerate(level.rules, start=1))
    return Policy(0, level.policy_name, 0, Verdict(level.default_verdict), False, rules)
