"""Overview, runs, a run's timeline, and search."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.db.models import Exists
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from approvals import review_selectors as approvals
from firewall import selectors as firewall
from firewall.engine.words import ReasonCode
from firewall.models import Event
from keys import budget_selectors
from keys.models import Usage, UsageSource
from keys.money_services import stop_run
from orcarouter.activity.api import rank_of, write_rank
from orcarouter.activity.selectors import start, totals
from orcarouter.activity.selectors.finds import search as find
from orcarouter.activity.selectors.ranked import ranked
from orcarouter.activity.selectors.run_money import is_known, money_of
from orcarouter.activity.selectors.runs import Run, RunFilter, run_page, runs_named
from orcarouter.activity.selectors.traces import Call, calls_of, span_of, tools_of
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import ApprovalPending, NotFound, ValidationFailed
from workspaces.ids import lowest_at
from workspaces.paging import PAGE_SIZE, read_onward, write_cursor
from workspaces.params import row_id
from workspaces.permissions import allowed

#: The ranges of the overview as they are written.
WORDS = {"24h": "24 h", "7d": "7 days", "30d": "30 days"}
#: In the order of the stacked chart, the most frequent below; of those that were given, as many as are told apart at a glance.
CHARTED, MOST_CHARTED = ("allow", "audit", "sanitize", "pending_approval", "deny", "observe"), 5
MOST_OF_QUERY = 200
MOST_OF_A_GLIMPSE = 60
#: Tools of a run that its page names at once; the others unfold.
MOST_TOOLS = 10
#: Of a run, those behind the fold with them; its events name every one.
MOST_TOOLS_NAMED = 100
#: Held calls of a run that its page names.
MOST_WAITING = 5
#: The orders of the list of runs; all but the first are over what happened in the last days.
ORDERS = {"latest": "Latest call", "cost": "Cost", "calls": "Calls", "duration": "Duration", "denied": "Denied"}
RANKED_OVER = timedelta(days=7)
#: What a timeline may be narrowed to.
SHOWN = {"": "All steps", "called": "Tool calls", "denied": "Denied"}


# --- Overview ---------------------------------------------------------------------------------------------------------
@require_GET
@page("activity.view_totals")
def overview(request: ConsoleRequest) -> HttpResponse:
    if not start.has_calls(request.workspace):
        settings = firewall.settings_of(request.workspace)
        context = {"start": start.start_of(request.workspace, observes=settings.observe_mode), "address": request.build_absolute_uri("/v1")}
        # The page asks for itself until the first call came: then it is another page.
        return TemplateResponse(request, "activity/start.html", context) if not request.htmx else HttpResponse(status=204)
    if request.htmx and "waiting" in request.GET:
        return HttpResponse(headers={"HX-Redirect": reverse("console:overview")})
    chosen = request.GET.get("range", "24h")
    if chosen not in totals.RANGES:
        raise ValidationFailed("There is no such range.", param="range")
    environment = _environment(request)
    stretch = totals.Stretch.ending(timezone.now(), *totals.RANGES[chosen])
    found = totals.totals(request.workspace, stretch, environment)
    before = totals.verdicts_in(request.workspace, stretch.before(), environment) if chosen != "30d" else {}
    series = _series(found.verdicts)
    is_told = allowed(request.membership, "keys.view_budget")
    context = {
        "notices": budget_selectors.notices(request.workspace, at=timezone.now()) if is_told else [],
        "chosen": chosen,
        "ranges": list(WORDS.items()),
        "stretch": WORDS[chosen],
        "environment": environment,
        "environments": sorted(set(request.workspace.api_keys.exclude(environment="").order_by().values_list("environment", flat=True).distinct()[:30])),
        "totals": found,
        "denied": found.verdicts.get("deny", 0),
        "series": series,
        "charted": [(bucket, [bucket.verdicts.get(verdict, 0) for verdict in series]) for bucket in found.buckets],
        "mixed": sorted(found.verdicts.items(), key=lambda item: -item[1]),
        "verdicts": [(verdict, count, before.get(verdict, 0)) for verdict, count in sorted(found.verdicts.items(), key=lambda item: -item[1])],
        "compared": chosen != "30d",
        "tools": totals.top_tools(request.workspace, stretch, environment),
        "most_denied": totals.most_denied(request.workspace, stretch, environment),
        "unjudged": _keys_without_policy(request),
    }
    return TemplateResponse(request, "activity/overview.html", context)


def _series(verdicts: Mapping[str, int]) -> list[str]:
    """The verdicts that a chart draws; the rarest of too many stays in the table beside it."""
    given = sorted((verdict for verdict in CHARTED if verdicts.get(verdict)), key=lambda verdict: -verdicts[verdict])
    shown = given[:MOST_CHARTED] or ["allow", "audit", "deny"]
    return [verdict for verdict in CHARTED if verdict in shown]


def _environment(request: ConsoleRequest) -> str | None:
    asked = request.GET.get("environment") or None
    if asked and "\x00" in asked:
        raise ValidationFailed("This value is not usable.", param="environment")
    return asked


def _keys_without_policy(request: ConsoleRequest) -> list:
    """Keys whose calls no policy judges: none of their own, and no workspace default."""
    policies = request.workspace.policies.filter(enabled=True)
    keys = request.workspace.api_keys.filter(is_disabled=False).exclude(firewall_policy__enabled=True)
    return list(keys.exclude(Exists(policies.filter(is_default=True))).order_by("name")[:6])


# --- Runs -------------------------------------------------------------------------------------------------------------
@require_GET
@page("activity.view_runs")
def runs(request: ConsoleRequest) -> HttpResponse:
    wanted = RunFilter(
        key_id=row_id(request.GET["key_id"], param="key_id") if request.GET.get("key_id") else None,
        environment=_environment(request),
        verdict=request.GET.get("verdict", ""),
    )
    if wanted.verdict and wanted.verdict not in firewall.VERDICTS:
        raise ValidationFailed("There is no such verdict.", param="verdict")
    order = request.GET.get("order", "latest")
    if order not in ORDERS:
        raise ValidationFailed("There is no such order.", param="order")
    found, older = _found(request, wanted, order)
    waiting = approvals.runs_that_wait(request.workspace, [run.id for run in found])
    for run in found:
        run.waits = (run.key_id, run.id) in waiting
    gap = timedelta(seconds=firewall.settings_of(request.workspace).run_gap_seconds)
    context = {
        "runs": found,
        "older": write_cursor(older),
        "is_first": not request.GET.get("cursor"),
        "wanted": wanted,
        "order": order,
        "orders": list(ORDERS.items()),
        "verdicts": firewall.VERDICTS,
        "keys": list(request.workspace.api_keys.order_by("name").values("id", "name")[:30]),
        "key_name": _name_of(found, request, wanted.key_id),
        "open_since": timezone.now() - gap,
    }
    return TemplateResponse(request, "activity/runs.html", context)


def _found(request: ConsoleRequest, wanted: RunFilter, order: str) -> tuple[list[Run], object | None]:
    """A page of runs, and the place after it."""
    cursor = request.GET.get("cursor")
    if order == "latest":
        return run_page(request.workspace, wanted, limit=PAGE_SIZE, before=read_onward(cursor, UUID))
    since = timezone.now() - RANKED_OVER
    runs, later = ranked(request.workspace, wanted, order, since=since, limit=PAGE_SIZE, after=rank_of(cursor))
    return runs, later and write_rank(later)


def _name_of(found: list[Run], request: ConsoleRequest, key_id: int | None) -> str:
    if key_id is None:
        return ""
    return request.workspace.api_keys.filter(pk=key_id).values_list("name", flat=True).first() or next((run.token_name for run in found), "") or str(key_id)


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the timeline. ``ms`` None: the time is not known. ``is_call`` has tokens and a cost, a tool's line has not."""

    name: str
    detail: str
    level: int
    is_call: bool
    verdict: str
    start_ms: int
    ms: int | None
    href: str = ""
    tokens: int | None = None
    cost_micro_usd: int | None = None
    is_offer: bool = False

    @property
    def is_tool(self) -> bool:
        return not self.is_call


