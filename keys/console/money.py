"""Pages of budgets and of the workspace's own prices."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from keys import budget_selectors, money_selectors, money_services
from keys.engine.words import usd
from keys.models import Budget, PriceOverride
from keys.money_forms import BudgetForm, PriceForm, ToolPricesForm, lines_of
from workspaces import errors
from workspaces.console_base import ConsoleRequest, page
from workspaces.params import row_id


# --- Budgets --------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
@page("keys.change_budget")
def budgets(request: ConsoleRequest) -> HttpResponse:
    """Every budget with what it has come to, and a form that sets one. A higher limit is asked about first."""
    form = BudgetForm(request.POST or None, workspace=request.workspace, initial={"whose": request.GET.get("member", "")})
    if request.method == "GET" or not form.is_valid():
        return _budgets(request, form, status=200 if request.method == "GET" else 422)
    member, limit = form.member, form.limit_micro_usd
    before = request.workspace.budgets.filter(member=member).values_list("limit_micro_usd", flat=True).first()
    if before is not None and limit > before and not request.POST.get("confirmed"):
        return _budgets(request, form, opened=f"{usd(limit)} a month may be spent, {usd(before)} until now.", status=422)
    money_services.set_budget(request.workspace, member=member, limit_micro_usd=limit, actor=request.user, at=timezone.now())
    whose = f"the keys that {member.email} made" if member else "the workspace"
    messages.success(request, f"{usd(limit)} a month for {whose}: in force from the next call.")
    return redirect("console:budgets")


@require_POST
@page("keys.change_budget")
def budget_delete(request: ConsoleRequest, pk: str) -> HttpResponse:
    found: Budget | None = request.workspace.budgets.filter(pk=row_id(pk)).first()
    if found is None:
        raise errors.NotFound("Not found.")
    money_services.remove_budget(found, actor=request.user, at=timezone.now())
    messages.success(request, "The budget is removed: nothing limits the month any more.")
    return redirect("console:budgets")


def _budgets(request: ConsoleRequest, form: BudgetForm, *, opened: str = "", status: int = 200) -> HttpResponse:
    at = timezone.now()
    states = budget_selectors.states(request.workspace, at=at)
    context = {"states": states, "form": form, "opened": opened, "thresholds": budget_selectors.THRESHOLDS}
    return TemplateResponse(request, "keys/budgets.html", context, status=status)


# --- Prices ---------------------------------------------------------------------------------------------------------
@require_GET
@page("keys.view_price")
def prices(request: ConsoleRequest) -> HttpResponse:
    return TemplateResponse(request, "keys/prices.html", {"prices": list(request.workspace.price_overrides.all()[:500])})


@require_http_methods(["GET", "POST"])
@page("keys.change_price")
def price_new(request: ConsoleRequest) -> HttpResponse:
    form = PriceForm(request.POST or None, initial={"model": request.GET.get("model", "")[:128]})
    if request.method == "POST" and form.is_valid():
        model = form.cleaned_data["model"]
        if not request.workspace.price_overrides.filter(model=model).exists():
            return _save(request, form, model)
        form.add_error("model", "This model has a price of its own already.")
    return _price(request, form)


@require_http_methods(["GET", "POST"])
@page("keys.change_price")
def tool_prices(request: ConsoleRequest) -> HttpResponse:
    """All of them at once."""
    form = ToolPricesForm(request.POST or None, initial={"prices": lines_of(money_selectors.tool_prices(request.workspace))})
    if request.method == "POST" and form.is_valid():
        try:
            money_services.set_tool_prices(request.workspace, prices=form.cleaned_data["prices"], actor=request.user, at=timezone.now())
        except errors.ValidationFailed as refusal:
            form.add_error("prices", f"{(refusal.param or '').partition('.')[2]}: {refusal.message}".removeprefix(": "))
        else:
            messages.success(request, "The prices of tools are in force from the next call.")
            return redirect("console:tool_prices")
    return TemplateResponse(request, "keys/tool_prices.html", {"form": form}, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
@page("keys.change_price")
def price_edit(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Change a price. A lower one lets more through under every limit: that is asked about first."""
    found = _found(request, pk)
    form = PriceForm(request.POST or None, initial=PriceForm.initial_of(found), model=found.model)
    if request.method == "POST" and form.is_valid():
        lowered = form.lowered(found)
        return _price(request, form, found, lowered=lowered) if lowered and not request.POST.get("confirmed") else _save(request, form, found.model)
    return _price(request, form, found)


@require_POST
@page("keys.change_price")
def price_delete(request: ConsoleRequest, pk: str) -> HttpResponse:
    found = _found(request, pk)
    money_services.remove_price(found, actor=request.user, at=timezone.now())
    messages.success(request, f"{found.model} costs what its provider's list says again.")
    return redirect("console:prices")


def _save(request: ConsoleRequest, form: PriceForm, model: str) -> HttpResponse:
    try:
        money_services.set_price(request.workspace, model=model, fields=form.stored, actor=request.user, at=timezone.now())
    except errors.ValidationFailed as refusal:
        form.add_error(refusal.param if refusal.param in form.fields else None, refusal.message)
        return _price(request, form, request.workspace.price_overrides.filter(model=model).first())
    messages.success(request, f"The price of {model} is in force from the next call.")
    return redirect("console:prices")


def _price(request: ConsoleRequest, form: PriceForm, price: PriceOverride | None = None, *, lowered: Sequence[str] = ()) -> HttpResponse:
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "keys/price.html", {"form": form, "price": price, "lowered": lowered}, status=status)


def _found(request: ConsoleRequest, pk: str) -> PriceOverride:
    found = request.workspace.price_overrides.filter(pk=row_id(pk)).first()
    if found is None:
        raise errors.NotFound("Not found.")
    return found
