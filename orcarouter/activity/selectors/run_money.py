"""What one run has spent, what its calls in flight hold, and the cap that ends it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, Min, Sum

from firewall.engine.decide import resolve
from firewall.models import Policy, Rule
from firewall.selectors import strictest_cap
from keys import money_selectors
from keys.engine import pace
from keys.engine.ceilings import Account, Scope
from keys.models import StoppedRun
from orcarouter.activity.selectors.runs import Run
from workspaces import money
from workspaces.ids import lowest_at
from workspaces.models import Workspace

#: The pace of a run is that of its calls of so long, told after so much of it and from so many calls on.
LATELY, TOLD_AFTER, TOLD_FROM = timedelta(minutes=10), timedelta(seconds=5), 2


@dataclass(frozen=True, slots=True)
class RunMoney:
    """Micro-USD. ``rule`` is the one that caps runs of the key now, the strictest of its policy; None: nothing does.

    ``reached_at`` is when the cap is reached at the present pace; None: it is not in sight, or nobody can tell.
    """

    spent_micro_usd: int
    held_micro_usd: int
    rule: Rule | None = None
    policy: Policy | None = None
    stopped: StoppedRun | None = None
    reached_at: datetime | None = None

    @property
    def cap_micro_usd(self) -> int | None:
        return None if self.rule is None or self.rule.cap_cost_cents is None else self.rule.cap_cost_cents * money.MICRO_PER_CENT

    @property
    def denies(self) -> bool:
        """Whether the cap ends runs: in shadow it is only told."""
        return self.policy is not None and not self.policy.shadow_mode

    @property
    def left_micro_usd(self) -> int:
        return max((self.cap_micro_usd or 0) - self.spent_micro_usd - self.held_micro_usd, 0)

    @property
    def is_reached(self) -> bool:
        return self.cap_micro_usd is not None and self.spent_micro_usd >= self.cap_micro_usd


def money_of(workspace: Workspace, run: Run, *, at: datetime) -> RunMoney:
    """The cap is that of today's policy, which judges the run's next call. A run without a key spends nothing."""
    if run.key_id is None:
        return RunMoney(run.cost_micro_usd or 0, 0)
    balance = money_selectors.balance(workspace, Account(Scope.RUN, f"{run.key_id}.{run.id}"), at=at)
    policy = _policy(workspace, run.key_id)
    rule = strictest_cap(policy) if policy else None
    stopped = workspace.stopped_runs.select_related("stopped_by").filter(key_id=run.key_id, run_id=run.id).first()
    # Calls from before there was a ledger are in the usage alone.
    found = RunMoney(max(balance.spent_micro_usd, run.cost_micro_usd or 0), balance.held_micro_usd, rule, policy, stopped)
    return replace(found, reached_at=_reached_at(workspace, run.key_id, run.id, found, at)) if rule and stopped is None else found


def _reached_at(workspace: Workspace, key_id: int, run_id: str, spent: RunMoney, at: datetime) -> datetime | None:
    calls = workspace.usage.filter(key_id=key_id, agent_run_id=run_id, pk__gte=lowest_at(at - LATELY))
    lately = calls.aggregate(calls=Count("pk"), cost=Sum("cost_micro_usd"), first=Min("occurred_at"))
    if lately["calls"] < TOLD_FROM:
        return None
    return pace.reached_at(spent_micro_usd=lately["cost"] or 0, left_micro_usd=spent.left_micro_usd, since=lately["first"], at=at, least=TOLD_AFTER)


def is_known(workspace: Workspace, key_id: int, run_id: str) -> bool:
    """Whether the run has made a call, or is making its first one."""
    of_run = {"key_id": key_id, "agent_run_id": run_id}
    return any(rows.filter(**of_run).exists() for rows in (workspace.usage, workspace.ledger, workspace.events))


def _policy(workspace: Workspace, key_id: int) -> Policy | None:
    own = workspace.policies.filter(api_keys=key_id).first()
    return resolve(own, workspace.policies.filter(is_default=True).first())
