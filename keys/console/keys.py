"""Pages of relay keys: the editor, one key. The list has ``listing``."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from firewall.engine.decide import resolve
from keys import deeds, money_selectors, selectors, services
from keys.closing import Proposal, proposal
from keys.console.rows import default_policy, key_of, openness_of, rows_of
from keys.engine import words
from keys.engine.ceilings import Cycle, Limits
from keys.engine.scope import ModelList, Scope
from keys.forms import KeyForm
from keys.gauges import all_gauges_of, own_limits, run_cap_of
from keys.models import ApiKey
from workspaces import errors
from workspaces.authentication import signed_in_lately
from workspaces.console_base import ConsoleRequest, page
from workspaces.engine.client_address import parse_network
from workspaces.permissions import allowed

#: What each button of a key's page changes, and the word for it afterwards.
SWITCHES = {
    "disable": ({"is_disabled": True}, "disabled"),
    "enable": ({"is_disabled": False}, "enabled"),
    "freeze": ({"is_frozen": True}, "frozen"),
    "unfreeze": ({"is_frozen": False}, "working again"),
}


# --- The editor -----------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
@page("keys.change_key")
def key_new(request: ConsoleRequest) -> HttpResponse:
    """Make a key; ``?from=id`` begins with the scope of another, to replace it."""
    at = timezone.now()
    other = key_of(request, request.GET["from"]) if "from" in request.GET else None
    if request.method == "GET":
        initial = KeyForm.initial_of_successor(other, at=at) if other else None
        return _editor(request, _form(request, at=at, initial=initial), at=at)
    form = _form(request, request.POST, at=at)
    if not form.is_valid():
        return _editor(request, form, at=at, status=422)
    key, plaintext = services.create_key(
        request.workspace, fields=form.stored | ({"replaces": other, "group": other.group} if other else {}), actor=request.user, at=at
    )
    return _detail(request, key, at=at, plaintext=plaintext, is_new=True)


@require_http_methods(["GET", "POST"])
@page("keys.change_key")
def key_edit(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Change a key. What loosens it is asked about first: the form comes back with what it would open.

    ``?close=gate`` begins with what would close a gate of the least-agency checklist.
    """
    key, at = key_of(request, pk), timezone.now()
    proposed = proposal(request.workspace, key, request.GET.get("close", ""), at=at)
    form = _form(request, request.POST or None, at=at, initial=KeyForm.initial_of(key) | proposed.fields)
    if proposed.begins and request.method == "GET":
        form.fields[proposed.begins].widget.attrs["autofocus"] = True
    if request.method == "GET" or not form.is_valid():
        return _editor(request, form, at=at, key=key, proposed=proposed, status=200 if request.method == "GET" else 422)
    opened = words.loosened(openness_of(key), _openness(form.stored, key))
    if opened and not request.POST.get("confirmed"):
        return _editor(request, form, at=at, key=key, opened=opened, status=422)
    services.change_key(key, changes=form.stored, actor=request.user, at=at)
    messages.success(request, f"{key.name} is saved. It is in force from the key's next call.")
    return redirect("console:key", pk=key.pk)


@require_GET
@page("keys.change_key")
def key_effect(request: ConsoleRequest) -> HttpResponse:
    """The sentence beside the editor, for what is typed so far."""
    at = timezone.now()
    form = _form(request, request.GET, at=at)
    return TemplateResponse(request, "keys/_effect.html", {"sentence": _sentence(request, form, at)})


def _form(request: ConsoleRequest, *args: object, at: datetime, initial: dict | None = None) -> KeyForm:
    # Who may not make a gateway key does not see the switch; a key that is one keeps it.
    may_make_gateway = allowed(request.membership, "keys.change_gateway_key")
    return KeyForm(*args, policies=request.workspace.policies.all(), at=at, may_make_gateway=may_make_gateway, initial=initial)


def _editor(
    request: ConsoleRequest,
    form: KeyForm,
    *,
    at: datetime,
    key: ApiKey | None = None,
    opened: Sequence[str] = (),
    proposed: Proposal | None = None,
    status: int = 200,
) -> HttpResponse:
    if form.is_bound or key is None:
        sentence = _sentence(request, form, at)
    else:
        sentence = words.sentence(selectors.scope_of(key), own_limits(key), resolve(key.firewall_policy, default_policy(request)), at)
    return TemplateResponse(request, "keys/edit.html", {"form": form, "key": key, "opened": opened, "proposed": proposed, "sentence": sentence}, status=status)


