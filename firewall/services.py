"""Changes of policies, rules and settings. Each is one transaction with its audit entry, in force on the gateway's next call."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import takewhile
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from firewall import policy_file, selectors
from firewall.engine import history
from firewall.engine.rule_json import stored
from firewall.engine.validate import MAX_PRIORITY, MAX_RULES, Problem, policy_problems, problems
from firewall.fields import BLANK_RULE, POLICY_FIELDS, RULE_FIELDS
from firewall.models import Policy, Rule, RuleVerdict, Settings
from workspaces import audit
from workspaces.errors import Conflict, NotFound, PolicyAttached, ValidationFailed, VersionConflict
from workspaces.models import User, Workspace
from workspaces.selectors import hold
from workspaces.services import touch_config
from workspaces.times import rfc3339

SETTINGS_FIELDS = ("observe_mode", "run_gap_seconds")
#: Documented settings with one value here: said, taken as they are, and refused otherwise, so that nobody believes another one set.
FIXED_SETTINGS: Mapping[str, object] = {"record_mode": "strict", "policy_fail_open": False}
#: Documented settings of parts that do not exist yet: refused by name.
SETTINGS_TO_COME = ("mcp_schema_posture",)
RUN_GAP_SECONDS = range(60, 86_400 + 1)
#: Between two rules put in order, so that a later one fits in without moving the rest.
PRIORITY_STEP = 10
#: Of a conflict.
MOST_CHANGES_TOLD = 50


# --- Policies -------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_policy(
    workspace: Workspace,
    *,
    fields: Mapping[str, object],
    rules: Sequence[Mapping[str, object]] = (),
    actor: User,
    at: datetime,
    words: str = "Made.",
) -> Policy:
    """Make a policy with its rules, in the order given. ``fields`` are some of ``POLICY_FIELDS``, with ``name``.

    A policy that is made the default takes that place from the one that had it. ``words`` say in its history how it came about.
    """
    fields = _policy_fields(fields, known={}, rules=rules)
    hold(workspace.pk)
    if fields.get("is_default"):
        _demote_default(workspace, but=None, actor=actor, at=at)
    policy = Policy(workspace=workspace, created_at=at, updated_at=at, updated_by=actor, **fields)
    with _one_of_a_name(policy.name):
        policy.save(force_insert=True)
    workspace.rules.bulk_create(Rule(workspace=workspace, policy=policy, **_rule_fields(rule)) for rule in rules)
    _settle_policy("firewall_policy_create", policy, actor=actor, at=at, words=words)
    return policy


@transaction.atomic
def change_policy(policy: Policy, *, changes: Mapping[str, object], expected_version: int | None = None, actor: User, at: datetime) -> None:
    """Change some of ``POLICY_FIELDS``. Raises ``VersionConflict`` if ``expected_version`` is given and no longer the policy's."""
    changes = _policy_fields(changes, known={name: getattr(policy, name) for name in POLICY_FIELDS})
    # From here on the workspace's changes queue up: two promotions at once make one default, not an error.
    hold(policy.workspace_id)
    if changes.get("is_default"):
        _demote_default(policy.workspace, but=policy, actor=actor, at=at)
    with _one_of_a_name(changes.get("name", policy.name)):
        _revise(policy, expected_version=expected_version, actor=actor, at=at, **changes)
    _settle_policy("firewall_policy_update", policy, actor=actor, at=at)


@transaction.atomic
def delete_policy(policy: Policy, *, expected_version: int | None = None, actor: User, at: datetime) -> None:
    """Delete a policy and its rules. Raises ``PolicyAttached`` while a key is bound to it."""
    hold(policy.workspace_id)
    _revise(policy, expected_version=expected_version, actor=actor, at=at)
    keys = list(policy.api_keys.order_by("id").values("id", "name")[:20])
    if keys:
        names = ", ".join(key["name"] for key in keys)
        raise PolicyAttached(f"Keys are attached to this policy: {names}. Attach them elsewhere first.", keys=keys)
    _settle_policy("firewall_policy_delete", policy, actor=actor, at=at, words="Deleted.")
    policy.delete()


