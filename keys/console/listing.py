"""The list of relay keys: its filters, its export, and what is done to several keys at once."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from firewall.models import Policy
from keys import selectors, services
from keys.api.keys import MOST_UNUSED_DAYS, export_of
from keys.console.rows import openness_of, rows_of
from keys.engine import words
from keys.engine.scope import Status
from keys.forms import DAYS, SPANS
from keys.models import ApiKey
from workspaces import errors, exports
from workspaces.console_base import ConsoleRequest, page
from workspaces.paging import page_of
from workspaces.params import number_of, row_id

STATES = {"enabled": Status.ENABLED, "disabled": Status.DISABLED, "expired": Status.EXPIRED, "exhausted": Status.EXHAUSTED}
FILTERS = ("q", "state", "environment", "policy", "ceiling", "unused")
#: A key that nobody used for so long is worth a look.
UNUSED_DAYS = 30
MAX_BULK = 200


@require_GET
@page("keys.view_key")
def keys(request: ConsoleRequest) -> HttpResponse:
    at = timezone.now()
    asked = _asked(request)
    found = selectors.find_keys(request.workspace, _wanted(asked), at=at)
    policies = list(request.workspace.policies.all()[:200])
    shown = page_of(found, request.GET.get("cursor"))
    context = {
        "page": shown,
        "rows": rows_of(request, shown.rows, at),
        "count": found.count(),
        "asked": asked,
        "is_filtered": any(asked.values()),
        "states": list(STATES),
        "environments": selectors.environments(request.workspace),
        "policies": policies,
        "policy_word": next((policy.name for policy in policies if str(policy.pk) == asked["policy"]), asked["policy"] and "none"),
        "uncapped": selectors.find_keys(request.workspace, selectors.KeyFilter(has_ceiling=False), at=at).count(),
        "unused": selectors.find_keys(request.workspace, selectors.KeyFilter(unused_days=UNUSED_DAYS), at=at).count(),
        "unused_days": UNUSED_DAYS,
        "spans": [(choice, words) for choice, words, days in SPANS if days >= 1],
    }
    return TemplateResponse(request, "keys/keys.html", context)


@require_GET
@page("keys.export_key")
def keys_export(request: ConsoleRequest) -> HttpResponseBase:
    """The keys that the list's filters leave, all of them, as a file."""
    return export_of(request.workspace, _wanted(_asked(request)), exports.kind_of(request.GET.dict()))


def _asked(request: ConsoleRequest) -> dict[str, str]:
    """The filters of the list's address, as they are written there."""
    return {name: request.GET.get(name, "").strip()[:200].replace("\x00", "") for name in FILTERS}


def _wanted(asked: dict[str, str]) -> selectors.KeyFilter:
    if asked["state"] and asked["state"] not in STATES:
        raise errors.ValidationFailed("There is no such state.", param="state")
    if asked["ceiling"] not in ("", "none"):
        raise errors.ValidationFailed('A ceiling is filtered by "none".', param="ceiling")
    return selectors.KeyFilter(
        q=asked["q"],
        statuses=[STATES[asked["state"]]] if asked["state"] else [],
        environment=asked["environment"] or None,
        policy_id=row_id(asked["policy"], "policy") if asked["policy"] else None,
        has_ceiling=False if asked["ceiling"] else None,
        unused_days=number_of(asked["unused"], "unused", most=MOST_UNUSED_DAYS) if asked["unused"] else None,
    )


# --- Several at once --------------------------------------------------------------------------------------------------
@require_POST
@page("keys.change_key")
def bulk(request: ConsoleRequest) -> HttpResponse:
    """Disable, expire, bind or delete. What deletes or opens a key further asks first, on a page of its own that works without JavaScript."""
    ids = [row_id(value, "ids") for value in request.POST.getlist("ids")[:MAX_BULK]]
    found, at = list(request.workspace.api_keys.select_related("firewall_policy").filter(pk__in=ids)), timezone.now()
    action, confirmed = request.POST.get("action"), bool(request.POST.get("confirmed"))
    if not found:
        messages.error(request, "Select at least one key.")
    elif action == "disable":
        services.disable_keys(found, actor=request.user, at=at)
        messages.success(request, f"{_counted(found)} disabled.")
    elif action in ("expire", "attach"):
        changes = _expiry(request.POST, at) if action == "expire" else _binding(request)
        opened = {key.pk: words.loosened(openness_of(key), _after(key, changes)) for key in found}
        if any(opened.values()) and not confirmed:
            return _ask(request, found, at, action, opened)
        services.change_keys(found, changes=changes, actor=request.user, at=at)
        messages.success(request, f"{_counted(found)} changed. It is in force from the next call.")
    elif action == "delete" and confirmed:
        services.delete_keys(request.workspace, keys=found, actor=request.user, at=at)
        messages.success(request, f"{_counted(found)} deleted.")
    elif action == "delete":
        return _ask(request, found, at, action, {})
    else:
        messages.error(request, "Choose what to do with the keys.")
    return redirect("console:keys")


def _ask(request: ConsoleRequest, found: list[ApiKey], at: datetime, action: str, opened: Mapping[int, list[str]]) -> HttpResponse:
    rows = [(row, opened.get(row.key.pk, [])) for row in rows_of(request, found, at)]
    again = {name: request.POST.get(name, "") for name in ("expires", "policy")}
    return TemplateResponse(request, "keys/bulk.html", {"rows": rows, "counted": _counted(found), "action": action, "again": again})


def _expiry(sent: Mapping[str, str], at: datetime) -> dict[str, datetime]:
    if (days := DAYS.get(sent.get("expires", ""))) is None:
        raise errors.ValidationFailed("Choose when the keys expire.", param="expires")
    return {"expires_at": at + timedelta(days=days)}


def _binding(request: ConsoleRequest) -> dict[str, Policy | None]:
    if not request.POST.get("policy"):
        raise errors.ValidationFailed("Choose a policy.", param="policy")
    return {"firewall_policy": services.policy_of(request.workspace, row_id(request.POST["policy"], "policy"))}


def _after(key: ApiKey, changes: Mapping[str, datetime | Policy | None]) -> words.Openness:
    before = openness_of(key)
    if isinstance(at := changes.get("expires_at"), datetime):
        return replace(before, scope=replace(before.scope, expires_at=at))
    policy = changes.get("firewall_policy")
    return replace(before, policy=policy.name if isinstance(policy, Policy) else None)


def _counted(found: list[ApiKey]) -> str:
    return "1 key" if len(found) == 1 else f"{len(found)} keys"