def _sentence(request: ConsoleRequest, form: KeyForm, at: datetime) -> str:
    """What the typed limits come to; empty while they cannot be read. Without a name there is no key yet, but its limits can be told."""
    if not form.is_bound or set(form.errors) - {"name", "environment"}:
        return ""
    form.cleaned_data = {"name": "", "environment": ""} | form.cleaned_data
    typed = _openness(form.stored, None)
    return words.sentence(typed.scope, typed.limits, resolve(form.stored["firewall_policy"], default_policy(request)), at)


def _openness(stored: dict, key: ApiKey | None) -> words.Openness:
    scope = Scope(
        expires_at=stored["expires_at"],
        networks=tuple(map(parse_network, stored["allow_ips"])),
        models=ModelList(tuple(stored["model_limits"])) if stored["model_limits_enabled"] else None,
    )
    policy = stored["firewall_policy"]
    limits = Limits(stored["credit_limit_micro_usd"], stored["cycle_limit_micro_usd"], Cycle(stored["cycle"]))
    is_gateway = stored.get("is_firewall_gateway", bool(key and key.is_firewall_gateway))
    return words.Openness(scope, policy.name if policy else None, is_gateway, limits)


# --- One key --------------------------------------------------------------------------------------------------------
@require_GET
@page("keys.view_key")
def key(request: ConsoleRequest, pk: str) -> HttpResponse:
    return _detail(request, key_of(request, pk), at=timezone.now())


@require_POST
@page("keys.change_key")
def key_switch(request: ConsoleRequest, pk: str) -> HttpResponse:
    """``action``: disable, enable, freeze, unfreeze."""
    found, at = key_of(request, pk), timezone.now()
    try:
        changes, word = SWITCHES[request.POST.get("action", "")]
    except KeyError as error:
        raise errors.ValidationFailed("Choose what to do with the key.", param="action") from error
    services.change_key(found, changes=changes, actor=request.user, at=at)
    messages.success(request, f"{found.name} is {word}. It is in force from the key's next call.")
    return redirect("console:key_leak" if request.POST.get("next") == "leak" else "console:key", pk=found.pk)


@require_POST
@page("keys.change_key")
def key_delete(request: ConsoleRequest, pk: str) -> HttpResponse:
    found = key_of(request, pk)
    services.delete_keys(request.workspace, keys=[found], actor=request.user, at=timezone.now())
    messages.success(request, f"{found.name} is deleted.")
    return redirect("console:keys")


@require_POST
@page("keys.reveal_key")
def key_reveal(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Show the plaintext once more, after a sign-in of the last 15 minutes."""
    found, at = key_of(request, pk), timezone.now()
    if found.is_firewall_gateway and not allowed(request.membership, "keys.reveal_gateway_key"):
        raise errors.PermissionRefused("Revealing a gateway key needs the role Admin or above.", needs="keys.reveal_gateway_key")
    if not signed_in_lately(request, at):
        messages.info(request, "Sign in again, then reveal the key: that asks for a sign-in of the last 15 minutes.")
        return redirect(f"{reverse('account_reauthenticate')}?{urlencode({'next': reverse('console:key', args=[found.pk])})}")
    try:
        with transaction.atomic():
            plaintext = services.reveal_key(found, actor=request.user, at=at)
    except errors.OrcaError as refusal:
        messages.error(request, refusal.message)
        return redirect("console:key", pk=found.pk)
    return _detail(request, found, at=at, plaintext=plaintext)


def _detail(request: ConsoleRequest, key: ApiKey, *, at: datetime, plaintext: str = "", is_new: bool = False) -> HttpResponse:
    scope, policy = selectors.scope_of(key), resolve(key.firewall_policy, default_policy(request))
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    context = {
        "row": rows_of(request, [key], at)[0],
        "key": key,
        "policy": policy,
        "today": selectors.uses_of(request.workspace, [key], since=midnight)[key.pk],
        "denied": deeds.denied_since(request.workspace, key, midnight),
        "spent": money_selectors.key_balances(request.workspace, [key.pk])[key.pk].spent_micro_usd,
        "hours": selectors.spend_by_hour(request.workspace, key, at=at),
        "sentence": words.sentence(scope, own_limits(key), policy, at),
        "gauges": all_gauges_of(request.workspace, key, at=at),
        "run_cap": run_cap_of(request.workspace, key, policy, at=at),
        "plaintext": plaintext,
        "is_new": is_new,
        "may_reveal": allowed(request.membership, "keys.reveal_gateway_key" if key.is_firewall_gateway else "keys.reveal_key"),
        "sends_mail": settings.SENDS_MAIL,
        "base_url": request.build_absolute_uri("/v1"),
        "model": next(iter(key.model_limits), "") or selectors.first_model(request.workspace),
    }
    return TemplateResponse(request, "keys/key.html", context)