def _policy_fields(fields: Mapping[str, object], *, known: Mapping[str, object], rules: Sequence[Mapping[str, object]] = ()) -> dict:
    """``fields`` cleaned, once they are right together with what is ``known`` already."""
    fields = {name: value.strip() if name == "name" and isinstance(value, str) else value for name, value in fields.items()}
    found = policy_problems({**known, **fields, "rules": rules})
    refuse([*found, *_unknown(fields, POLICY_FIELDS)])
    return fields


def _demote_default(workspace: Workspace, *, but: Policy | None, actor: User, at: datetime) -> None:
    others = workspace.policies.filter(is_default=True)
    for former in others.exclude(pk=but.pk) if but else others:
        _revise(former, expected_version=None, actor=actor, at=at, is_default=False)
        _settle_policy("firewall_policy_update", former, actor=actor, at=at)


def _revise(policy: Policy, *, expected_version: int | None, actor: User, at: datetime, **changes: object) -> None:
    """Write the policy's next version; its row stays locked until the transaction ends, so that edits of one policy queue up."""
    row = policy.workspace.policies.filter(pk=policy.pk)
    wanted = row if expected_version is None else row.filter(version=expected_version)
    if not wanted.update(version=F("version") + 1, updated_at=at, updated_by=actor, **changes):
        current = row.values_list("version", flat=True).first()
        if current is None:
            raise NotFound("Not found.")
        raise conflict(policy, expected_version, current)
    policy.refresh_from_db()


def conflict(policy: Policy, expected: int | None, current: int) -> VersionConflict:
    """With both versions: what became of the one in the other, and who saved it."""
    kept = {each.version: each for each in policy.workspace.policy_versions.filter(policy_id=policy.pk, version__in=[expected, current])}
    before, after = kept.get(expected or 0), kept.get(current)
    changes = history.changes(before.snapshot, after.snapshot) if before and after else []
    return VersionConflict(
        f"This policy was changed meanwhile: it is at version {current}, not {expected}.",
        param="version",
        expected_version=expected,
        current_version=current,
        changes=[asdict(change) for change in changes[:MOST_CHANGES_TOLD]],
        saved_by=after.author_label if after else None,
        saved_at=rfc3339(after.saved_at) if after else None,
    )


@contextmanager
def _one_of_a_name(name: object) -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "policy_name_once_a_workspace" not in str(error):
            raise
        raise Conflict(f"There is a policy named {name} already.", param="name") from error


def _settle_policy(action: str, policy: Policy, *, actor: User, at: datetime, words: str = "", **noted: object) -> None:
    """The end of a change: its version is kept, the gateway is told, after all that may refuse, and it is audited.

    ``words`` say what was done where the differences alone do not; ``noted`` goes into the audit entry's payload.
    """
    _keep_version(policy, actor=actor, at=at, words=words)
    touch_config(policy.workspace)
    payload = {name: getattr(policy, name) for name in ("id", "name", "is_default", "default_verdict", "enabled")} | noted
    audit.record(workspace=policy.workspace, actor=actor, action=action, target=policy, at=at, payload=payload)


# --- Rules ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def add_rule(policy: Policy, *, fields: Mapping[str, object], expected_version: int | None = None, actor: User, at: datetime) -> Rule:
    """Add a rule to a policy. ``fields`` are some of ``RULE_FIELDS``, with ``verdict``."""
    refuse(problems(fields))
    hold(policy.workspace_id)
    _revise(policy, expected_version=expected_version, actor=actor, at=at)
    if policy.rules.count() >= MAX_RULES:
        raise ValidationFailed(f"A policy has at most {MAX_RULES} rules.", param="policy_id")
    rule = policy.rules.create(workspace=policy.workspace, **_rule_fields(fields))
    _settle_rule("firewall_rule_create", rule, actor=actor, at=at)
    return rule


