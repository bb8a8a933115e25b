"""What an autonomy level would have done to the calls of the last days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from firewall.engine import rule_json
from firewall.engine.autonomy import Level
from firewall.engine.backtest import replay
from firewall.engine.presets import Fields
from firewall.engine.replay import Judge
from firewall.engine.tally import Tally
from firewall.engine.types import Policy, Verdict
from firewall.selectors.backtests import newest_events
from workspaces.models import Workspace

WINDOW_DAYS = 7
#: Events that are judged anew, the newest first.
MOST_REPLAYED = 10_000


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
    #: Of the calls, those that a rule of the level may speak of or not: not all of them was kept.
    not_replayable: int
    is_partial: bool


def simulate(workspace: Workspace, level: Level, *, at: datetime) -> Simulation:
    """Judge the newest events anew, in the order of their runs: a backtest that is answered at once."""
    of_their_own = workspace.policies.filter(enabled=True, api_keys__isnull=False).exclude(name=level.policy_name)
    bound = list(of_their_own.values_list("api_keys__id", flat=True))
    start = at - timedelta(days=WINDOW_DAYS)
    events, is_partial = newest_events(workspace, start=start, end=at, but_key_ids=bound, at_most=MOST_REPLAYED)
    counted = Tally()
    replay(Judge(_policy(level), observe_mode=level.observe_mode), counted, events)
    # A request that was refused for itself is no call of a tool.
    counts = {(name, verdict): calls for (name, verdict), calls in counted.verdicts.items() if name and verdict}
    by_tool = [ToolVerdict(name, Verdict(verdict), calls) for (name, verdict), calls in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
    totals = {verdict: sum(each.calls for each in by_tool if each.verdict is verdict) for verdict in (Verdict.DENY, Verdict.PENDING_APPROVAL)}
    unknown = counted.not_replayable.total()
    return Simulation(
        level=level.name,
        window_days=WINDOW_DAYS,
        calls=sum(counts.values()) + unknown,
        would_deny=totals[Verdict.DENY],
        would_hold=totals[Verdict.PENDING_APPROVAL],
        by_tool=by_tool,
        rules=level.rules,
        not_replayable=unknown,
        is_partial=is_partial,
    )


def _policy(level: Level) -> Policy | None:
    if level.default_verdict is None:
        return None
    rules = tuple(rule_json.rule(number, fields) for number, fields in enumerate(level.rules, start=1))
    return Policy(0, level.policy_name, 0, Verdict(level.default_verdict), False, rules)
