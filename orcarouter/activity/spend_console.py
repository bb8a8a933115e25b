"""The usage page: what was spent, and on what."""

from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from keys import budget_selectors
from orcarouter.activity.selectors import spend
from orcarouter.activity.spend_api import by_of, export_of, read_after, wanted_of, write_after
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import PermissionRefused, ValidationFailed
from workspaces.paging import PAGE_SIZE
from workspaces.permissions import allowed

#: Stretches by their name in the address, in whole days.
RANGES = {"7d": 7, "30d": 30, "90d": 90}
WORDS = {"7d": "7 days", "30d": "30 days", "90d": "90 days"}
TABS = {"day": "Day", "model": "Model", "environment": "Environment", "key": "Key", "run": "Run", "member": "Member"}


@require_GET
@page("activity.view_totals")
def usage(request: ConsoleRequest) -> HttpResponse:
    sees_keys = allowed(request.membership, "activity.view_key_usage")
    by = by_of(request.GET.get("by", "day"), spend.GROUPS)
    chosen, wanted = _wanted(request)
    if not sees_keys and (by in spend.BY_KEY or wanted.key_id is not None):
        raise PermissionRefused("Usage of single keys needs the role Developer or above.")
    days = spend.by_day(request.workspace, wanted)
    after = read_after(request.GET.get("cursor"))
    # The chart has every day of the stretch, and so its total and the first of the groups.
    groups, later = (days, None) if by == "day" else spend.page(request.workspace, wanted, by, limit=PAGE_SIZE, after=after)
    is_told = allowed(request.membership, "keys.view_budget")
    context: dict[str, Any] = {
        "notices": budget_selectors.notices(request.workspace, at=timezone.now()) if is_told else [],
        "by": by,
        "tabs": [(name, words) for name, words in TABS.items() if sees_keys or name in spend.BY_TOTAL],
        "ranges": list(WORDS.items()),
        "chosen": chosen,
        "stretch": WORDS[chosen],
        "wanted": wanted,
        "is_filtered": wanted.environment is not None or wanted.key_id is not None or wanted.model is not None,
        "total": spend.total_of(days),
        "days": days,
        "groups": groups[::-1] if by == "day" else groups,
        "older": write_after(later),
        "is_first": "cursor" not in request.GET,
        "environments": _environments(request),
        "models": spend.models(request.workspace, wanted),
        "keys": list(request.workspace.api_keys.order_by("name").values("id", "name")[:30]) if sees_keys else [],
        "key_name": _key_name(request, wanted.key_id),
        "export": _exported(request, wanted),
    }
    return TemplateResponse(request, "activity/usage.html", context)


@require_GET
@page("activity.export_usage")
def export(request: ConsoleRequest) -> HttpResponseBase:
    """The page's figures as a file, all of them."""
    return export_of(request.workspace, request.GET.dict(), timezone.now())


def _wanted(request: HttpRequest) -> tuple[str, spend.Wanted]:
    chosen = request.GET.get("range", "30d")
    if chosen not in RANGES:
        raise ValidationFailed("There is no such range.", param="range")
    if any("\x00" in value for value in request.GET.values()):
        raise ValidationFailed("This value is not usable.", param="environment")
    at = timezone.now()
    asked = {name: value for name, value in request.GET.dict().items() if name in ("environment", "key_id", "model")}
    narrowed = wanted_of(asked, at)
    return chosen, spend.Wanted.last(RANGES[chosen], at, environment=narrowed.environment, key_id=narrowed.key_id, model=narrowed.model)


def _environments(request: ConsoleRequest) -> list[str]:
    return list(request.workspace.api_keys.exclude(environment="").order_by("environment").values_list("environment", flat=True).distinct()[:30])


def _key_name(request: ConsoleRequest, key_id: int | None) -> str:
    if key_id is None:
        return ""
    return request.workspace.api_keys.filter(pk=key_id).values_list("name", flat=True).first() or str(key_id)


def _exported(request: ConsoleRequest, wanted: spend.Wanted) -> str:
    """The query of an export of what the page shows; its group and format are added by the links."""
    query = QueryDict(mutable=True)
    query["from"], query["to"] = f"{wanted.since:%Y-%m-%d}", f"{wanted.until:%Y-%m-%d}"
    for name in ("environment", "key_id", "model"):
        if name in request.GET:
            query[name] = request.GET[name]
    return query.urlencode()
