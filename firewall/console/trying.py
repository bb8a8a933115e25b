"""Firewall > Test, and the test box beside a policy: judge a call by a policy as it is saved, or as it is being typed."""

import re
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from firewall import policy_file, sandbox, selectors, services, step_rows
from firewall.console import calls
from firewall.console.calls import DRAFT, Typed
from firewall.console.typed import UNNAMED, plain, with_typed
from firewall.engine import types as engine
from firewall.engine.explain import Step
from firewall.engine.types import Surface
from firewall.models import Policy
from firewall.rule_form import RuleForm
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError, ValidationFailed
from workspaces.params import row_id

MAX_CALL_CHARS = 64 * 1024


@dataclass(frozen=True, slots=True)
class WalkLine:
    """A rule that was walked. ``is_last``: it decided."""

    step: Step
    rule: engine.Rule
    is_last: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What is said about a call. ``rest`` are the rules after the one that decided, ``by`` is that one in words."""

    trial: sandbox.Trial
    by: str
    walked: list[WalkLine]
    rest: list[WalkLine]
    is_unsaved: bool


@require_http_methods(["GET", "POST"])
@page("firewall.test_policy")
def firewall_test(request: ConsoleRequest) -> HttpResponse:
    """The page, or for htmx the verdict alone. A POST has a call, and the rule's form too where one is open (``editing``)."""
    typed, missing = (_posted(request), "") if request.method == "POST" else _prefilled(request)
    shown, wrong = None, ""
    if typed.tool:
        try:
            shown = _judge(request, typed)
        except OrcaError as error:
            wrong = error.message
    if request.htmx and request.method == "POST":
        if not typed.tool:
            return HttpResponse(status=204)
        return TemplateResponse(request, "firewall/_trial.html", {"shown": shown, "wrong": wrong})
    context = {
        "typed": typed,
        "surfaces": list(Surface),
        "policies": list(request.workspace.policies.order_by("name").values("pk", "name", "is_default")[:500]),
        "missing": missing,
        "shown": shown,
        "wrong": wrong,
    }
    return TemplateResponse(request, "firewall/test.html", context)


def _posted(request: ConsoleRequest) -> Typed:
    sent = {each.name: request.POST.get(f"try_{each.name}", "") for each in fields(Typed)}
    if any(len(text) > MAX_CALL_CHARS for name, text in sent.items() if name != "draft"):
        raise ValidationFailed(f"At most {MAX_CALL_CHARS} characters can be tried here.")
    return Typed(**sent | {name: sent[name].strip() for name in ("tool", "destination", "skill", "spent", "estimate", "runs")})


def _prefilled(request: ConsoleRequest) -> tuple[Typed, str]:
    """What the address says: an ``event`` to take the call from, or a ``policy``; and what is to be known about the arguments."""
    policy = request.GET.get("policy", "")
    if not request.GET.get("event"):
        return Typed(policy=policy), ""
    event = calls.asked_event(request)
    if not policy and event.policy_id and request.workspace.policies.filter(pk=event.policy_id).exists():
        policy = str(event.policy_id)
    typed, missing = calls.taken(event, request.GET.get("tool", ""))
    return replace(typed, policy=policy), missing


def _judge(request: ConsoleRequest, typed: Typed) -> Shown:
    call = sandbox.tool_call(typed.surface, typed.tool, typed.arguments.strip() or None, typed.destination or None, typed.skill or None)
    policy_id = row_id(typed.policy, param="policy") if typed.policy not in ("", DRAFT) else None
    policy: engine.Policy | None
    is_unsaved = False
    if typed.policy == DRAFT:
        policy = _drafted(typed.draft)
    elif policy_id is not None and "editing" in request.POST:
        policy, is_unsaved = _as_typed(request, policy_id)
    else:
        policy = sandbox.saved_policy(request.workspace, policy_id)
    trial = sandbox.try_call(policy, call, _past(typed), observe_mode=selectors.settings_of(request.workspace).observe_mode)
    rules = {rule.id: rule for rule in policy.rules} if policy else {}
    lines = [WalkLine(step, rules[step.rule_id], step.matched and step.rule_id == trial.decision.rule_id) for step in trial.walk]
    end = next((place for place, line in enumerate(lines, start=1) if line.is_last), len(lines))
    by = "No rule decided" if policy else "No policy in force"
    if decided := rules.get(trial.decision.rule_id or 0):
        by = decided.label or decided.tool_name_glob or "every tool"
    return Shown(trial, by, lines[:end], lines[end:], is_unsaved)


