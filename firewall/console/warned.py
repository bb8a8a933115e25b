"""What may be wrong with a policy's rules, and the changes that would mend it: proposed in the editor, and saved by nobody but its author."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from operator import itemgetter
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
    globs = {rule.id: rule.tool_name_glob for rule in policy.rules}
    return _narrowed(workspace, remarks.warnings(policy), globs)


def _narrowed(workspace: Workspace, found: list[Warning], globs: Mapping[int, str]) -> list[Warning]:
    if all(each.code not in remarks.LOOSE for each in found):
        return found
    seen = selectors.tools_seen(workspace)
    return [remarks.narrowed(each, globs[each.rule_id], seen) for each in found]


# --- Of many policies ---------------------------------------------------------------------------------------------------
#: Of one policy in a list, and of all.
MOST_TOLD = 20
#: Rules that one page looks through. A policy of the same version is looked through once, so that the next page comes further.
MOST_RULES = 2_000
_MOST_REMEMBERED = 2_000


@dataclass(frozen=True, slots=True)
class Warned:
    """A rule that is warned of."""

    pk: int
    priority: int
    label: str
    tool_name_glob: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How many warnings a policy has, and the first of them."""

    count: int
    first: tuple[tuple[Warned, Warning], ...]


#: By policy, version and the moment it was saved: a version that was never committed may come again.
_known: dict[tuple[int, int, datetime], Summary] = {}


def summaries(workspace: Workspace, policies: Sequence[Policy], *, most_rules: int = MOST_RULES) -> dict[int, Summary]:
    """The warnings of policies with a ``rule_count``, by id. Those that are missing in it have not been looked through yet."""
    found = {policy.pk: known for policy in policies if (known := _known.get(_key(policy)))}
    wanted: dict[int, Policy] = {}
    counted = sorted(((policy.rule_count, policy.pk, policy) for policy in policies), key=itemgetter(0, 1))  # type: ignore[attr-defined]
    for rule_count, pk, policy in counted:
        if pk not in found and rule_count <= most_rules:
            most_rules -= rule_count
            wanted[pk] = policy
    rules: dict[int, list[Rule]] = {pk: [] for pk in wanted}
    for rule in workspace.rules.filter(policy__in=wanted):
        rules[rule.policy_id].append(rule)
    if len(_known) + len(wanted) > _MOST_REMEMBERED:
        _known.clear()
    for pk, policy in wanted.items():
        found[pk] = _known[_key(policy)] = _summary(policy, rules[pk])
    return found


def first_told(workspace: Workspace, found: Iterable[tuple[Policy, Summary]]) -> list[tuple[Policy, Warned, Warning]]:
    """The first of all warnings, with what would mend each."""
    told = list(islice(((policy, *each) for policy, summary in found for each in summary.first), MOST_TOLD))
    mended = _narrowed(workspace, [warning for _, _, warning in told], {rule.pk: rule.tool_name_glob for _, rule, _ in told})
    return [(policy, rule, warning) for (policy, rule, _), warning in zip(told, mended, strict=True)]


def _key(policy: Policy) -> tuple[int, int, datetime]:
    return policy.pk, policy.version, policy.updated_at


def _summary(policy: Policy, rules: Sequence[Rule]) -> Summary:
    found = remarks.warnings(selectors.compiled(policy, rules))
    by_id = {rule.pk: Warned(rule.pk, rule.priority, rule.label, rule.tool_name_glob) for rule in rules}
    return Summary(len(found), tuple((by_id[each.rule_id], each) for each in found[:MOST_TOLD]))


# --- What would mend them -----------------------------------------------------------------------------------------------


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
