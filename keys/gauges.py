"""How far a key has come to each of its ceilings: what is spent and held, of how much."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Sum
from django.db.models.functions import Coalesce

from firewall.models import Policy, Rule
from firewall.selectors import strictest_cap
from keys import money_selectors
from keys.engine import pace
from keys.engine.ceilings import Ceiling, Cycle, Limits, Scope, ceilings, period
from keys.engine.words import usd
from keys.models import ApiKey
from keys.money_selectors import Balance
from workspaces import money
from workspaces.ids import lowest_at
from workspaces.models import Workspace


@dataclass(frozen=True, slots=True)
class Gauge:
    """One ceiling. ``title`` as in "A month"; ``resets_at`` None: never."""

    title: str
    limit_micro_usd: int
    balance: Balance
    resets_at: datetime | None = None
    #: Whose it is, where it is not the key's own.
    of: str = ""
    #: The cycle as a word, empty for the whole life.
    cycle: str = ""
    #: When it is reached at the present pace; None: not before it begins anew, or nobody can tell.
    reached_at: datetime | None = None

    @property
    def share(self) -> float:
        """Spent, as a part of the limit; more than 1 past it."""
        return self.balance.spent_micro_usd / self.limit_micro_usd if self.limit_micro_usd else 1.0

    @property
    def is_reached(self) -> bool:
        return self.balance.spent_micro_usd >= self.limit_micro_usd

    @property
    def left_micro_usd(self) -> int:
        return max(self.limit_micro_usd - self.balance.spent_micro_usd - self.balance.held_micro_usd, 0)

    @property
    def limit_words(self) -> str:
        return f"{usd(self.limit_micro_usd)}{f' a {self.cycle}' if self.cycle else ''}"


def own_limits(key: ApiKey) -> Limits:
    """What is set on the key itself: no budget of others."""
    return Limits(key.credit_limit_micro_usd, key.cycle_limit_micro_usd, Cycle(key.cycle), key.created_by_id)


def gauges_of(workspace: Workspace, keys: Sequence[ApiKey], *, at: datetime) -> dict[int, tuple[Gauge, ...]]:
    """The ceilings that each key has itself: a statement for each kind of cycle, however many keys."""
    found: dict[int, tuple[Gauge, ...]] = {key.pk: () for key in keys}
    for cycle in Cycle:
        of_cycle = [key for key in keys if key.cycle_limit_micro_usd and key.cycle == cycle]
        if of_cycle:
            first, following = period(cycle, at)
            balances = money_selectors.key_balances(workspace, [key.pk for key in of_cycle], since=first)
            for key in of_cycle:
                found[key.pk] = (Gauge(f"A {cycle}", key.cycle_limit_micro_usd, balances[key.pk], following, cycle=cycle),)
    for_life = [key for key in keys if key.credit_limit_micro_usd]
    balances = money_selectors.key_balances(workspace, [key.pk for key in for_life]) if for_life else {}
    for key in for_life:
        found[key.pk] += (Gauge("Over its life", key.credit_limit_micro_usd, balances[key.pk]),)
    return found


_TITLES = {
    Scope.KEY: ("Over its life", ""),
    Scope.WORKSPACE: ("A month", "the workspace's budget"),
    Scope.MEMBER: ("A month", "the budget of who made the key"),
}


#: The pace of a limit over the whole life is that of so many days.
LATELY = timedelta(days=7)


def all_gauges_of(workspace: Workspace, key: ApiKey, *, at: datetime) -> list[Gauge]:
    """Every ceiling that a call of the key meets, the budgets of its workspace and its maker too, with what the pace of its spending comes to."""
    return [_gauge(workspace, key, ceiling, at) for ceiling in ceilings(money_selectors.limits_of(key), key.pk, at)]


def _gauge(workspace: Workspace, key: ApiKey, ceiling: Ceiling, at: datetime) -> Gauge:
    cycle = ceiling.account.owner.partition(".")[2] if ceiling.account.scope is Scope.CYCLE else "month" if ceiling.resets_at else ""
    title, of = _TITLES.get(ceiling.account.scope, (f"A {cycle}", ""))
    balance = money_selectors.balance(workspace, ceiling.account, at=at)
    gauge = Gauge(title, ceiling.limit_micro_usd, balance, ceiling.resets_at, of=of, cycle=cycle)
    return replace(gauge, reached_at=_reached_at(workspace, key, ceiling, gauge, at))


def _reached_at(workspace: Workspace, key: ApiKey, ceiling: Ceiling, gauge: Gauge, at: datetime) -> datetime | None:
    if ceiling.resets_at and ceiling.account.since:
        spent = gauge.balance.spent_micro_usd
        return pace.reached_before(ceiling.resets_at, spent_micro_usd=spent, left_micro_usd=gauge.left_micro_usd, since=_start(ceiling.account.since), at=at)
    first = (at - LATELY).astimezone(UTC).date()
    spent = money_selectors.key_balances(workspace, [key.pk], since=first)[key.pk].spent_micro_usd
    since = max(_start(first), key.created_at)
    return pace.reached_at(spent_micro_usd=spent, left_micro_usd=gauge.left_micro_usd, since=since, at=at, least=timedelta(hours=1))


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True, slots=True)
class RunCap:
    """What each run of a key may cost by its policy, and the run of today that cost most; ``run_id`` None: none did."""

    rule: Rule
    policy: Policy
    run_id: str | None = None
    dearest_micro_usd: int = 0

    @property
    def limit_micro_usd(self) -> int:
        return (self.rule.cap_cost_cents or 0) * money.MICRO_PER_CENT

    @property
    def is_reached(self) -> bool:
        return self.dearest_micro_usd >= self.limit_micro_usd


def run_cap_of(workspace: Workspace, key: ApiKey, policy: Policy | None, *, at: datetime) -> RunCap | None:
    """``policy`` is the one in force; None where it caps no run."""
    if policy is None or (rule := strictest_cap(policy)) is None:
        return None
    today = workspace.usage.filter(key_id=key.pk, pk__gte=lowest_at(_start(at.astimezone(UTC).date()))).exclude(agent_run_id=None)
    dearest = today.order_by().values("agent_run_id").annotate(cost=Coalesce(Sum("cost_micro_usd"), 0)).order_by("-cost", "agent_run_id").first()
    return RunCap(rule, policy, dearest["agent_run_id"], dearest["cost"]) if dearest else RunCap(rule, policy)
