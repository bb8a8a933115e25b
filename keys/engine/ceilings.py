"""What a call may not exceed: the ceilings of a key, of who made it, of its workspace. Source: spec/decisions.md 4.5, 4.6; spec/platform.md 1.6."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple


class Cycle(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def period(cycle: Cycle, at: datetime) -> tuple[date, datetime]:
    """The first day of the period that ``at`` is in, and when the next begins: UTC, weeks from Monday."""
    today = at.astimezone(UTC).date()
    match cycle:
        case Cycle.DAY:
            first, following = today, today + timedelta(days=1)
        case Cycle.WEEK:
            first = today - timedelta(days=today.weekday())
            following = first + timedelta(days=7)
        case Cycle.MONTH:
            first = today.replace(day=1)
            following = (first + timedelta(days=31)).replace(day=1)
    return first, datetime(following.year, following.month, following.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is set, in micro-USD. Of a key 0 is no limit, as documented; a budget is None where there is none, and 0 lets nothing through."""

    credit_limit_micro_usd: int = 0
    cycle_limit_micro_usd: int = 0
    cycle: Cycle = Cycle.MONTH
    #: Who made the key: whose budget it draws on.
    member_id: int | None = None
    workspace_month_micro_usd: int | None = None
    member_month_micro_usd: int | None = None


NO_LIMITS = Limits()


class Scope(StrEnum):
    """Whose spending an account sums."""

    KEY = "key"
    CYCLE = "cycle"
    WORKSPACE = "workspace"
    MEMBER = "member"
    RUN = "run"


class Account(NamedTuple):
    """A sum over the ledger: of whom, and from which day of UTC on (None: since ever). ``name`` is unique in the workspace."""

    scope: Scope
    owner: str
    since: date | None = None

    @property
    def name(self) -> str:
        return f"{self.scope}:{self.owner}:{self.since or ''}"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An account and what it may come to; ``resets_at`` None: never. ``cycle`` is the word for its period."""

    account: Account
    limit_micro_usd: int
    resets_at: datetime | None = None


def ceilings(limits: Limits, key_id: int, at: datetime) -> tuple[Ceiling, ...]:
    """Every ceiling that a call of this key meets, in the order in which they are named to the caller: the key's own first."""
    return _ceilings_of(limits, key_id, at.astimezone(UTC).date())


@lru_cache(maxsize=4096)  # the same all day
def _ceilings_of(limits: Limits, key_id: int, day: date) -> tuple[Ceiling, ...]:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found: list[Ceiling] = []
    if limits.credit_limit_micro_usd:
        found.append(Ceiling(Account(Scope.KEY, str(key_id)), limits.credit_limit_micro_usd))
    if limits.cycle_limit_micro_usd:
        first, following = period(limits.cycle, at)
        # Keys may change their cycle: a day's account is not the month's that begins with it.
        found.append(Ceiling(Account(Scope.CYCLE, f"{key_id}.{limits.cycle}", first), limits.cycle_limit_micro_usd, following))
    first, following = period(Cycle.MONTH, at)
    if limits.workspace_month_micro_usd is not None:
        found.append(Ceiling(Account(Scope.WORKSPACE, "", first), limits.workspace_month_micro_usd, following))
    if limits.member_month_micro_usd is not None and limits.member_id is not None:
        found.append(Ceiling(Account(Scope.MEMBER, str(limits.member_id), first), limits.member_month_micro_usd, following))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the caller is told: a code of 403, a message, and what a program may go by."""

    code: str
    message: str
    metadata: dict[str, Any] = field(default_factory=dict)


def refusal(ceiling: Ceiling) -> Refusal:
    resets = f"{ceiling.resets_at:%Y-%m-%dT%H:%M:%SZ}" if ceiling.resets_at else ""
    match ceiling.account.scope:
        case Scope.CYCLE:
            return Refusal("access_denied", f"token cycle spend limit reached, resets at {resets}", {"resets_at": resets})
        case Scope.MEMBER:
            return Refusal("insufficient_user_quota", f"monthly budget reached for this member, resets at {resets}", {"resets_at": resets})
        case Scope.WORKSPACE:
            return Refusal("insufficient_user_quota", f"monthly budget reached for this workspace, resets at {resets}", {"resets_at": resets})
        case _:
            return Refusal("pre_consume_token_quota_failed", "token quota is not enough")
