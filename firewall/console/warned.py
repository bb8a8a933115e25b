"""What may be wrong with a policy's rules, and the changes that would mend it: proposed in the editor, and saved by nobody but its author."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from firewall import selectors
from firewall.engine import history, remarks
from firewall.engine import types as engine
from firewall.engine.remarks import Fix, Warning
from firewall.models import Policy, Rule
from firewall.services import RULE_FIELDS
from workspaces.models import Workspace


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule with one field changed, not saved: all its fields, and the one in words."""

    fields: Mapping[str, Any]
    called: str
    before: str
    after: str


def warnings_of(policy: Policy) -> list[tuple[Rule, Warning]]:
    """What its author should know, with the rule that it is about."""
    rules = {rule.pk: rule for rule in policy.rules.all()}
    found = told(policy.workspace, selectors.compiled(policy, rules.values()))
    return [(rules[each.rule_id], each) for each in found]


def told(workspace: Workspace, policy: engine.Policy) -> list[Warning]:
    """The engine's warnings; of a glob that is loose, with the one tool that it was seen to let through."""
    found = remarks.warnings(policy)
    if all(each.code not in remarks.LOOSE for each in found):
        return found
    seen = selectors.tools_seen(workspace)
    return [remarks.narrowed(each, policy, seen) for each in found]


def fix_named(found: Iterable[Warning], name: str, shown: str | None = None) -> Fix | None:
    """The fix of one rule's warnings that a button stood for; None where there is nothing left to mend by it."""
    return next((fix for each in found for fix in each.fixes if fix.name == name and shown in (None, fix.shown)), None)


def proposal(rule: Rule, found: Iterable[Warning], asked: str) -> Proposal | None:
    """The rule as ``asked``, ``name:shown`` of a fix, would have it."""
    name, _, shown = asked.partition(":")
    fix = fix_named(found, name, shown) if name in RULE_FIELDS else None
    if fix is None:
        return None
    fields = {each: getattr(rule, each) for each in RULE_FIELDS}
    before, after = (history.shown(name, value) for value in (fields[name], fix.value))
    return Proposal(fields | {name: fix.value}, history.called(name), before, after)
