"""The settings page: what holds calls, who decides, the webhook, notices; and the log of what was sent."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

import firewall.selectors
import firewall.services
from approvals import addressees, outbox, selectors, settings_services
from approvals.forms import EyesForm, HoldsForm, NoticesForm, PartForm, PlanForm, RecordingForm, WebhookForm, plan_of
from approvals.models import Delivery
from firewall.console.asking import ask_first
from workspaces import errors
from workspaces.console_base import ConsoleRequest, page
from workspaces.paging import page_of
from workspaces.params import row_id
from workspaces.permissions import PERMISSIONS, Role, allowed

#: Messages on the settings page.
SHORT_LOG = 10


@require_http_methods(["GET", "POST"])
@page("firewall.view_settings")
def settings(request: ConsoleRequest) -> HttpResponse:
    """All settings; ``part`` of a POST says which box was sent."""
    forms = _forms(request)
    if request.method != "POST":
        return _shown(request, forms)
    form = forms.get(request.POST.get("part", ""))
    _require(request, form.permission if form else "firewall.change_settings")
    if form is None:
        raise errors.ValidationFailed("There is no such part of the settings.", param="part")
    if form.is_valid():
        if question := _question(request, form):
            return question
        if _try(request, form):
            messages.success(request, form.saved)
            return redirect("console:settings")
    return _shown(request, forms)


@require_POST
@page("firewall.change_guarded_settings")
def plan_remove(request: ConsoleRequest) -> HttpResponse:
    """Back to the plan of every other policy; ``policy`` empty: to one approval of a Developer."""
    policy_id = row_id(request.POST["policy"], param="policy") if request.POST.get("policy") else None
    whose = "the plan of every other policy then holds" if policy_id else "one approval of a Developer or above is then enough"
    if question := ask_first(request, None, title="Remove this plan?", verb="Remove it", found=[], words=f"For its calls {whose}."):
        return question
    kept = [plan_of(plan) for plan in request.workspace.review_plans.order_by("policy_id")]
    after = {"approval_reviews": [plan for plan in kept if plan["policy_id"] != policy_id]}
    settings_services.change(request.workspace, changes=after, actor=request.user, at=timezone.now())
    messages.success(request, "The plan is removed.")
    return redirect("console:settings")


@require_POST
@page("approvals.change_webhook")
def webhook_act(request: ConsoleRequest) -> HttpResponse:
    """``do``: rotate, retire, test, resume."""
    workspace, actor, at = request.workspace, request.user, timezone.now()
    try:
        with transaction.atomic():
            match request.POST.get("do"):
                case "rotate":
                    made = settings_services.rotate_secret(workspace, overlap_seconds=settings_services.OVERLAP_SECONDS, actor=actor, at=at)
                    return _shown(request, _forms(request, is_sent=False), secret=made)
                case "retire":
                    settings_services.end_overlap(workspace, actor=actor, at=at)
                    messages.success(request, "The secret before is valid no more.")
                case "resume":
                    settings_services.resume(workspace, actor=actor, at=at)
                    messages.success(request, "The webhook goes on. What waited is sent now.")
                case "test":
                    made_delivery = outbox.enqueue_test(workspace, actor=actor, at=at)
                    return redirect("console:delivery", pk=made_delivery.pk)
                case _:
                    raise errors.ValidationFailed("Choose what to do with the webhook.", param="do")
    except errors.Conflict as refusal:
        messages.error(request, refusal.message)
    return redirect("console:settings")


# --- What was sent --------------------------------------------------------------------------------------------------
@require_GET
@page("approvals.view_delivery")
def deliveries(request: ConsoleRequest) -> HttpResponse:
    found = page_of(request.workspace.deliveries.all(), request.GET.get("cursor"))
    return TemplateResponse(request, "approvals/deliveries.html", {"deliveries": found.rows, "page": found})


@require_http_methods(["GET", "POST"])
@page("approvals.view_delivery")
def delivery(request: ConsoleRequest, pk: str) -> HttpResponse:
    """One message with its attempts; a POST sends it once more."""
    if request.method == "POST":
        _require(request, "approvals.change_webhook")
    found = request.workspace.deliveries.filter(pk=row_id(pk)).first()
    if found is None:
        raise errors.NotFound("Not found.")
    if request.method == "POST":
        try:
            with transaction.atomic():
                outbox.resend(found, actor=request.user, at=timezone.now())
        except (errors.Conflict, errors.RateLimited) as refusal:
            messages.error(request, refusal.message)
        return redirect("console:delivery", pk=found.pk)
    context = {"delivery": found, "attempts": list(found.attempts.all()), "is_waiting": found.state == Delivery.State.PENDING}
    return TemplateResponse(request, "approvals/_delivery.html" if request.htmx else "approvals/delivery.html", context)


# --- Parts ----------------------------------------------------------------------------------------------------------
def _forms(request: ConsoleRequest, *, is_sent: bool = True) -> dict[str, PartForm]:
    workspace = request.workspace
    ours, endpoint = selectors.settings_of(workspace), addressees.endpoint_of(workspace)
    part = request.POST.get("part") if is_sent else None

    def made(form: type[PartForm], initial: dict[str, Any], **options: Any) -> PartForm:
        return form(request.POST if part == form.part else None, initial=initial, prefix=None, auto_id=f"{form.part}-%s", **options)

    found = (
        made(HoldsForm, HoldsForm.initial_of(ours)),
        made(EyesForm, {"four_eyes": ours.four_eyes}),
        made(PlanForm, {}, workspace=workspace),
        made(WebhookForm, WebhookForm.initial_of(endpoint)),
        made(NoticesForm, NoticesForm.initial_of(ours)),
        made(RecordingForm, RecordingForm.initial_of(firewall.selectors.settings_of(workspace))),
    )
    for form in found:
        if not allowed(request.membership, form.permission):
            for field in form.fields.values():
                field.disabled = True
    return {form.part: form for form in found}


def _shown(request: ConsoleRequest, forms: dict[str, PartForm], *, secret: str = "") -> HttpResponse:
    workspace, at = request.workspace, timezone.now()
    endpoint = addressees.endpoint_of(workspace)
    names = dict(workspace.policies.values_list("pk", "name"))
    people = {member.user_id: str(member.user) for member in workspace.memberships.select_related("user")}
    plans = [
        {
            "plan": plan,
            "policy": names.get(plan.policy_id or 0, ""),
            "role": Role(plan.least_role).label,
            "people": [people.get(pk, "gone") for pk in plan.reviewer_ids],
        }
        for plan in workspace.review_plans.order_by("policy_id")
    ]
    context = {
        "forms": forms,
        "endpoint": endpoint,
        "is_overlap": endpoint.former_secret_until is not None and endpoint.former_secret_until > at,
        "has_slack": selectors.settings_of(workspace).slack_url_sealed is not None,
        "plans": plans,
        "deliveries": list(workspace.deliveries.all()[:SHORT_LOG]) if allowed(request.membership, "approvals.view_delivery") else [],
        "secret": secret,
    }
    return TemplateResponse(request, "approvals/settings.html", context, status=422 if any(form.errors for form in forms.values()) else 200)


def _require(request: ConsoleRequest, permission: str) -> None:
    if not allowed(request.membership, permission):
        raise errors.PermissionRefused(f"This needs the role {PERMISSIONS[permission].least_role.label} or above.", needs=permission)


def _question(request: ConsoleRequest, form: PartForm) -> HttpResponse | None:
    """What loosens asks first."""
    workspace, changes, words = request.workspace, form.changes, ""
    title = "Loosen the review of held calls?"
    if isinstance(form, RecordingForm) and firewall.selectors.settings_of(workspace).observe_mode and not changes["observe_mode"]:
        title, words = "Record less?", "Calls of keys without a policy leave no events from then on."
    if isinstance(form, EyesForm) and selectors.settings_of(workspace).four_eyes and not changes["four_eyes"]:
        words = "Who made a key, edited a rule or set the webhook's secret may then decide about calls of their own side."
    if isinstance(form, PlanForm):
        policy = form.cleaned_data["policy"]
        now, wanted = selectors.review_plan_of(workspace, policy.pk if policy else None), changes["approval_reviews"][-1]
        if wanted["quorum"] < now.quorum:
            words = f"{wanted['quorum']} instead of {now.quorum} must approve from then on."
        elif Role[wanted["least_role"].upper()] < now.least_role or (now.reviewer_ids and set(wanted["reviewers"]) - set(now.reviewer_ids)):
            words = "More people may decide from then on."
    return (
        ask_first(request, None, title=title, verb="Record less" if isinstance(form, RecordingForm) else "Loosen it", found=[], words=words) if words else None
    )


def _try(request: ConsoleRequest, form: PartForm) -> bool:
    """Save a part; a refusal is said in the form."""
    try:
        with transaction.atomic():
            change = firewall.services.change_settings if isinstance(form, RecordingForm) else settings_services.change
            change(request.workspace, changes=form.changes, actor=request.user, at=timezone.now())
    except errors.OrcaError as error:
        field = (error.param or "").rpartition(".")[2]
        form.add_error(field if field in form.fields else None, error.message)
        return False
    return True
