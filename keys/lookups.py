"""What a relay key may read of its own calls and its own limits. Each function enters the workspace itself.

Source: spec/platform.md 6.3.
"""

from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Q, Sum

from keys import money_selectors
from keys.models import Usage
from workspaces import ids, tenancy
from workspaces.selectors import workspace


def generation(workspace_id: int, key_id: int, request_id: str) -> Usage | None:
    """A finished call of this key, or of another key of the same maker; None for everybody else's and for one that is not settled yet."""
    with tenancy.scope(workspace_id):
        found = workspace(workspace_id)
        if found is None:
            return None
        maker = found.api_keys.filter(pk=key_id).values_list("created_by_id", flat=True).first()
        # A key that nobody made has no siblings.
        keys = Q(key_id=key_id) if maker is None else Q(key_id=key_id) | Q(key_id__in=found.api_keys.filter(created_by_id=maker).values("pk"))
        return found.usage.filter(keys, request_id=request_id).order_by("-pk").first()


@dataclass(frozen=True, slots=True)
class Account:
    """A key's money in micro-USD. ``credit_limit_micro_usd`` 0: unlimited; ``expires_at`` None: never."""

    credit_limit_micro_usd: int
    spent_micro_usd: int
    held_micro_usd: int
    expires_at: datetime | None


def account(workspace_id: int, key_id: int) -> Account | None:
    """What a key may spend in its life and has spent; None for a key that is gone."""
    with tenancy.scope(workspace_id):
        found = workspace(workspace_id)
        key = found.api_keys.filter(pk=key_id).first() if found else None
        if found is None or key is None:
            return None
        balance = money_selectors.key_balances(found, [key_id])[key_id]
        return Account(key.credit_limit_micro_usd, balance.spent_micro_usd, balance.held_micro_usd, key.expires_at)


def spent_between(workspace_id: int, key_id: int, since: date, until: date) -> int:
    """What the calls of a key's days cost, ``until`` exclusive, in micro-USD; as far back as usage is kept."""
    with tenancy.scope(workspace_id):
        found = workspace(workspace_id)
        if found is None:
            return 0
        bounds = {"pk__gte": ids.lowest_at(_start(since)), "pk__lt": ids.lowest_at(_start(until))}
        return found.usage.filter(key_id=key_id, **bounds).aggregate(sum=Sum("cost_micro_usd"))["sum"] or 0


def _start(day: date) -> datetime:
    return datetime.fromisoformat(f"{day.isoformat()}T00:00:00+00:00")