@transaction.atomic
def change_rule(rule: Rule, *, changes: Mapping[str, object], expected_version: int | None = None, actor: User, at: datetime) -> None:
    """Change some of ``RULE_FIELDS``. ``expected_version`` is the policy's."""
    refuse(problems(_kept(rule, but=changes) | dict(changes)))
    hold(rule.workspace_id)
    _revise(rule.policy, expected_version=expected_version, actor=actor, at=at)
    kept = _rule_fields(changes)
    # Under the policy's lock: a rule that someone else deleted first is gone, not made again.
    if kept and not rule.workspace.rules.filter(pk=rule.pk).update(**kept):
        raise NotFound("Not found.")
    rule.refresh_from_db()
    _settle_rule("firewall_rule_update", rule, actor=actor, at=at)


@transaction.atomic
def delete_rule(rule: Rule, *, expected_version: int | None = None, actor: User, at: datetime) -> None:
    hold(rule.workspace_id)
    _revise(rule.policy, expected_version=expected_version, actor=actor, at=at)
    # By a query: the instance keeps its id for the audit entry.
    if not rule.workspace.rules.filter(pk=rule.pk).delete()[0]:
        raise NotFound("Not found.")
    _settle_rule("firewall_rule_delete", rule, actor=actor, at=at)


@transaction.atomic
def order_rules(policy: Policy, *, rule_ids: Sequence[int], expected_version: int | None = None, actor: User, at: datetime) -> None:
    """Put all rules of a policy in this order, by priorities 10, 20, 30, ...; one change of the policy."""
    hold(policy.workspace_id)
    _revise(policy, expected_version=expected_version, actor=actor, at=at)
    rules = {rule.pk: rule for rule in policy.rules.all()}
    if sorted(rule_ids) != sorted(rules):
        raise ValidationFailed("Name each rule of this policy once.", param="rule_ids")
    for place, rule_id in enumerate(rule_ids, start=1):
        rules[rule_id].priority = place * PRIORITY_STEP
    policy.rules.bulk_update(rules.values(), ["priority"])
    _settle_policy("firewall_policy_update", policy, actor=actor, at=at)


def _kept(rule: Rule, *, but: Mapping[str, object]) -> dict:
    """A rule's fields, less those that are said again, under either name."""
    return {name: getattr(rule, name) for name in RULE_FIELDS if name not in but and f"{name}_json" not in but}


def _rule_fields(fields: Mapping[str, object]) -> dict:
    """What is stored of a rule: the fields that were sent, in one form."""
    kept = {name: value for name, value in stored(fields).items() if name in RULE_FIELDS}
    return kept | ({"stage": kept["stage"] or ""} if "stage" in kept else {})


def _settle_rule(action: str, rule: Rule, *, actor: User, at: datetime) -> None:
    _keep_version(rule.policy, actor=actor, at=at)
    touch_config(rule.workspace)
    payload = {name: getattr(rule, name) for name in ("id", "policy_id", "verdict", "stage", "tool_name_glob", "priority")}
    audit.record(workspace=rule.workspace, actor=actor, action=action, target=rule, target_label=rule.label or rule.tool_name_glob, at=at, payload=payload)


# --- Versions -------------------------------------------------------------------------------------------------------
def snapshot(policy: Policy) -> dict:
    """The policy as it stands, as JSON: what its history keeps and its file is written from."""
    fields = {name: getattr(policy, name) for name in POLICY_FIELDS}
    return fields | {"rules": [{name: getattr(rule, name) for name in ("id", *RULE_FIELDS)} for rule in policy.rules.all()]}


@transaction.atomic
def restore_version(policy: Policy, *, version: int, expected_version: int | None = None, actor: User, at: datetime) -> None:
    """Make a policy what it was at a version of its own: fields, rules and their ids. It is a new version, and judged as any write is."""
    former = selectors.version_of(policy, version).snapshot
    fields = {name: former[name] for name in POLICY_FIELDS if name in former}
    _rewrite(
        policy, fields, former["rules"], expected_version=expected_version, actor=actor, at=at, words=f"Restored version {version}.", restored_version=version
    )


