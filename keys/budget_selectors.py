"""How far each budget of a workspace is used this month, and what its Admins were told of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from django.db.models import Q

from keys import money_selectors
from keys.engine import pace
from keys.engine.ceilings import Account, Cycle, Scope, period
from keys.models import Budget, BudgetNotice
from keys.money_selectors import Balance
from workspaces.models import User, Workspace
from workspaces.permissions import Role

#: Parts of a budget, in percent, at which Admins are told: each once a month.
THRESHOLDS = (50, 80, 100)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget in its month, as it is ``at`` a moment. ``notified_percent`` None: nothing was to be told yet."""

    budget: Budget
    balance: Balance
    month: date
    resets_at: datetime
    at: datetime
    notified_percent: int | None = None

    @property
    def percent(self) -> int:
        """Whole percent that are spent, rounded down: 100 is reached, 99 is not."""
        limit = self.budget.limit_micro_usd
        return 100 * self.balance.spent_micro_usd // limit if limit else 100

    @property
    def is_reached(self) -> bool:
        return self.percent >= 100

    @property
    def left_micro_usd(self) -> int:
        return max(self.budget.limit_micro_usd - self.balance.spent_micro_usd - self.balance.held_micro_usd, 0)

    @property
    def reached_at(self) -> datetime | None:
        """When it is reached at this month's pace; None: not this month, or nobody can tell yet."""
        since = datetime.combine(self.month, time(), UTC)
        return pace.reached_before(self.resets_at, spent_micro_usd=self.balance.spent_micro_usd, left_micro_usd=self.left_micro_usd, since=since, at=self.at)

    @property
    def whose(self) -> str:
        """As in ``the workspace's budget``."""
        return f"{self.budget.member.email}'s" if self.budget.member else "the workspace's"


def states_of(workspace: Workspace, budgets: Iterable[Budget], *, at: datetime) -> list[BudgetState]:
    """In the order given."""
    month, resets_at = period(Cycle.MONTH, at)
    told: dict[int, int] = {}
    for budget_id, percent in workspace.budget_notices.filter(month=month).values_list("budget_id", "percent"):
        told[budget_id] = max(told.get(budget_id, 0), percent)
    return [BudgetState(budget, _balance(workspace, budget, month, at), month, resets_at, at, told.get(budget.pk)) for budget in budgets]


def states(workspace: Workspace, *, at: datetime) -> list[BudgetState]:
    """Every budget, the workspace's own first."""
    budgets = workspace.budgets.select_related("member").order_by("member__email")
    return states_of(workspace, sorted(budgets, key=lambda budget: budget.member_id is not None), at=at)


def notices(workspace: Workspace, *, at: datetime) -> list[BudgetNotice]:
    """What is to be said in the console: of each budget the highest part that this month came to, while the budget stands."""
    month, _ = period(Cycle.MONTH, at)
    found: dict[int, BudgetNotice] = {}
    for notice in workspace.budget_notices.filter(month=month).select_related("budget__member").order_by("percent"):
        found[notice.budget_id] = notice
    return list(found.values())


def told(workspace: Workspace, budget: Budget) -> list[User]:
    """Who is told of a budget: the Admins, and the member whose it is."""
    wanted = Q(role__gte=Role.ADMIN) | Q(user_id=budget.member_id) if budget.member_id else Q(role__gte=Role.ADMIN)
    members = workspace.memberships.filter(wanted, user__is_active=True).select_related("user").order_by("-role", "pk")
    return [membership.user for membership in members]


def _balance(workspace: Workspace, budget: Budget, month: date, at: datetime) -> Balance:
    scope, owner = (Scope.WORKSPACE, "") if budget.member_id is None else (Scope.MEMBER, str(budget.member_id))
    return money_selectors.balance(workspace, Account(scope, owner, month), at=at)
