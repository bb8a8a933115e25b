"""Firewall > Backtests: a policy, saved or as it is being typed, over what was recorded."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from firewall import backtests as services
from firewall.console.policies import found_policy
from firewall.console.typed import plain, with_typed
from firewall.models import Backtest
from firewall.rule_form import RuleForm
from firewall.selectors.backtests import backtests as backtests_of
from firewall.services import snapshot
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError, ValidationFailed
from workspaces.paging import page_of
from workspaces.params import row_id

RANGES = ((1, "24 hours"), (7, "7 days"), (30, "30 days"), (90, "90 days"))
WHOSE = (("", "Those it governs, or all if none"), ("all", "All"))
KINDS = (
    ("newly_denied", "Newly denied", "deny"),
    ("newly_held", "Newly held", "pending_approval"),
    ("newly_allowed", "Newly allowed", "allow"),
    ("other", "Other changes", "audit"),
)


@require_http_methods(["GET", "POST"])
@page("firewall.backtest_policy")
def backtests(request: ConsoleRequest) -> HttpResponse:
    """The list, and the form that starts one."""
    wrong = ""
    if request.method == "POST":
        try:
            started = _start(request)
        except OrcaError as error:
            wrong = error.message
        else:
            return redirect("console:backtest", started.pk)
    typed = request.POST if request.method == "POST" else request.GET
    context = {
        "page": page_of(backtests_of(request.workspace).defer("result"), request.GET.get("cursor")),
        "policies": list(request.workspace.policies.order_by("name").values("pk", "name", "shadow_mode")[:500]),
        "typed": {name: typed.get(name, "") for name in ("policy", "days", "keys", "enforce")},
        "ranges": RANGES,
        "whose": WHOSE,
        "wrong": wrong,
    }
    return TemplateResponse(request, "firewall/backtests.html", context, status=422 if wrong else 200)


@require_POST
@page("firewall.backtest_policy")
def backtest_draft(request: ConsoleRequest, pk: str) -> HttpResponse:
    """A backtest of the policy with the rule that is in its form."""
    policy, form = found_policy(request, pk), RuleForm(request.POST)
    if not form.is_valid():
        field, words = next(iter(form.errors.items()))
        raise ValidationFailed(f"{form.fields[field].label}: {words[0]}" if field in form.fields else str(words[0]), param=field)
    _, rules = with_typed(policy, list(policy.rules.all()), form.fields_of_rule, row_id(request.POST.get("edit", ""), param="edit"))
    draft = snapshot(policy) | {"rules": [plain(rule) for rule in rules]}
    started = services.start_backtest(request.workspace, policy_id=policy.pk, draft=draft, actor=request.user, at=timezone.now())
    address = f"/backtests/{started.pk}/"
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)


@require_GET
@page("firewall.backtest_policy")
def backtest(request: ConsoleRequest, pk: str) -> HttpResponse:
    shown = _found(request, pk)
    result: dict[str, Any] | None = shown.result
    context = {
        "backtest": shown,
        "result": result,
        "figures": [(words, result[kind]) for kind, words, _ in KINDS] if result else [],
        "examples": [(words, [_example(each) for each in result["examples"][kind]]) for kind, words, _ in KINDS] if result else [],
    }
    return TemplateResponse(request, "firewall/backtest.html", context)


@require_POST
@page("firewall.backtest_policy")
def backtest_cancel(request: ConsoleRequest, pk: str) -> HttpResponse:
    shown = _found(request, pk)
    try:
        services.cancel_backtest(shown, at=timezone.now())
    except OrcaError as error:
        messages.error(request, error.message)
    return redirect("console:backtest", shown.pk)


def _found(request: ConsoleRequest, pk: str) -> Backtest:
    shown = backtests_of(request.workspace).filter(pk=row_id(pk)).first()
    if shown is None:
        raise NotFound("There is no such backtest.")
    return shown


def _start(request: ConsoleRequest) -> Backtest:
    days = request.POST.get("days") or "7"
    if days not in [str(number) for number, _ in RANGES]:
        raise ValidationFailed("There is no such window.", param="days")
    policy_id, at = row_id(request.POST.get("policy", ""), param="policy"), timezone.now()
    return services.start_backtest(
        request.workspace,
        policy_id=policy_id,
        start=at - timedelta(days=int(days)),
        keys=request.POST.get("keys") or None,
        enforce="enforce" in request.POST,
        actor=request.user,
        at=at,
    )


def _example(each: dict) -> dict:
    return each | {"at": datetime.fromtimestamp(each["at_ms"] / 1000, UTC)}
