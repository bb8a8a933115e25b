"""Somebody else saved while a form was open: what they changed, what was typed, and the two put together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from firewall import services
from firewall.engine import history
from firewall.forms import PolicyForm
from firewall.models import Policy
from firewall.rule_form import RuleForm
from workspaces.errors import VersionConflict

MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that either changed: as the edit found it, as they have it now, and as it was typed; in words. ``is_both``: they differ over it."""

    called: str
    before: str
    theirs: str
    mine: str
    is_mine: bool
    is_both: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """``form`` is the id of the form that would put one's own change on top of theirs, "" where there is none.

    ``undone`` says what was asked for and not done; ``is_gone``: the rule that was edited is deleted, and what was typed stands as a new one.
    """

    expected: int
    current: int
    saved_by: str
    saved_at: datetime | None
    changes: list[str]
    changes_more: int = 0
    form: str = ""
    fields: list[Difference] = field(default_factory=list)
    is_gone: bool = False
    undone: str = ""

    @classmethod
    def of(cls, error: VersionConflict, **more: Any) -> "Conflict":
        told, at = error.metadata, error.metadata.get("saved_at")
        changes = [change["text"] for change in told["changes"]] if isinstance(told["changes"], list) else []
        return cls(
            expected=int(str(told["expected_version"])),
            current=int(str(told["current_version"])),
            saved_by=str(told["saved_by"] or ""),
            saved_at=datetime.fromisoformat(at) if isinstance(at, str) else None,
            changes=changes[:MOST_TOLD],
            changes_more=max(len(changes) - MOST_TOLD, 0),
            **more,
        )


def over_rule(policy: Policy, rule_id: int | None, form: RuleForm, error: VersionConflict) -> tuple[Conflict, RuleForm, int]:
    """What became of the rule that ``form`` is about (None: a new one); a form with what was typed on top of it, and the rule to edit, 0 a new one."""
    mine = services.whole_rule(form.fields_of_rule)
    version = int(str(error.metadata["current_version"]))
    theirs = policy.rules.filter(pk=rule_id).values(*services.RULE_FIELDS).first() if rule_id is not None else None
    if rule_id is None or theirs is None:
        return Conflict.of(error, form="rule-form", is_gone=rule_id is not None), RuleForm.of(mine, version=version, is_unsaved=True), 0
    before = _as_it_was(policy, error)
    known = next((rule for rule in before.get("rules", []) if rule["id"] == rule_id), theirs)
    merged, fields = put_together(known, theirs, mine)
    return Conflict.of(error, form="rule-form", fields=fields), RuleForm.of(merged, version=version, is_unsaved=True), rule_id


def over_policy(policy: Policy, form: PolicyForm, error: VersionConflict) -> tuple[Conflict, PolicyForm]:
    """The same of the policy's own fields."""
    theirs = {name: getattr(policy, name) for name in form.changes}
    merged, fields = put_together(theirs | _as_it_was(policy, error), theirs, form.changes)
    return Conflict.of(error, form="policy", fields=fields), PolicyForm(initial=merged | {"version": error.metadata["current_version"]})


def put_together(before: Mapping[str, Any], theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> tuple[dict[str, Any], list[Difference]]:
    """Theirs with what was changed in ``mine`` since ``before``, and every field that either changed."""
    merged, found = dict(theirs), []
    for name, value in mine.items():
        was, now = before.get(name), theirs[name]
        is_mine = value != was
        if is_mine:
            merged[name] = value
        if is_mine or now != was:
            before_it, theirs_now, typed = (history.shown(name, each) for each in (was, now, value))
            found.append(Difference(history.called(name), before_it, theirs_now, typed, is_mine, is_mine and now not in (was, value)))
    return merged, found


def _as_it_was(policy: Policy, error: VersionConflict) -> dict[str, Any]:
    kept = policy.workspace.policy_versions.filter(policy_id=policy.pk, version=int(str(error.metadata["expected_version"]))).first()
    return kept.snapshot if kept else {}
