"""Try a call on a policy, saved or not: the gateway's engine, on values alone. Nothing is sent, kept or counted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from firewall import selectors
from firewall.engine import egress, rule_json
from firewall.engine import types as engine
from firewall.engine.decide import decide
from firewall.engine.explain import Step, explain
from firewall.engine.types import Decision, RunState, Surface, ToolCall
from firewall.engine.validate import Problem, policy_problems
from firewall.models import Policy, Rule
from firewall.services import POLICY_FIELDS
from workspaces.errors import NotFound, ValidationFailed
from workspaces.models import Workspace

DRAFT_NAME = "draft"
#: ``rules[3].verdict`` is ``rules.3.verdict`` in an answer, as every nested field is.
_BRACKETS = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Trial:
    """What was decided about a call, and every rule that was walked; no steps where no policy applies."""

    decision: Decision
    walk: list[Step]


def try_call(policy: engine.Policy | None, call: ToolCall, *, observe_mode: bool = False) -> Trial:
    """Judge a call as the first of a run that has cost nothing."""
    run = RunState(calls=0)
    return Trial(decide(policy, call, run, observe_mode=observe_mode), explain(policy, call, run) if policy else [])


def tool_call(surface: object, tool_name: object, arguments: object = None, destination: object = None) -> ToolCall:
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
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return ToolCall(
        surface=Surface(str(surface)),
        name=tool_name,
        arguments=None if surface == Surface.INBOUND else text,
        destinations=(egress.destination(destination),) if destination else None,
    )


def saved_policy(workspace: Workspace, policy_id: int | None) -> engine.Policy | None:
    """A policy as it is, enabled or not; without an id the workspace default, None if there is none in force. Raises ``NotFound``."""
    chosen = workspace.policies.filter(pk=policy_id) if policy_id is not None else workspace.policies.filter(is_default=True, enabled=True)
    found = chosen.prefetch_related("rules").first()
    if found is None and policy_id is not None:
        raise NotFound("There is no such policy.", param="policy_id")
    return selectors.compiled(found, found.rules.all()) if found else None


def draft_policy(fields: Mapping[str, object]) -> engine.Policy:
    """A policy that nobody saved, under the rules for saving one. Raises ``ValidationFailed``.

    Its rules have the ids they are given, if all of them are and differ, else their places from 1.
    """
    fields = {"name": DRAFT_NAME} | dict(fields)
    found = [Problem(name, "There is no such field.") for name in fields if name not in (*POLICY_FIELDS, "rules")]
    if found := [*found, *policy_problems(fields)]:
        raise ValidationFailed.of([{"param": "policy." + _BRACKETS.sub(r".\1", each.param), "message": each.message} for each in found])
    rules = fields.pop("rules", ())
    assert isinstance(rules, list | tuple)
    ids = [rule.get("id") for rule in rules]
    if len({each for each in ids if type(each) is int}) < len(rules):
        ids = list(range(1, len(rules) + 1))
    kept = [rule_json.stored(rule) for rule in rules]
    known = {field.attname for field in Rule._meta.concrete_fields} - {"id", "policy_id", "workspace_id"}
    drafted = [Rule(pk=pk, **{name: value for name, value in rule.items() if name in known}) for pk, rule in zip(ids, kept, strict=True)]
    return selectors.compiled(Policy(pk=0, version=0, **fields), drafted)