@require_GET
@page("activity.view_runs")
def run(request: ConsoleRequest, key_id: int, run_id: str) -> HttpResponse:
    found = runs_named(request.workspace, run_id, key_id)
    if not found:
        raise NotFound("There is no such run.")
    shown = found[0]
    after = read_onward(request.GET.get("cursor"), UUID)
    calls, later = calls_of(request.workspace, shown, after=after)
    gap = timedelta(seconds=firewall.settings_of(request.workspace).run_gap_seconds)
    span = span_of(shown, calls)
    show = request.GET.get("show", "")
    if show not in SHOWN:
        raise ValidationFailed("There is no such view of a run.", param="show")
    tools = tools_of(request.workspace, shown)
    at = timezone.now()
    waiting = list(approvals.queue(request.workspace).filter(key_id=key_id, agent_run_id=run_id)[:MOST_WAITING])
    context = {
        "run": shown,
        "waiting": waiting,
        "money": money_of(request.workspace, shown, at=at),
        "has_key": request.workspace.api_keys.filter(pk=key_id, is_frozen=False).exists(),
        "others": request.workspace.usage.filter(key_id=key_id, pk__gte=lowest_at(at - gap)).values("agent_run_id").distinct().count(),
        "steps": [step for call in calls for step in _steps(shown, call) if _is_shown(step, show)],
        "show": show,
        "views": list(SHOWN.items()),
        "tools": tools[:MOST_TOOLS],
        "more_tools": tools[MOST_TOOLS:MOST_TOOLS_NAMED],
        "more_tools_count": max(len(tools) - MOST_TOOLS, 0),
        "tools_not_named": max(len(tools) - MOST_TOOLS_NAMED, 0),
        "span_ms": int(span.total_seconds() * 1000),
        "is_open": shown.stopped_at is None and (bool(waiting) or (shown.last_seen_at is not None and at - shown.last_seen_at < gap)),
        "later": write_cursor(later),
        "is_first": after is None,
        "last_request": calls[-1].request_id if calls else "",
        "policy": request.workspace.policies.filter(api_keys=key_id).first(),
    }
    return TemplateResponse(request, "activity/run.html", context)