@transaction.atomic
def replace_policy(
    policy: Policy,
    *,
    fields: Mapping[str, object],
    rules: Sequence[Mapping[str, object]],
    expected_version: int | None = None,
    actor: User,
    at: datetime,
    words: str = "Replaced by a file.",
) -> None:
    """Give a policy these fields and these rules for all it had, as one change. Rules that are the same, or about the same, keep their ids."""
    refuse_bad_policy(policy, fields, rules)
    hold(policy.workspace_id)
    wanted = sorted(map(whole_rule, rules), key=lambda rule: rule["priority"])
    ids = history.paired(snapshot(policy)["rules"], wanted)
    known = [rule if rule_id is None else rule | {"id": rule_id} for rule_id, rule in zip(ids, wanted, strict=True)]
    _rewrite(policy, fields, known, expected_version=expected_version, actor=actor, at=at, words=words)


def refuse_bad_policy(policy: Policy, fields: Mapping[str, object], rules: Sequence[Mapping[str, object]]) -> None:
    """Raise ``ValidationFailed`` if these fields and rules may not take the place of the policy's own."""
    refuse(policy_problems({"name": policy.name, **fields, "rules": rules}))


def whole_rule(fields: Mapping[str, object]) -> dict[str, Any]:
    """All that is stored of a rule without problems: what it does not say is as in a new one."""
    return BLANK_RULE | _rule_fields(fields)


def fork_policy(policy: Policy, *, name: str, actor: User, at: datetime) -> Policy:
    """A copy under a name of its own, with all rules, bound to no key and not the default."""
    former = snapshot(policy)
    fields = {each: former[each] for each in POLICY_FIELDS} | {"name": name, "is_default": False}
    words = f"Copied from {policy.name}, version {policy.version}."
    return create_policy(policy.workspace, fields=fields, rules=former["rules"], actor=actor, at=at, words=words)


