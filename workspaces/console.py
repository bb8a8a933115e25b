"""Pages of people and workspaces: members, one's own access tokens and account, the audit log, the invitation's landing."""

from datetime import timedelta
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workspaces import forms, selectors, services
from workspaces.api import invitation_link
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError
from workspaces.models import Membership
from workspaces.paging import page_of
from workspaces.params import row_id
from workspaces.permissions import Role, allowed


# --- Members --------------------------------------------------------------------------------------------------------
@require_GET
@page("workspaces.view_members")
def members(request: ConsoleRequest) -> HttpResponse:
    return _members_page(request, forms.InviteForm())


@require_POST
@page("workspaces.change_members")
def invite(request: ConsoleRequest) -> HttpResponse:
    form = forms.InviteForm(request.POST)
    if form.is_valid() and (made := _try(form, services.invite, request.workspace, **form.cleaned_data, actor=request.user, at=timezone.now())):
        invitation, token = made
        return _members_page(request, forms.InviteForm(), invited=invitation, link=invitation_link(request, token))
    return _members_page(request, form)


def _members_page(request: ConsoleRequest, form: forms.InviteForm, **shown: object) -> HttpResponse:
    found = page_of(selectors.members(request.workspace), request.GET.get("cursor"))
    # Nobody gives a role above their own, so no other is offered; the service refuses one all the same.
    roles = [role for role in Role if role <= request.membership.role]
    form.offer(roles)
    may_change = allowed(request.membership, "workspaces.change_members")
    context = {
        "page": found,
        "rows": sorted(found.rows, key=lambda member: (-member.role, member.user.email)),
        "count": request.workspace.memberships.count(),
        "form": form,
        "roles": roles,
        "invitations": selectors.open_invitations(request.workspace, timezone.now()).order_by("-pk")[:200] if may_change else [],
        "workspace_form": forms.WorkspaceForm(initial={"name": request.workspace.name}),
    }
    return TemplateResponse(request, "workspaces/members.html", context | shown, status=422 if form.errors else 200)


@require_POST
@page("workspaces.change_members")
def member_role(request: ConsoleRequest, pk: str) -> HttpResponse:
    membership, form = _member(request, pk), forms.RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a role.")
    elif _try(request, services.change_role, membership, role=form.cleaned_data["role"], actor=request.user, at=timezone.now(), default=True):
        messages.success(request, f"{membership.user} is now {membership.get_role_display()}.")
    return redirect("console:members")


@require_POST
@page("workspaces.change_members")
def member_remove(request: ConsoleRequest, pk: str) -> HttpResponse:
    membership = _member(request, pk)
    if _try(request, services.remove_member, membership, actor=request.user, at=timezone.now(), default=True):
        messages.success(request, f"{membership.user} is no longer a member.")
    return redirect("console:members")


def _member(request: ConsoleRequest, pk: str) -> Membership:
    return _found(selectors.members(request.workspace).filter(pk=row_id(pk)).first())


@require_POST
@page("workspaces.change_members")
def invitation_revoke(request: ConsoleRequest, pk: str) -> HttpResponse:
    invitation = _found(request.workspace.invitations.filter(pk=row_id(pk)).first())
    if _try(request, services.revoke_invitation, invitation, actor=request.user, at=timezone.now(), default=True):
        messages.success(request, f"The invitation of {invitation.email} opens nothing any more.")
    return redirect("console:members")


@require_POST
@page("workspaces.change")
def rename(request: ConsoleRequest) -> HttpResponse:
    form = forms.WorkspaceForm(request.POST)
    if form.is_valid():
        services.rename_workspace(request.workspace, name=form.cleaned_data["name"], actor=request.user, at=timezone.now())
        messages.success(request, "The workspace is renamed.")
    else:
        messages.error(request, "A name has 1 to 80 characters.")
    return redirect("console:members")


# --- One's own ------------------------------------------------------------------------------------------------------
@require_GET
@page("workspaces.own_tokens")
def tokens(request: ConsoleRequest) -> HttpResponse:
    return _tokens_page(request, forms.TokenForm())


@require_POST
@page("workspaces.own_tokens")
def token_create(request: ConsoleRequest) -> HttpResponse:
    form, now = forms.TokenForm(request.POST), timezone.now()
    if form.is_valid():
        wanted = {"name": form.cleaned_data["name"], "scopes": form.cleaned_data["scopes"], "expires_at": now + timedelta(days=form.cleaned_data["days"])}
        made = _try(form, services.create_access_token, request.workspace, user=request.user, at=now, **wanted)
        if made:
            return _tokens_page(request, forms.TokenForm(), secret=made[1])
    return _tokens_page(request, form)


def _tokens_page(request: ConsoleRequest, form: forms.TokenForm, **shown: object) -> HttpResponse:
    found = page_of(selectors.own_tokens(request.workspace, request.user), request.GET.get("cursor"))
    context = {"page": found, "form": form, "now": timezone.now()}
    return TemplateResponse(request, "workspaces/tokens.html", context | shown, status=422 if form.errors else 200)