@require_POST
@page("activity.stop_run")
def run_stop(request: ConsoleRequest, key_id: int, run_id: str) -> HttpResponse:
    """Deny every further call of a run."""
    if not is_known(request.workspace, key_id, run_id):
        raise NotFound("There is no such run.")
    stop_run(request.workspace, key_id=key_id, run_id=run_id, actor=request.user, at=timezone.now())
    messages.success(request, f"The run {run_id} is stopped: every further call of it is denied.")
    return redirect("console:run", key_id=key_id, run_id=run_id)


def _is_shown(step: Step, show: str) -> bool:
    match show:
        case "called":
            return step.is_tool and not step.is_offer
        case "denied":
            return step.is_tool and step.verdict == "deny"
    return True


def _steps(run: Run, call: Call) -> list[Step]:
    """A call's line and, indented, one for each tool that was judged in it."""
    level = 0 if call.parent is None else 1
    return [_call_step(run, call, level), *(step for event in call.events for step in _event_steps(run, event, level + 1))]


def _call_step(run: Run, call: Call, level: int) -> Step:
    usage = call.usage
    refused = any(event.verdict == "deny" and event.surface == "inbound" for event in call.events)
    if usage is None:
        return Step("Call", "no usage was recorded", level, True, "deny" if refused else "", _since(run, call.first), None)
    known = [tokens for tokens in (usage.prompt_tokens, usage.completion_tokens) if tokens is not None]
    if usage.usage_source == UsageSource.TOOL:
        return Step("Question about a tool", "the tool has a price", level, True, "", _since(run, usage), usage.latency_ms, "", None, usage.cost_micro_usd)
    name = "Refused call" if refused else _call_name(usage, call)
    outcome = "" if refused or usage.outcome == "completed" else f" · {_outcome_in_words(usage)}"
    detail = f"{usage.model_name or 'no model'}{outcome}"
    return Step(
        name, detail, level, True, "deny" if refused else "", _since(run, usage), usage.latency_ms, "", sum(known) if known else None, usage.cost_micro_usd
    )


def _call_name(usage: Usage, call: Call) -> str:
    """Whether a model was asked: none is for a held answer that is given out, nor for a request that is held."""
    if usage.usage_source != UsageSource.NONE:
        return "Model call"
    if usage.error_code == ApprovalPending.code:
        return "Held call"
    return "Kept answer" if any(event.reason_code == ReasonCode.APPROVAL_CONSUMED for event in call.events) else "Model call"


def _outcome_in_words(usage: Usage) -> str:
    """As in ``failed: provider error``."""
    outcome, code = usage.outcome.replace("_", " "), (usage.error_code or "").replace("upstream", "provider").replace("_", " ")
    return f"{outcome}: {code}" if code else outcome


def _event_steps(run: Run, event: Event, level: int) -> list[Step]:
    href = reverse("console:event", args=[event.pk]) + f"?run_id={run.id}"
    is_offer = event.surface == "inbound"
    name, detail = event.tool_name, "offered" if is_offer else _first_value(event.args_summary)
    if event.reason_code and event.reason_code.startswith("approval_"):
        # What became of a held call is no call of its own.
        detail = event.reason
    if name is None:
        name, detail = f"{len(event.tools)} tools offered", ", ".join(event.tools[:6])
    return [Step(name, detail, level, False, event.verdict, _since(run, event), None, href, is_offer=is_offer)]


def _first_value(args_summary: str | None) -> str:
    """A glimpse of the arguments, enough to tell two calls of a tool apart: the first value that is a text or a number."""
    try:
        arguments = json.loads(args_summary or "{}")
    except (ValueError, RecursionError):
        return (args_summary or "")[:MOST_OF_A_GLIMPSE]
    values = arguments.values() if isinstance(arguments, dict) else [arguments]
    return next((str(value) for value in values if isinstance(value, str | int | float)), "")[:MOST_OF_A_GLIMPSE]


def _since(run: Run, row) -> int:
    return max(int((row.occurred_at - run.first_seen_at).total_seconds() * 1000), 0) if run.first_seen_at else 0


# --- Search -----------------------------------------------------------------------------------------------------------
@require_GET
@page("activity.view_totals")
def search(request: ConsoleRequest) -> HttpResponse:
    text = request.GET.get("q", "").replace("\x00", "").strip()[:MOST_OF_QUERY]
    found = find(request.workspace, text, sees_runs=allowed(request.membership, "activity.view_runs")) if text else None
    return TemplateResponse(request, "activity/search.html", {"q": text, "found": found})
