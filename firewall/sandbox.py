"""Try a call on a policy, saved or not: the gateway's engine, on values alone. Nothing is sent, kept or counted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from firewall import selectors
from firewall.engine import afterwards, destinations, rule_json
from firewall.engine import types as engine
from firewall.engine.decide import decide
from firewall.engine.explain import Step, explain
from firewall.engine.types import Decision, RunState, Surface, ToolCall
from firewall.engine.validate import Problem, policy_problems
from firewall.models import Policy, Rule
from firewall.services import POLICY_FIELDS, refuse
from workspaces import net
from workspaces.errors import NotFound, ValidationFailed
from workspaces.models import Workspace

DRAFT_NAME = "draft"

#: Fields of a run that may be described, and of each of its earlier calls.
PAST_FIELDS: Mapping[str, type] = {
    **dict.fromkeys(("calls", "spent_micro_usd", "reserved_micro_usd", "estimate_micro_usd", "runs_this_hour"), int),
    "is_stopped": bool,
    "before": list,
}
_BEFORE_FIELDS = ("surface", "tool_name", "arguments", "destination", "seconds_ago")
_WANTED = {int: "A whole number, 0 or more.", bool: "True or false.", list: "A list of calls."}
MAX_BEFORE = 100
MAX_SECONDS_AGO = 31 * 24 * 3600
#: A trial has no clock: any moment will do, as long as every call before it has one too.
_NOW_MS = MAX_SECONDS_AGO * 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """What was decided about a call, the sequences that it completes, and every rule that was walked; no steps where no policy applies."""

    decision: Decision
    walk: list[Step]
    findings: tuple[Decision, ...] = ()

    @property
    def factors(self) -> list[str]:
        return [*self.decision.factors, *(finding.reason for finding in self.findings)]


@dataclass(frozen=True, slots=True)
class Past:
    """What a call's run was before it: its ``state``, and its earlier ``calls``, each with the seconds that it was made before."""

    state: RunState = field(default_factory=RunState)
    calls: tuple[tuple[ToolCall, int], ...] = ()


def try_call(policy: engine.Policy | None, call: ToolCall, past: Past | None = None, *, observe_mode: bool = False) -> Trial:
    """Judge a call as the gateway would after this past; without one, as the first of a run that has cost nothing."""
    past = past or Past()
    call, run = resolved(policy, call), replace(past.state, at_ms=_NOW_MS)
    for before, seconds in past.calls:
        run = replace(afterwards.advance(policy, before, replace(run, at_ms=_NOW_MS - seconds * 1000)), at_ms=_NOW_MS)
    (judged,), _ = afterwards.in_order(policy, [call], run, partial(decide, policy, observe_mode=observe_mode))
    return Trial(judged.decision, explain(policy, call, run) if policy else [], judged.findings)


def resolved(policy: engine.Policy | None, call: ToolCall) -> ToolCall:
    """The call with its names resolved where the gateway would: for whoever asks before a call, if a rule looks at addresses."""
    if policy is None or not policy.resolves_on(call.surface):
        return call
    to = call.destinations if call.destinations is not None else destinations.of_call(None, "{}" if call.arguments is None else call.arguments)
    found = net.look_up(each.host for each in to if each.needs_resolving)
    return replace(call, destinations=tuple(replace(each, addresses=found[each.host]) if each.needs_resolving else each for each in to))


def tool_call(surface: object, tool_name: object, arguments: object = None, destination: object = None, skill: object = None) -> ToolCall:
    """The call that was described, as the gateway would make it. Raises ``ValidationFailed``.

    ``arguments`` are an object, or its text as a model wrote it. On ``inbound`` a tool is only offered: there are none to see.
    """
    if surface not in tuple(Surface):
        raise ValidationFailed(f"One of {', '.join(Surface)}.", param="surface")
    if not isinstance(tool_name, str):
        raise ValidationFailed("A text.", param="tool_name")
    if not (arguments is None or isinstance(arguments, str | dict)):
        raise ValidationFailed("A JSON object, or its text.", param="arguments")
    if not (destination is None or isinstance(destination, str)):
        raise ValidationFailed("A host, host:port or URL.", param="destination")
    if not (skill is None or isinstance(skill, str)):
        raise ValidationFailed("A text.", param="skill")
    is_offered = surface == Surface.INBOUND
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return ToolCall(
        surface=Surface(str(surface)),
        name=tool_name,
        arguments=None if is_offered else text,
        skill=skill,
        destinations=destinations.of_call(destination, text) if destination and not is_offered else None,
    )


