"""The queue of held calls: one beside the list, the calls before it, its rule and its run; approve or reject, one or several alike."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals import review_selectors, selectors, services
from approvals.engine.binding import State
from approvals.engine.diff import alike, fields_of, written
from approvals.models import Approval
from firewall.console.words import rule_in_words
from workspaces import errors
from workspaces.console_base import ConsoleRequest, page

#: Holds on a page; the oldest are looked at first.
SHOWN = 100
#: Holds alike that are decided about together.
MOST_ALIKE = 20
#: Fields that a line of the queue tells.
TOLD = 3
STATES = {State.PENDING: "Open", State.APPROVED: "Approved", State.REJECTED: "Rejected", State.EXPIRED: "Expired", State.CONSUMED: "Used"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the queue."""

    approval: Approval
    told: str
    state: State


@require_GET
@page("approvals.view_hold")
def approvals(request: ConsoleRequest) -> HttpResponse:
    if request.htmx and request.GET.get("part") == "queue":
        return TemplateResponse(request, "approvals/_queue.html", _queue(request))
    return _list(request, None)


@require_GET
@page("approvals.view_hold")
def approval(request: ConsoleRequest, pk: str) -> HttpResponse:
    """A hold beside the queue; for htmx the panel alone."""
    return _shown(request, _found(request, pk))


@require_POST
@page("approvals.approve_hold")
def decide(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Approve or reject a hold, and with it those alike that were ticked. Who was slower is told who was faster."""
    chosen = _found(request, pk)
    decision = {"approved": State.APPROVED, "rejected": State.REJECTED}.get(request.POST.get("decision", ""))
    if decision is None:
        raise errors.ValidationFailed("Approve or reject.", param="decision")
    others = [each for each in _alike(chosen) if each.pk in request.POST.getlist("with")]
    said: list[Approval] = []
    refusals: list[errors.OrcaError] = []
    for each in (chosen, *others):
        try:
            with transaction.atomic():
                seen = request.POST.get("rule_hash") or None
                said.append(services.resolve(each, decision=decision, by=request.user, reason=request.POST.get("reason", "")[:2000], seen_rule_hash=seen))
        except (errors.ApprovalResolved, errors.PermissionRefused, errors.Conflict) as error:
            refusals.append(error)
    if request.htmx:
        return _panel(request, _found(request, pk), outcome=_outcome(said, decision), refusals=refusals)
    for refusal in refusals:
        messages.warning(request, _told(refusal))
    if said:
        messages.success(request, _outcome(said, decision))
    return redirect("console:approval", pk=pk)


def _outcome(said: list[Approval], decision: State) -> str:
    if not said:
        return ""
    waiting = sum(each.state == State.PENDING for each in said)
    if waiting:
        return "Your approval counts. Others have to approve as well before the call may run."
    what = "The call" if len(said) == 1 else f"{len(said)} calls"
    return f"{what} may run once." if decision is State.APPROVED else f"{what} will not run."


def _told(error: errors.OrcaError) -> str:
    if not isinstance(error, errors.ApprovalResolved):
        return error.message
    by, at = error.metadata.get("resolved_by"), error.metadata.get("resolved_at")
    if not by:
        return error.message
    moment = datetime.fromisoformat(str(at)).astimezone(UTC)
    return f"{by} was faster: {error.metadata['state']} at {moment:%H:%M:%S} UTC. Nothing was changed by you."


def _found(request: ConsoleRequest, pk: str) -> Approval:
    found = request.workspace.approvals.filter(pk=pk[:24]).first()
    if found is None:
        raise errors.NotFound("There is no such hold.")
    return found


def _shown(request: ConsoleRequest, chosen: Approval) -> HttpResponse:
    if request.htmx and not request.htmx.history_restore_request:
        return _panel(request, chosen)
    return _list(request, chosen)


def _panel(request: ConsoleRequest, chosen: Approval, *, outcome: str = "", refusals: list[errors.OrcaError] | None = None) -> HttpResponse:
    context = _about(request, chosen) | {"outcome": outcome, "refusals": [_told(each) for each in refusals or ()]}
    return TemplateResponse(request, "approvals/_hold.html", context)


def _list(request: ConsoleRequest, chosen: Approval | None) -> HttpResponse:
    context = _queue(request) | {"states": [(str(state), word) for state, word in STATES.items()]}
    return TemplateResponse(request, "approvals/holds.html", context | (_about(request, chosen) if chosen else {}))


def _queue(request: ConsoleRequest) -> dict:
    asked = request.GET.get("state", State.PENDING)
    state = State(asked) if asked in list(State) else State.PENDING
    waiting = review_selectors.queue(request.workspace, State.PENDING)
    found = waiting if state is State.PENDING else review_selectors.queue(request.workspace, state).order_by("-created_at", "-pk")
    rows = [Row(each, _fields_told(each), selectors.state_now(each)) for each in found[:SHOWN]]
    unused = review_selectors.queue(request.workspace, State.APPROVED)[:SHOWN] if state is State.PENDING else ()
    return {
        "rows": rows,
        "unused": [Row(each, _fields_told(each), State.APPROVED) for each in unused],
        "state": str(state),
        "open_count": waiting.count(),
        "query": f"?state={state}" if state is not State.PENDING else "",
    }


def _fields_told(each: Approval) -> str:
    """The first few arguments of a call, as a line."""
    arguments = review_selectors.arguments_of(each)
    if arguments is None:
        return "offered to the model, not called yet"
    told = [f"{name} {written(value)}".strip()[:60] for name, value in list(fields_of(arguments).items())[:TOLD]]
    return ", ".join(told) or "no arguments"


def _alike(chosen: Approval) -> list[Approval]:
    """Other open holds of the same tool by the same key under the same rule, the oldest first."""
    waiting = review_selectors.queue(chosen.workspace, State.PENDING).exclude(pk=chosen.pk)
    return list(waiting.filter(key_id=chosen.key_id, tool_name=chosen.tool_name, surface=chosen.surface, rule_id=chosen.rule_id)[:MOST_ALIKE])


def _about(request: ConsoleRequest, chosen: Approval) -> dict:
    """What the panel says of a hold."""
    seen = review_selectors.reviewed(chosen, request.user)
    others = _alike(chosen) if seen.state is State.PENDING else []
    calls = [fields_of(review_selectors.arguments_of(each)) for each in (chosen, *others)]
    differing = alike(calls)
    policy = request.workspace.policies.select_related("updated_by").filter(pk=chosen.policy_id).first()
    settings = selectors.settings_of(request.workspace)
    return {
        "hold": chosen,
        "seen": seen,
        "now_words": rule_in_words(seen.rule_now) if seen.rule_now else None,
        "held_words": rule_in_words(chosen.rule),
        "policy": policy,
        "use_minutes": round(settings.approval_use_ttl_seconds / 60),
        "votes": list(chosen.votes.all()),
        "others": [
            {"approval": each, "told": ", ".join(f"{name} {values[place]}".strip() for name, values in differing[:TOLD]) or "the same arguments"}
            for place, each in enumerate(others, start=1)
        ],
        "differing": [name for name, _ in differing],
        "close": reverse("console:approvals"),
    }
