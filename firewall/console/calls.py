"""A call as it is typed to be tried, and recent calls that it can be taken from. Only what an event keeps of its arguments can be."""

import json
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET

from firewall import selectors
from firewall.engine import recorded
from firewall.engine.arguments import decoded
from firewall.engine.summary import is_whole
from firewall.engine.types import Surface, Verdict
from firewall.models import Event
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, ValidationFailed
from workspaces.params import row_id

#: Chosen instead of a policy's number.
DRAFT = "draft"
_GLIMPSE_CHARS = 100


@dataclass(frozen=True, slots=True)
class Typed:
    """A call as it was typed. ``policy`` "": the workspace default; ``DRAFT``: the one that ``draft`` is the file of.

    The last five are about its run: dollars that it has cost and that this call may, the runs that the key has begun this hour, its calls, one a
    line, and whether it is stopped.
    """

    surface: str = Surface.RESPONSE.value
    tool: str = ""
    arguments: str = ""
    destination: str = ""
    policy: str = ""
    draft: str = ""
    skill: str = ""
    spent: str = ""
    estimate: str = ""
    runs: str = ""
    earlier: str = ""
    stopped: str = ""

    @property
    def has_past(self) -> bool:
        return any((self.spent, self.estimate, self.runs, self.earlier.strip(), self.stopped))


@dataclass(frozen=True, slots=True)
class Recent:
    """A call in the list. ``glimpse`` is the beginning of its arguments, ``missing`` what is not kept of them."""

    event: Event
    glimpse: str
    missing: str


@require_GET
@page("firewall.view_events")
def recent_calls(request: ConsoleRequest) -> HttpResponse:
    """The newest calls, those of ``policy`` where it judged any; with ``event`` the fields of the Test box with that call in them."""
    if request.GET.get("event"):
        typed, missing = taken(asked_event(request))
        return TemplateResponse(request, "firewall/_try_fields.html", {"typed": typed, "missing": missing, "is_taken": True})
    policy = request.GET.get("policy", "")
    events, are_own = selectors.recent_calls(request.workspace, row_id(policy, param="policy") if policy else None)
    context = {"calls": list(map(_recent, events)), "are_own": are_own, "policy": policy}
    return TemplateResponse(request, "firewall/_recent_calls.html" if request.htmx else "firewall/recent_calls.html", context)


def asked_event(request: ConsoleRequest) -> Event:
    """The event that the address names. Raises ``NotFound``, and ``ValidationFailed`` for what is no id."""
    try:
        event_id = UUID(request.GET["event"])
    except ValueError as error:
        raise ValidationFailed("This is not an id.", param="event") from error
    event: Event | None = request.workspace.events.filter(pk=event_id).first()
    if event is None:
        raise NotFound("There is no such event.")
    return event


def taken(event: Event, tool: str = "") -> tuple[Typed, str]:
    """The call of an event as it can be tried again, and what is missing of it. ``tool`` is the one that is meant of a group."""
    name = event.tool_name or next((each for each in event.tools if each == tool), "")
    arguments, missing = _arguments(event)
    run = recorded.run_of(event.judged_on)
    past = {}
    if run:
        spent, estimate = run.spent_micro_usd + run.reserved_micro_usd, run.estimate_micro_usd
        past = {"spent": _dollars(spent), "estimate": "unknown" if estimate is None else _dollars(estimate)}
        past["runs"] = str(run.runs_this_hour) if run.runs_this_hour > 1 else ""
    return Typed(event.surface, name, arguments, skill=event.skill_name or "", **past), missing


def _arguments(event: Event) -> tuple[str, str]:
    """What is kept of a call's arguments and can be judged, and what is to be known about it."""
    kept = event.args_summary
    if event.surface == Surface.INBOUND:
        return "", ""
    if kept is None or event.args_hash is None:
        # Who asks before a call may have named none.
        return "", "" if event.source == "evaluate" else "Its arguments are not kept."
    if event.verdict == Verdict.SANITIZE:
        return _indented(kept), "These are its arguments after the rule took out what it takes out."
    if is_whole(kept, event.args_hash):
        return _indented(kept), ""
    if decoded(kept) is not None:
        return _indented(kept), "Secrets in its arguments are not kept: a rule that looks for one finds none here."
    # Cut off they are no JSON, and would be judged as such.
    return "", "Its arguments were longer than what is kept of them."


def _indented(text: str) -> str:
    found = decoded(text)
    # Half a surrogate pair is an escape in the text, and has to stay one.
    return text if found is None else json.dumps(found, indent=2, ensure_ascii="\\u" in text)


def _recent(event: Event) -> Recent:
    _, missing = _arguments(event)
    kept = "" if event.surface == Surface.INBOUND else event.args_summary or ""
    return Recent(event, kept[:_GLIMPSE_CHARS] + ("…" if len(kept) > _GLIMPSE_CHARS else ""), missing)


def _dollars(micro_usd: int) -> str:
    return f"{Decimal(micro_usd).scaleb(-6).normalize():f}" if micro_usd else ""