def past_of(fields: object) -> Past:
    """The run that was described: numbers of ``RunState``, and under ``before`` its earlier calls. Raises ``ValidationFailed``."""
    if fields is None:
        return Past()
    if not isinstance(fields, dict):
        raise ValidationFailed("A JSON object.", param="run")
    for name, value in fields.items():
        wanted = PAST_FIELDS.get(name)
        if wanted is None:
            raise ValidationFailed("There is no such field.", param=f"run.{name}")
        is_number = type(value) is int and 0 <= value < 2**53
        if not (type(value) is wanted if wanted is not int else is_number or (value is None and name == "estimate_micro_usd")):
            raise ValidationFailed(_WANTED[wanted], param=f"run.{name}")
    before = fields.get("before", [])
    if len(before) > MAX_BEFORE:
        raise ValidationFailed(f"At most {MAX_BEFORE} calls; these are {len(before)}.", param="run.before")
    calls = tuple(_call_before(each, f"run.before.{place}") for place, each in enumerate(before))
    # In the order in which they were made.
    state = {name: value for name, value in fields.items() if name != "before"}
    return Past(RunState(**({"calls": len(calls)} | state)), tuple(sorted(calls, key=lambda each: -each[1])))


def _call_before(fields: object, where: str) -> tuple[ToolCall, int]:
    if not isinstance(fields, dict):
        raise ValidationFailed("A JSON object.", param=where)
    if unknown := [name for name in fields if name not in _BEFORE_FIELDS]:
        raise ValidationFailed("There is no such field.", param=f"{where}.{unknown[0]}")
    seconds = fields.get("seconds_ago", 0)
    if type(seconds) is not int or not 0 <= seconds <= MAX_SECONDS_AGO:
        raise ValidationFailed(f"A whole number from 0 to {MAX_SECONDS_AGO}.", param=f"{where}.seconds_ago")
    try:
        surface = fields.get("surface", Surface.RESPONSE.value)
        return tool_call(surface, fields.get("tool_name"), fields.get("arguments"), fields.get("destination")), seconds
    except ValidationFailed as wrong:
        raise ValidationFailed(wrong.message, param=f"{where}.{wrong.param}") from wrong


def saved_policy(workspace: Workspace, policy_id: int | None) -> engine.Policy | None:
    """A policy as it is, enabled or not; without an id the workspace default, None if there is none in force. Raises ``NotFound``."""
    chosen = workspace.policies.filter(pk=policy_id) if policy_id is not None else workspace.policies.filter(is_default=True, enabled=True)
    found = chosen.prefetch_related("rules").first()
    if found is None and policy_id is not None:
        raise NotFound("There is no such policy.", param="policy_id")
    return selectors.compiled(found, found.rules.all()) if found else None


def draft_policy(fields: Mapping[str, object]) -> engine.Policy:
    """A policy that nobody saved, under the rules for saving one. Raises ``ValidationFailed``."""
    drafted = draft_snapshot(fields)
    rules = [Rule(pk=rule.pop("id"), **rule) for rule in drafted.pop("rules")]
    return selectors.compiled(Policy(pk=0, version=0, **drafted), rules)


def draft_snapshot(fields: Mapping[str, object]) -> dict:
    """What a saved policy's snapshot would be. Raises ``ValidationFailed``.

    Its rules have the ids they are given, if all of them are and differ, else their places from 1.
    """
    fields = {"name": DRAFT_NAME} | dict(fields)
    found = [Problem(name, "There is no such field.") for name in fields if name not in (*POLICY_FIELDS, "rules")]
    refuse([*found, *policy_problems(fields)], within="policy")
    rules = fields.pop("rules", ())
    assert isinstance(rules, list | tuple)
    ids = [rule.get("id") for rule in rules]
    if len({each for each in ids if type(each) is int}) < len(rules):
        ids = list(range(1, len(rules) + 1))
    kept = [rule_json.stored(rule) for rule in rules]
    known = {field.attname for field in Rule._meta.concrete_fields} - {"id", "policy_id", "workspace_id"}
    return fields | {"rules": [{name: value for name, value in rule.items() if name in known} | {"id": pk} for pk, rule in zip(ids, kept, strict=True)]}