def _drafted(text: str) -> engine.Policy:
    """The policy that a file is, not saved."""
    try:
        found, rules = policy_file.read(text.encode())
        return sandbox.draft_policy({**found, "rules": rules})
    except OrcaError as error:
        where = f", at {error.param.removeprefix('policy.')}" if error.param else ""
        raise ValidationFailed(f"The policy{where}: {error.message}", param="draft") from error


def _past(typed: Typed) -> sandbox.Past:
    """The run before the call: each earlier call is a line with its tool, where it went if it reached out, and how long ago if not just now."""
    lines = [line.split() for line in typed.earlier.splitlines() if line.strip()]
    if len(lines) > sandbox.MAX_BEFORE:
        raise ValidationFailed(f"At most {sandbox.MAX_BEFORE} earlier calls.", param="earlier")
    if typed.runs and not (typed.runs.isascii() and typed.runs.isdigit() and len(typed.runs) < 10):
        raise ValidationFailed("The runs that the key has begun are a whole number.", param="runs")
    before = sorted(map(_earlier, lines), key=lambda each: -each[1])
    state = engine.RunState(
        calls=len(before),
        spent_micro_usd=_micro_usd(typed.spent),
        estimate_micro_usd=None if typed.estimate.lower() == "unknown" else _micro_usd(typed.estimate),
        runs_this_hour=int(typed.runs or 1),
        is_stopped=bool(typed.stopped),
    )
    return sandbox.Past(state, tuple(before))


def _earlier(words: list[str]) -> tuple[engine.ToolCall, int]:
    name, *rest = words
    ago = step_rows.read_window(rest[-1]) if rest else None
    to = rest if ago is None else rest[:-1]
    if len(to) > 1 or not 0 <= (ago or 0) <= sandbox.MAX_SECONDS_AGO:
        raise ValidationFailed(f"“{' '.join(words)}” is no earlier call: a tool, where it went, and how long ago, such as 5m.", param="earlier")
    return sandbox.tool_call(Surface.RESPONSE, name, None, *to), ago or 0


def _micro_usd(text: str) -> int:
    if not text:
        return 0
    dollars = re.fullmatch(r"\$?((?:[0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2})(?:\.[0-9]{1,6})?)", text)
    if dollars is None:
        raise ValidationFailed("What a run or a call costs is dollars, such as 2.50.", param="spent")
    return int(Decimal(dollars[1].replace(",", "")) * 1_000_000)


def _as_typed(request: ConsoleRequest, policy_id: int) -> tuple[engine.Policy, bool]:
    """The policy with the rule that is in its form, and whether that is another than is saved: ``editing`` names the one it replaces, 0 a new one."""
    policy: Policy | None = request.workspace.policies.filter(pk=policy_id).first()
    if policy is None:
        raise NotFound("There is no such policy.", param="policy")
    form = RuleForm(request.POST)
    if not form.is_valid():
        field, words = next(iter(form.errors.items()))
        raise ValidationFailed(f"{form.fields[field].label}: {words[0]}" if field in form.fields else str(words[0]), param=field)
    fields, saved = form.fields_of_rule, list(policy.rules.all())
    own = row_id(request.POST["editing"], param="editing")
    known = next((plain(rule) for rule in saved if rule.pk == own), None)
    if known is not None and known == {"id": own} | services.whole_rule(fields):
        return selectors.compiled(policy, saved), False
    fields["label"] = fields.get("label") or UNNAMED
    _, rules = with_typed(policy, saved, fields, own)
    return selectors.compiled(policy, rules), True
