"""The queue of held calls: one beside the list, the calls before it, its rule and its run; approve or reject, one or several alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from approvals import review_selectors, selectors, services
from approvals.engine.binding import State
from approvals.engine.diff import differing, fields_of, written
from approvals.models import Approval
from firewall.console.words import rule_in_words
from firewall.engine.words import Surface
from firewall.models import EventSource
from workspaces import errors
from workspaces.console_base import ConsoleRequest, page

#: Holds on a page.
SHOWN = 50
#: Holds alike that are decided about together, and fields in which each is told to differ.
MOST_ALIKE, MOST_DIFFERING = 20, 12
#: Fields that a line of the queue tells.
TOLD = 3
STATES = {State.PENDING: "Open", State.APPROVED: "Approved", State.REJECTED: "Rejected", State.EXPIRED: "Expired", State.CONSUMED: "Used"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the queue."""

    approval: Approval
    told: str
    state: State


@dataclass(frozen=True, slots=True)
class Other:
    """An open hold like the one that is looked at: ``fields`` that it has otherwise, those it is ``without``, and how many ``more``.

    ``is_hidden``: it differs in nothing that is shown, and all the same it does.
    """

    approval: Approval
    fields: list[tuple[str, str]]
    without: list[str]
    more: int
    is_equal: bool
    is_hidden: bool


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
                found = services.resolve(each, decision=decision, by=request.user, reason=request.POST.get("reason", "")[:2000], seen_rule_hash=seen)
            if found.resolved_at and found.resolved_by_id != request.user.pk:
                # The same was decided already: that changes nothing, and is no deed of this person's.
                refusals.append(services.already_resolved(found))
            else:
                said.append(found)
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
    by, at, state = (error.metadata.get(name) for name in ("resolved_by", "resolved_at", "state"))
    if not by or state == State.EXPIRED:
        return error.message
    return f"{by} was faster: {selectors.STATE_WORDS[State(str(state))]} at {_clock(datetime.fromisoformat(str(at)))}. Nothing was changed by you."


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


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
    workspace, asked = request.workspace, request.GET.get("state", State.PENDING)
    state = State(asked) if asked in list(State) else State.PENDING
    found = review_selectors.in_lines(review_selectors.queue(workspace, state))
    shown = review_selectors.page_of_queue(found, request.GET.get("cursor"), size=SHOWN, newest_first=state is not State.PENDING)
    unused: list[Approval] = []
    if state is State.PENDING and not shown.newer:
        unused = list(review_selectors.in_lines(review_selectors.queue(workspace, State.APPROVED))[:SHOWN])
    return {
        "rows": [Row(each, _fields_told(each), state) for each in shown.rows],
        "unused": [Row(each, _fields_told(each), State.APPROVED) for each in unused],
        "page": shown,
        "state": str(state),
        "open_count": review_selectors.open_count(workspace),
        "query": f"?state={state}" if state is not State.PENDING else "",
        "watched": _watched(request),
    }


def _watched(request: ConsoleRequest) -> dict[str, str] | None:
    """What has become of the hold that a page shows while it asks for the queue again."""
    found = request.workspace.approvals.filter(pk=request.GET.get("hold", "")[:24]).first()
    if found is None or (state := selectors.state_now(found)) is State.PENDING:
        return None
    if state is State.EXPIRED or found.resolved_at is None:
        return {"pk": found.pk, "told": "This hold is over: nobody decided in time."}
    return {"pk": found.pk, "told": f"{found.resolved_by_label} has decided about this hold: {selectors.STATE_WORDS[state]} at {_clock(found.resolved_at)}."}


def _fields_told(each: Approval) -> str:
    """The first few arguments of a call, as a line."""
    arguments = review_selectors.short_arguments_of(each)
    if arguments is None:
        size = each.size  # type: ignore[attr-defined]  # annotated
        return f"arguments of {size // 1024} kB" if size else "offered to the model, not called yet"
    told = [f"{name} {written(value)}".strip()[:60] for name, value in islice(fields_of(arguments).items(), TOLD)]
    return ", ".join(told) or "no arguments"


def _alike(chosen: Approval) -> list[Approval]:
    """Other open holds of the same tool by the same key under the same rule, the oldest first."""
    waiting = review_selectors.queue(chosen.workspace, State.PENDING).exclude(pk=chosen.pk)
    return list(waiting.filter(key_id=chosen.key_id, tool_name=chosen.tool_name, surface=chosen.surface, rule_id=chosen.rule_id)[:MOST_ALIKE])


def _about(request: ConsoleRequest, chosen: Approval) -> dict:
    """What the panel says of a hold."""
    seen = review_selectors.reviewed(chosen, request.user)
    others = _alike(chosen) if seen.state is State.PENDING else []
    fields = fields_of(seen.arguments)
    policy = request.workspace.policies.select_related("updated_by").filter(pk=chosen.policy_id).first()
    settings = selectors.settings_of(request.workspace)
    return {
        "hold": chosen,
        "seen": seen,
        "now_words": rule_in_words(seen.rule_now) if seen.rule_now else None,
        "held_words": rule_in_words(chosen.rule),
        "policy": policy,
        "effect": effect(chosen, use_seconds=settings.approval_use_ttl_seconds),
        "votes": list(chosen.votes.all()),
        "others": [_other(chosen, fields, each) for each in others],
        "close": reverse("console:approvals"),
    }


def _other(chosen: Approval, fields: Mapping[str, Any], each: Approval) -> Other:
    told = differing(fields, fields_of(review_selectors.arguments_of(each)))
    shown = told[:MOST_DIFFERING]
    is_equal = each.args_hash == chosen.args_hash
    return Other(
        approval=each,
        fields=[(name, value) for name, value in shown if value is not None],
        without=[name for name, value in shown if value is None],
        more=len(told) - len(shown),
        is_equal=is_equal,
        is_hidden=not told and not is_equal,
    )


def effect(approval: Approval, *, use_seconds: int) -> tuple[str, str]:
    """What approving does, and what rejecting does, in words."""
    within = f"within {_period(use_seconds)}"
    if approval.surface == Surface.INBOUND:
        return (
            f"Approved, exactly this request may go to the model with this tool on offer, once, {within}. What the model then calls is judged as ever.",
            "Rejected, it stays refused.",
        )
    if approval.source == EventSource.RELAY:
        return (
            f"Approved, exactly this call may run, once, {within}: the agent gets the answer that was kept, and the model is not asked again.",
            "Rejected, the call is taken out of the answer and never runs.",
        )
    return f"Approved, the agent may make exactly this call, once, {within}.", "Rejected, it never runs."


def _period(seconds: int) -> str:
    for size, word in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {word}"
    return f"{seconds // 60} min {seconds % 60} s" if seconds > 60 else f"{seconds} s"
