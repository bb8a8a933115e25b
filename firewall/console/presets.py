"""Presets, to be put into a policy."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_http_methods

from firewall import posture
from firewall.console.conflict import Conflict
from firewall.console.policies import editor, found_policy
from firewall.console.words import match_in_words
from firewall.engine.presets import PRESETS
from firewall.models import Policy
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError, VersionConflict
from workspaces.params import row_id


@gzip_page
@require_http_methods(["GET", "POST"])
@page("firewall.change_policy")
def policy_presets(request: ConsoleRequest, pk: str) -> HttpResponse:
    """The presets, with what of each the policy has. A POST inserts one: ``preset``."""
    policy = found_policy(request, pk)
    if request.method == "GET":
        return _shown(request, policy)
    preset = PRESETS.get(request.POST.get("preset", ""))
    if preset is None:
        raise NotFound("There is no such preset.")
    version = row_id(request.POST["version"], param="version") if request.POST.get("version") else None
    try:
        count = posture.insert_preset(policy, preset, expected_version=version, actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return editor(request, found_policy(request, pk), met=Conflict.of(error, undone=f"Inserting “{preset.name}”"))
    except OrcaError as error:
        return _shown(request, policy, wrong=error.message)
    if count:
        words = f"{count} rule{'s' if count != 1 else ''} inserted. {policy.name} is at version {policy.version}, in force now."
        messages.success(request, words)
    return redirect("console:policy", policy.pk)


def _shown(request: ConsoleRequest, policy: Policy, *, wrong: str = "") -> HttpResponse:
    told = [(each, len(posture.missing_rules(policy, each)), [(rule, match_in_words(rule)) for rule in each.rules]) for each in PRESETS.values()]
    return TemplateResponse(request, "firewall/presets.html", {"policy": policy, "presets": told, "wrong": wrong}, status=422 if wrong else 200)
