"""Reads of what one run did, for the gateway."""

from datetime import datetime

from firewall.engine.afterwards import Past
from firewall.engine.compile import Seen
from firewall.engine.recorded import destinations_of
from firewall.engine.types import RunState, Surface, ToolCall, Verdict
from firewall.models import IS_ABOUT_A_CALL, Event
from workspaces import ids, tenancy

#: Calls of a run that are looked at, the latest.
MAX_CALLS = 10_000

_WENT_ON = [verdict for verdict in Verdict if verdict.permits or verdict is Verdict.SANITIZE]


def calls_of_run(workspace_id: int, key_id: int, run_id: str, since: datetime | None) -> list[Past]:
    """The calls of a run that went on, oldest first; None: from its beginning. Offered tools are no calls."""
    surfaces = [surface for surface in Surface if surface is not Surface.INBOUND]
    events = Event.objects.filter(workspace_id=workspace_id, key_id=key_id, agent_run_id=run_id, verdict__in=_WENT_ON, surface__in=surfaces)
    if since is not None:
        events = events.filter(id__gte=ids.lowest_at(since))
    fields = ("occurred_at", "surface", "tool_name", "args_summary", "judged_on")
    with tenancy.scope(workspace_id):
        rows = list(events.exclude(IS_ABOUT_A_CALL).order_by("-id").values_list(*fields)[:MAX_CALLS])
    return [Past(name or "", _is_egress(surface, summary, kept), int(at.timestamp() * 1000)) for at, surface, name, summary, kept in reversed(rows)]


def _is_egress(surface: str, summary: str | None, kept: dict | None) -> bool:
    """A summary that was cut cannot be read any more, and then the call may have gone anywhere."""
    call = ToolCall(Surface(surface), "", "{}" if summary is None else summary, destinations=destinations_of(kept))
    return Seen(call, RunState()).is_egress
