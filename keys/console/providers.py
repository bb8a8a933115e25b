"""Pages of providers: the list with its test, the editor."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from keys import probe, provider_services, selectors
from keys.forms import ProviderForm
from keys.models import ProviderCredential
from workspaces import errors
from workspaces.console_base import ConsoleRequest, page
from workspaces.params import row_id


class _Prepared(HttpResponse):
    """The question of a test, carried out of the transaction in which it was read."""

    def __init__(self, question: probe.Question) -> None:
        super().__init__()
        self.question = question


@require_GET
@page("keys.view_provider")
def providers(request: ConsoleRequest) -> HttpResponse:
    return _list(request)


def _list(request: ConsoleRequest, **shown: object) -> HttpResponse:
    return TemplateResponse(request, "keys/providers.html", {"providers": list(selectors.providers(request.workspace)), **shown})


@require_http_methods(["GET", "POST"])
@page("keys.change_provider")
def provider_new(request: ConsoleRequest) -> HttpResponse:
    form = ProviderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        fields = {"secret": ""} | form.stored
        if made := _try(form, provider_services.create_provider, request.workspace, **fields, actor=request.user, at=timezone.now()):
            messages.success(request, f"{made.name} is added. Keys may call its models from now on.")
            return redirect("console:providers")
    return TemplateResponse(request, "keys/provider_edit.html", {"form": form, "provider": None}, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@page("keys.change_provider")
def provider_edit(request: ConsoleRequest, pk: str) -> HttpResponse:
    provider = _provider(request, pk)
    form = ProviderForm(request.POST or None, initial=ProviderForm.initial_of(provider))
    if provider.is_demo:
        for name in ("name", "base_url", "secret", "forget_secret", "models"):
            form.fields[name].disabled = True
    if request.method == "POST" and form.is_valid():
        changes = {name: value for name, value in form.stored.items() if not provider.is_demo or name in ("enabled", "order")}
        if _try(form, provider_services.change_provider, provider, changes=changes, actor=request.user, at=timezone.now()) is not None:
            messages.success(request, f"{provider.name} is saved. It is in force from the next call.")
            return redirect("console:providers")
        provider = _provider(request, pk)
    return TemplateResponse(request, "keys/provider_edit.html", {"form": form, "provider": provider}, status=422 if form.errors else 200)


@require_POST
@page("keys.change_provider")
def provider_delete(request: ConsoleRequest, pk: str) -> HttpResponse:
    provider = _provider(request, pk)
    provider_services.delete_provider(provider, actor=request.user, at=timezone.now())
    messages.success(request, f"{provider.name} is deleted.")
    return redirect("console:providers")


@require_POST
@page("keys.change_provider")
def provider_move(request: ConsoleRequest, pk: str) -> HttpResponse:
    """``to``: up or down, in the order in which providers are asked."""
    provider_services.move_provider(_provider(request, pk), up=request.POST.get("to") == "up", actor=request.user, at=timezone.now())
    return redirect("console:providers")


@require_POST
def provider_test(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Ask a provider for its models, between two transactions: nothing remote happens inside one."""
    prepared = _prepare_test(request, pk)
    return _show_test(request, pk, outcome=probe.ask(prepared.question)) if isinstance(prepared, _Prepared) else prepared


@page("keys.change_provider")
def _prepare_test(request: ConsoleRequest, pk: str) -> HttpResponse:
    provider = _provider(request, pk)
    provider_services.count_test(request.workspace)
    return _Prepared(probe.question(provider))


@page("keys.change_provider")
def _show_test(request: ConsoleRequest, pk: str, *, outcome: probe.Outcome) -> HttpResponse:
    tested = _provider(request, pk)
    if request.headers.get("HX-Request"):
        return TemplateResponse(request, "keys/_outcome.html", {"outcome": outcome, "tested": tested})
    return _list(request, outcome=outcome, tested=tested)


provider_test.permission = "keys.change_provider"  # type: ignore[attr-defined]


def _provider(request: ConsoleRequest, pk: str) -> ProviderCredential:
    found = selectors.providers(request.workspace).filter(pk=row_id(pk)).first()
    if found is None:
        raise errors.NotFound("Not found.")
    return found


def _try(form: ProviderForm, service, *args: object, **kwargs: object):
    """Run a service; a refusal is said in the form and gives None. What returns nothing gives True."""
    try:
        with transaction.atomic():
            return service(*args, **kwargs) or True
    except errors.OrcaError as error:
        form.add_error(error.param if error.param in form.fields else None, error.message)
    return None
