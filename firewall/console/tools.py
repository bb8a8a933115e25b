"""Discovered tools, and rules drafted for those that are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from firewall import services
from firewall.console.asking import ask_first, openings
from firewall.console.policies import found_policy, next_priority
from firewall.console.typed import NEW_RULE
from firewall.engine.glob import TOOL_NAME
from firewall.engine.types import Surface
from firewall.engine.validate import MAX_PRIORITY
from firewall.models import DefaultVerdict, Policy, Rule
from firewall.selectors.tools import STATUSES, DiscoveredTool, discovered_tools, page_of_tools, wanted_tools
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import OrcaError, ValidationFailed
from workspaces.paging import PAGE_SIZE

MOST_DRAFTED = 200
NEW = "new"
GAPS = "gaps"
VERDICTS = ("allow", "audit", "deny", "pending_approval")


@dataclass(frozen=True, slots=True)
class ToolLine:
    """A tool with what speaks for it by name; ``rule`` and ``policy`` None where none does, ``can_be_ruled``: a rule can name it."""

    tool: DiscoveredTool
    rule: Rule | None
    policy: Policy | None

    @property
    def can_be_ruled(self) -> bool:
        return TOOL_NAME.fullmatch(self.tool.tool_name) is not None


@dataclass(frozen=True, slots=True)
class Drafted:
    """A rule that is not made yet."""

    tool: str
    verdict: str

    def fields(self, priority: int) -> Mapping[str, object]:
        return {"tool_name_glob": self.tool, "verdict": self.verdict, "priority": priority}


@require_GET
@page("firewall.view_tools")
def tools(request: ConsoleRequest) -> HttpResponse:
    every = discovered_tools(request.workspace, at=timezone.now())
    found = wanted_tools(every, request.GET)
    shown = page_of_tools(found, request.GET.get("cursor"), size=PAGE_SIZE)
    policies = request.workspace.policies.in_bulk([tool.policy_id for tool in shown.rows if tool.policy_id])
    rules = request.workspace.rules.in_bulk([tool.rule_id for tool in shown.rows if tool.rule_id])
    context = {
        "lines": [ToolLine(tool, rules.get(tool.rule_id or 0), policies.get(tool.policy_id or 0)) for tool in shown.rows],
        "total": len(found),
        "gaps": sum(tool.status == "gap" for tool in every),
        "newer": shown.newer,
        "older": shown.older,
        "statuses": STATUSES,
        "surfaces": list(Surface),
        "q": request.GET.get("q", "").strip(),
        "status": request.GET.get("status", ""),
        "surface": request.GET.get("surface", ""),
        "is_empty": not every,
    }
    return TemplateResponse(request, "firewall/tools.html", context)


@require_POST
@page("firewall.change_policy")
def tools_draft(request: ConsoleRequest) -> HttpResponse:
    """The draft of a rule for each chosen ``tool``, or as ``every`` says for all gaps; with ``save`` they are made, in the chosen policy or a new one."""
    chosen = _chosen(request)
    drafted = _drafted(request, chosen[:MOST_DRAFTED])
    wrong = ""
    if drafted and request.POST.get("save"):
        try:
            return _save(request, drafted)
        except OrcaError as error:
            wrong = error.message
    context = {
        "drafted": drafted,
        "left_out": max(len(chosen) - MOST_DRAFTED, 0),
        "verdicts": VERDICTS,
        "policies": list(request.workspace.policies.order_by("name")[:500]),
        "policy": request.POST.get("policy", NEW),
        "name": request.POST.get("name", ""),
        "defaults": DefaultVerdict.values,
        "default_verdict": request.POST.get("default_verdict", DefaultVerdict.AUDIT),
        "wrong": wrong,
    }
    return TemplateResponse(request, "firewall/tools_draft.html", context, status=422 if wrong else 200)


def _chosen(request: ConsoleRequest) -> list[str]:
    """Names that a rule can have, each once."""
    named = request.POST.getlist("tool")
    if len(named) > MOST_DRAFTED:
        raise ValidationFailed(f"Rules for at most {MOST_DRAFTED} tools are drafted at once.", param="tool")
    every = request.POST.get("every") == GAPS
    gaps = (tool.tool_name for tool in discovered_tools(request.workspace, at=timezone.now()) if tool.status == "gap") if every else ()
    return [name for name in dict.fromkeys((*named, *gaps)) if TOOL_NAME.fullmatch(name)]


def _drafted(request: ConsoleRequest, names: Sequence[str]) -> list[Drafted]:
    """``set_all`` gives all of them one verdict, ``all``."""
    if "set_all" in request.POST:
        return [Drafted(name, request.POST.get("all", "audit")) for name in names]
    return [Drafted(name, request.POST.get(f"verdict.{name}", "audit")) for name in names]


def _save(request: ConsoleRequest, drafted: list[Drafted]) -> HttpResponse:
    now, chosen = timezone.now(), request.POST.get("policy", NEW)
    count = f"{len(drafted)} rule{'s' if len(drafted) != 1 else ''}"
    if chosen == NEW:
        rules = [each.fields(place * services.PRIORITY_STEP) for place, each in enumerate(drafted, start=1)]
        fields = {"name": request.POST.get("name", ""), "default_verdict": request.POST.get("default_verdict", DefaultVerdict.AUDIT)}
        policy = services.create_policy(request.workspace, fields=fields, rules=rules, actor=request.user, at=now)
        messages.success(request, f"{policy.name} is made with {count}. It judges nothing until a key is bound to it or it is the workspace default.")
        return redirect("console:policy", policy.pk)
    policy = found_policy(request, chosen)
    before = list(policy.rules.all())
    priority = next_priority(before)
    rules = [each.fields(min(priority + place * services.PRIORITY_STEP, MAX_PRIORITY)) for place, each in enumerate(drafted)]
    if all(each.verdict in VERDICTS for each in drafted):
        after = [*before, *(Rule(pk=NEW_RULE + place, policy=policy, **fields) for place, fields in enumerate(rules))]
        found = openings(policy, before, after_policy=policy, after=after)
        if asked := ask_first(request, policy, title="Let more through?", verb=f"Add {count}", found=found):
            return asked
    words = f"Drafted from the tools that were seen: {count}."
    services.append_rules(policy, rules, expected_version=policy.version, actor=request.user, at=now, words=words)
    messages.success(request, f"{count} added. {policy.name} is at version {policy.version}, in force now.")
    return redirect("console:policy", policy.pk)
