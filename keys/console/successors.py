"""When a key has to go: the runbook of a leak, and a rotation with both keys' use side by side."""

from datetime import datetime, timedelta

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from keys import deeds, money_selectors, selectors, services
from keys.console.rows import key_of, rows_of
from keys.engine.scope import Status
from keys.models import ApiKey
from workspaces import errors
from workspaces.console_base import ConsoleRequest, page

#: How far back a leak is looked at, by its name in the address.
SINCE = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
WORDS = {"1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
#: An old key without a call for so long may go.
QUIET = timedelta(hours=24)


@require_GET
@page("keys.change_key")
def leak(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Disable now, see what it did, go on with a successor, delete: each step with its button."""
    key, at = key_of(request, pk), timezone.now()
    chosen = request.GET.get("since", "24h")
    if chosen not in SINCE:
        raise errors.ValidationFailed("There is no such stretch of time.", param="since")
    since = at - SINCE[chosen]
    context = {
        "key": key,
        "state": _refused_as(request, key, at),
        "mask": services.masked(key),
        "chosen": chosen,
        "stretches": list(WORDS.items()),
        "since": since,
        "did": deeds.deeds(request.workspace, key, since=since),
        "successor": deeds.successor_of(request.workspace, key),
    }
    return TemplateResponse(request, "keys/leak.html", context)


@require_GET
@page("keys.change_key")
def rotation(request: ConsoleRequest, pk: str) -> HttpResponse:
    """The old key and its successor beside one another, until the old one is quiet."""
    key, at = key_of(request, pk), timezone.now()
    successor = deeds.successor_of(request.workspace, key)
    pair = [each for each in (key, successor) if each is not None]
    used, days = selectors.last_used(request.workspace, pair), selectors.uses_of(request.workspace, pair, since=at - QUIET)
    balances = money_selectors.key_balances(request.workspace, [each.pk for each in pair])
    last = used[key.pk]
    context = {
        "key": key,
        "successor": successor,
        "sides": [(each, services.masked(each), used[each.pk], balances[each.pk].spent_micro_usd, days[each.pk]) for each in pair],
        "hours": deeds.calls_by_hour(request.workspace, pair, at=at),
        "last": last,
        "is_moved": bool(successor and used[successor.pk]),
        "is_quiet": _is_quiet(last, at),
    }
    return TemplateResponse(request, "keys/rotation.html", context)


def _refused_as(request: ConsoleRequest, key: ApiKey, at: datetime) -> str:
    """Why a key that nobody disabled is refused all the same; empty while it works."""
    if key.is_frozen:
        return "Frozen"
    state = rows_of(request, [key], at)[0].status
    return {Status.EXPIRED: "Expired", Status.EXHAUSTED: "Exhausted"}.get(state, "")


def _is_quiet(last: datetime | None, at: datetime) -> bool:
    return last is None or at - last >= QUIET
