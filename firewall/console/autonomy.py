"""Firewall > Posture: the three levels, what each would have done, and the way into one and back."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from firewall import autonomy
from firewall.console.words import match_in_words
from firewall.engine.autonomy import LEVELS
from firewall.engine.presets import PRESETS, Fields
from firewall.selectors.simulation import WINDOW_DAYS, simulate
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import Conflict, OrcaError
from workspaces.params import row_id

#: Tools of a simulation that the page lists, those with most calls.
MOST_TOOLS = 50


@dataclass(frozen=True, slots=True)
class Group:
    """Rules of a level that differ only in where they look: one line of the page."""

    label: str
    notes: str
    verdict: str
    rules: int


@gzip_page
@require_GET
@page("firewall.view_policy")
def posture(request: ConsoleRequest) -> HttpResponse:
    """The levels. ``level`` in the address: what that one would have done to the calls of the last days."""
    return _shown(request, level=request.GET.get("level", ""))


@require_POST
@page("firewall.change_policy")
def posture_apply(request: ConsoleRequest) -> HttpResponse:
    try:
        applied = autonomy.apply_level(request.workspace, level=request.POST.get("level"), actor=request.user, at=timezone.now())
    except OrcaError as error:
        return _shown(request, wrong=error.message)
    kept = len(applied.unaffected_keys)
    others = f" {kept} key{'s' if kept != 1 else ''} with a policy of {'their' if kept != 1 else 'its'} own keep{'' if kept != 1 else 's'} it." if kept else ""
    messages.success(request, f"The posture is {applied.level}, in force now.{others}")
    return redirect("console:posture")


@require_POST
@page("firewall.change_policy")
def posture_undo(request: ConsoleRequest) -> HttpResponse:
    """Undo the application in the form. What was changed since is named, and asked about; ``force`` is the answer."""
    audit_id, force = row_id(request.POST.get("audit_id", ""), param="audit_id"), request.POST.get("force") == "yes"
    try:
        level = autonomy.undo_level(request.workspace, audit_id=audit_id, force=force, actor=request.user, at=timezone.now())
    except Conflict as error:
        return _shown(request, conflict=error)
    messages.success(request, f"The level {level} is undone: the posture is what it was before.")
    return redirect("console:posture")


def _shown(request: ConsoleRequest, *, level: str = "", wrong: str = "", conflict: Conflict | None = None) -> HttpResponse:
    found = simulate(request.workspace, autonomy.level_of(level), at=timezone.now()) if level else None
    context = {
        "standing": autonomy.standing(request.workspace),
        "levels": [(each, grouped(each.rules)) for each in LEVELS.values()],
        "simulated": found,
        "tools": found.by_tool[:MOST_TOOLS] if found else [],
        "unaffected": autonomy.unaffected_keys(request.workspace, None) if found else [],
        "days": WINDOW_DAYS,
        "presets": [(each, [(rule, match_in_words(rule)) for rule in each.rules]) for each in PRESETS.values()],
        "wrong": wrong,
        "conflict": conflict,
    }
    return TemplateResponse(request, "firewall/posture.html", context, status=409 if conflict else 422 if wrong else 200)


def grouped(rules: Sequence[Fields]) -> list[Group]:
    """``No shell (bash)``, ``No shell (cmd.*)``: one group, in the order of their first rules."""
    found: dict[tuple[str, str, str], int] = {}
    for rule in rules:
        key = str(rule["label"]).partition(" (")[0], str(rule["notes"]), str(rule["verdict"])
        found[key] = found.get(key, 0) + 1
    return [Group(*key, count) for key, count in found.items()]