@require_POST
@page("workspaces.own_tokens")
def token_revoke(request: ConsoleRequest, pk: str) -> HttpResponse:
    token = _found(selectors.own_tokens(request.workspace, request.user).filter(pk=row_id(pk)).first())
    services.revoke_access_token(token, actor=request.user, at=timezone.now())
    messages.success(request, f"The token {token.name} opens nothing any more.")
    return redirect("console:tokens")


@require_http_methods(["GET", "POST"])
@page("workspaces.view")
def account(request: ConsoleRequest) -> HttpResponse:
    form = forms.PersonForm(request.POST or None, initial={"name": request.user.name})
    if request.method == "POST" and form.is_valid():
        services.change_name(request.user, name=form.cleaned_data["name"])
        messages.success(request, "Your name is saved.")
        return redirect("console:account")
    context = {"form": form, "mine": selectors.memberships_of(request.user)}
    return TemplateResponse(request, "workspaces/account.html", context, status=422 if form.errors else 200)


@require_POST
@page("workspaces.view")
def leave(request: ConsoleRequest) -> HttpResponse:
    if not _try(request, services.remove_member, request.membership, actor=request.user, at=timezone.now(), default=True):
        return redirect("console:account")
    request.session.pop("workspace_id", None)
    messages.success(request, f"You have left {request.workspace.name}.")
    return redirect(settings.LOGIN_REDIRECT_URL)


@require_POST
@login_required
def switch(request: ConsoleRequest) -> HttpResponse:
    """Choose the workspace that this session's pages show."""
    wanted = row_id(request.POST.get("workspace"), "workspace")
    if wanted not in {membership.workspace_id for membership in selectors.workspaces_of(request.user)}:
        raise NotFound("No such workspace.")
    request.session["workspace_id"] = wanted
    return redirect(settings.LOGIN_REDIRECT_URL)


# --- Audit log ------------------------------------------------------------------------------------------------------
@require_GET
@page("workspaces.view_audit")
def audit_log(request: ConsoleRequest) -> HttpResponse:
    asked: dict[str, Any] = {name: request.GET.get(name, "").strip()[:254] for name in ("action", "actor", "target")}
    if any("\x00" in value for value in asked.values()):
        raise NotFound("Not found.")
    everything = selectors.audit_entries(request.membership)
    context = {
        "page": page_of(selectors.audit_entries(request.membership, **asked), request.GET.get("cursor")),
        "asked": asked,
        "actions": everything.order_by("action").values_list("action", flat=True).distinct()[:100],
        "actors": everything.order_by("actor_label").values_list("actor_label", flat=True).distinct()[:100],
        "kinds": everything.order_by("target_kind").values_list("target_kind", flat=True).distinct()[:100],
    }
    return TemplateResponse(request, "workspaces/audit.html", context)


# --- The landing of an invitation -----------------------------------------------------------------------------------
@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation: as the person it is bound to, or by making their account."""
    found = selectors.open_invitation(token, timezone.now())
    if found is None:
        return TemplateResponse(request, "workspaces/invitation_gone.html", status=404)
    user = request.user if request.user.is_authenticated else None
    form = forms.JoinForm(request.POST or None)
    context = {"invitation": found, "form": form, "is_other": user and user.email.lower() != found.email, "has_account": selectors.person_by_email(found.email)}
    if request.method == "POST" and (user or form.is_valid()):
        details = {"user": user} if user else {"name": form.cleaned_data["name"], "password": form.cleaned_data["password"]}
        membership = _try(form if not user else request, services.accept_invitation, token, at=timezone.now(), **details)
        if membership:
            return _welcome(request, membership, is_new=user is None)
    # 200 even when refused: the path of a failed request is logged, and this one opens the workspace.
    return TemplateResponse(request, "workspaces/invitation.html", context)


def _welcome(request: HttpRequest, membership: Membership, *, is_new: bool) -> HttpResponse:
    if is_new:
        # As after an ordinary sign-in, so that what asks for a recent one is content.
        record_authentication(request, membership.user, method="password", email=membership.user.email)
        login(request, membership.user)
    request.session["workspace_id"] = membership.workspace_id
    return redirect(settings.LOGIN_REDIRECT_URL)


# --- Helpers --------------------------------------------------------------------------------------------------------
def _found(row):
    if row is None:
        raise NotFound("Not found.")
    return row


def _try(place, service, *args: object, default: object = None, **kwargs: object):
    """Run a service; a refusal is said at ``place``, a form or a request, and gives None. ``default`` stands for no result."""
    try:
        with transaction.atomic():
            return service(*args, **kwargs) or default
    except OrcaError as error:
        if isinstance(place, HttpRequest):
            messages.error(place, error.message)
        else:
            place.add_error(error.param if error.param in place.fields else None, error.message)
    return None