@transaction.atomic
def insert_rules(policy: Policy, rules: Sequence[Mapping[str, object]], *, expected_version: int | None = None, actor: User, at: datetime, words: str) -> None:
    """Put rules before all others, the caps at the top aside, as one change. The others move only where no priorities are left between."""
    hold(policy.workspace_id)
    present = snapshot(policy)["rules"]
    caps = list(takewhile(lambda rule: rule["verdict"] == RuleVerdict.CAP_COST, present))
    made, rest = [whole_rule(rule) for rule in rules], present[len(caps) :]
    low = caps[-1]["priority"] if caps else 0
    step = min((rest[0]["priority"] - low) // (len(made) + 1) if rest else PRIORITY_STEP, PRIORITY_STEP)
    if step and low + step * len(made) <= MAX_PRIORITY:
        wanted = [*caps, *(rule | {"priority": low + step * place} for place, rule in enumerate(made, start=1)), *rest]
    else:
        wanted = [rule | {"priority": place * PRIORITY_STEP} for place, rule in enumerate([*caps, *made, *rest], start=1)]
    _rewrite(policy, {}, wanted, expected_version=expected_version, actor=actor, at=at, words=words)


@transaction.atomic
def append_rules(policy: Policy, rules: Sequence[Mapping[str, object]], *, expected_version: int | None = None, actor: User, at: datetime, words: str) -> None:
    """Put rules after all others, as one change."""
    hold(policy.workspace_id)
    _rewrite(policy, {}, [*snapshot(policy)["rules"], *rules], expected_version=expected_version, actor=actor, at=at, words=words)


def duplicate_rule(rule: Rule, *, actor: User, at: datetime) -> Rule:
    """A copy of a rule, after it and switched off: it does nothing until somebody has made another rule of it."""
    fields = {name: getattr(rule, name) for name in RULE_FIELDS} | {"enabled": False}
    return add_rule(rule.policy, fields=fields, actor=actor, at=at)


def _rewrite(
    policy: Policy,
    fields: Mapping[str, object],
    rules: Sequence[Mapping[str, Any]],
    *,
    expected_version: int | None,
    actor: User,
    at: datetime,
    words: str,
    **noted: object,
) -> None:
    """Write a policy's fields and all its rules as one change. Rules with an ``id`` have it from the policy's own history."""
    fields = _policy_fields(fields, known={name: getattr(policy, name) for name in POLICY_FIELDS}, rules=rules)
    hold(policy.workspace_id)
    if fields.get("is_default"):
        _demote_default(policy.workspace, but=policy, actor=actor, at=at)
    with _one_of_a_name(fields.get("name", policy.name)):
        _revise(policy, expected_version=expected_version, actor=actor, at=at, **fields)
    # All anew, under the ids they had: for 500 rules that is a quarter of the time of changing them.
    policy.rules.all().delete()
    policy.rules.bulk_create(Rule(pk=rule.get("id"), workspace=policy.workspace, policy=policy, **whole_rule(rule)) for rule in rules)
    _settle_policy("firewall_policy_update", policy, actor=actor, at=at, words=words, **noted)


def _keep_version(policy: Policy, *, actor: User, at: datetime, words: str = "") -> None:
    """Keep what the policy is now, with what makes it another than it was: ``words``, then the differences."""
    kept = snapshot(policy)
    former = policy.workspace.policy_versions.filter(policy_id=policy.pk).first()
    policy_file.refuse_unreadable(kept, before=former.snapshot if former else None)
    differences = history.in_words(history.changes(former.snapshot, kept)) if former and words != "Deleted." else ""
    policy.workspace.policy_versions.create(
        policy_id=policy.pk,
        version=policy.version,
        snapshot=kept,
        summary=f"{words} {differences}".strip(),
        saved_at=at,
        author_id=actor.pk,
        author_label=actor.email,
    )


# --- Settings -------------------------------------------------------------------------------------------------------
@transaction.atomic
def change_settings(workspace: Workspace, *, changes: Mapping[str, object], actor: User, at: datetime) -> Settings:
    """Change some of ``SETTINGS_FIELDS`` and leave the rest."""
    refuse(_settings_problems(changes))
    hold(workspace.pk)
    settings = selectors.settings_of(workspace)
    for name in SETTINGS_FIELDS:
        setattr(settings, name, changes.get(name, getattr(settings, name)))
    settings.save()
    touch_config(workspace)
    payload = {name: getattr(settings, name) for name in SETTINGS_FIELDS}
    audit.record(workspace=workspace, actor=actor, action="firewall_settings_update", target=settings, at=at, payload=payload)
    return settings


def _settings_problems(changes: Mapping[str, object]) -> list[Problem]:
    found = [Problem(name, f"{name} is not available in this version.") for name in changes if name in SETTINGS_TO_COME]
    for name, value in FIXED_SETTINGS.items():
        if name in changes and (type(changes[name]) is not type(value) or changes[name] != value):
            found.append(Problem(name, f"{json.dumps(value)} is what this version can do."))
    if not isinstance(changes.get("observe_mode", True), bool):
        found.append(Problem("observe_mode", "True or false."))
    gap = changes.get("run_gap_seconds", RUN_GAP_SECONDS.start)
    if type(gap) is not int or gap not in RUN_GAP_SECONDS:
        found.append(Problem("run_gap_seconds", f"A whole number of seconds from {RUN_GAP_SECONDS.start} to {RUN_GAP_SECONDS.stop - 1}."))
    return found + _unknown(changes, (*SETTINGS_FIELDS, *FIXED_SETTINGS, *SETTINGS_TO_COME))


def _unknown(fields: Mapping[str, object], names: Sequence[str]) -> list[Problem]:
    return [Problem(name, "There is no such field.") for name in fields if name not in names]


def refuse(found: Sequence[Problem], *, within: str = "") -> None:
    """Raise ``ValidationFailed`` for all of them at once; a rule in a list is named ``rules.3.verdict``, as every nested field is.

    Its message says of the first in which rule and clause it is, counted from 1 as people do. ``within`` is the field that they are all in.
    """
    if not found:
        return
    first, before = found[0], f"{within}." if within else ""
    places = [f"{name} {place + 1}" for name, place in (("rule", first.rule), ("clause", first.clause)) if place is not None]
    raise ValidationFailed(
        f"{', '.join(places).capitalize()}: {first.message}" if places else first.message,
        param=before + first.path,
        errors=[
            {"param": before + problem.path, "message": problem.message}
            | ({} if problem.rule is None else {"rule": problem.rule})
            | ({} if problem.clause is None else {"clause": problem.clause})
            for problem in found
        ],
    )
