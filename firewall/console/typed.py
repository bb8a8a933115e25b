"""A rule as it is being typed: what it would say, what is wrong with it, and what it would do to the others. Nothing is saved."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from firewall import selectors, services
from firewall.console.policies import found_policy
from firewall.console.warned import fix_named, told
from firewall.console.words import rule_in_words
from firewall.engine import history, remarks, rule_json
from firewall.engine.glob import MAX_GLOB_CHARS, hints, parse
from firewall.engine.remarks import Warning
from firewall.engine.types import Verdict
from firewall.models import Policy, Rule, RuleVerdict, Stage
from firewall.rule_form import RuleForm, read_json, rule_as_json
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import ValidationFailed
from workspaces.params import row_id
from workspaces.permissions import allowed

MOST_SEEN_SHOWN = 6
MOST_PATHS_SHOWN = 8
MOST_EFFECTS_SHOWN = 5
#: As the engine's own name for a rule that is not saved.
NEW_RULE = 2**62
#: It has no number that a reason could name.
UNNAMED = "the unsaved rule"


def typed_rule(policy: Policy, fields: Mapping[str, Any], *, over: Rule | None = None) -> Rule:
    """The rule as it would be, not saved; ``over`` keeps what its form does not show. A new one comes after all others of its priority."""
    return Rule(policy=policy, **(plain(over) if over else {"id": NEW_RULE}) | rule_json.stored(fields))


def plain(rule: Rule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in ("id", *services.RULE_FIELDS)}


def with_typed(policy: Policy, rules: Sequence[Rule], fields: Mapping[str, Any], own: int) -> tuple[Rule, list[Rule]]:
    """The rule that is in its form, and all rules with it: ``own`` names the one that it replaces, 0 a new one."""
    over = next((rule for rule in rules if rule.pk == own), None)
    made = typed_rule(policy, fields, over=over)
    return made, [*(rule for rule in rules if rule is not over), made]


@require_POST
@page("firewall.view_policy")
def rule_words(request: ConsoleRequest, pk: str) -> HttpResponse:
    """What a rule would say, as it is typed: its meaning in words, remarks on it, what it would do to others, and the tools seen here that it names."""
    policy = found_policy(request, pk)
    form = RuleForm(request.POST)
    form.is_valid()
    return TemplateResponse(request, "firewall/_rule_words.html", _told(request, policy, form) | {"follows": True}, headers={"HX-Trigger": "rule-told"})


@require_POST
@page("firewall.change_policy")
def rule_json_typed(request: ConsoleRequest, pk: str) -> HttpResponse:
    """The form's fields as the JSON beside them says, and the words; or what is wrong with that JSON."""
    policy = found_policy(request, pk)
    raw = request.POST.get("raw", "")
    fields, wrong = read_json(raw)
    if fields is None:
        return TemplateResponse(
            request,
            "firewall/_rule_json_error.html",
            {"wrong": wrong, "is_wrong": True, "typed": True},
            headers={"HX-Retarget": "#rule-raw-error", "HX-Reswap": "outerHTML"},
        )
    version = request.POST.get("version", "")
    form = RuleForm.of(fields, version=int(version) if version.isascii() and version.isdigit() and len(version) < 10 else policy.version)
    form.fields["label"].widget.attrs.pop("autofocus")
    form.initial["raw_was"] = raw
    sent = RuleForm(request.POST)
    sent.is_valid()
    told = _told(request, policy, sent)
    return TemplateResponse(request, "firewall/_rule_fields_typed.html", told | {"rule_form": form}, headers={"HX-Trigger": "rule-typed"})


def _told(request: ConsoleRequest, policy: Policy, form: RuleForm) -> dict[str, Any]:
    found = form.fields_of_rule
    glob, stage, verdict = (str(form[name].data or "").strip() for name in ("tool_name_glob", "stage", "verdict"))
    if verdict not in RuleVerdict.values or stage not in Stage.values or "\x00" in glob:
        raise ValidationFailed("There is no such rule.")
    fields = found | {"tool_name_glob": glob, "stage": stage, "verdict": verdict}
    named, wide = parse(glob), not Verdict(verdict).permits
    seen = [tool for tool in selectors.tools_seen(request.workspace) if named.matches(tool, wide=wide)] if len(glob) <= MAX_GLOB_CHARS else []
    # What calls were made with is for those who may read events.
    may_read = allowed(request.membership, "firewall.view_events")
    paths = selectors.paths_seen(request.workspace, seen) if may_read else []
    taken = {row.path.strip() for row in form.clauses}
    own, effects = _remarks(request, policy, form)
    saved = policy.rules.filter(pk=edited_rule(request)).first()
    return {
        "is_new": saved is None,
        "changed": _changed(plain(saved), form) if saved and form.is_valid() else [],
        "is_wrong": not form.is_valid(),
        "policy": policy,
        "raw": rule_as_json(fields),
        "paths": paths,
        "free_paths": [each for each in paths if each[0] not in taken][:MOST_PATHS_SHOWN],
        "is_offered_too": not stage and bool(fields["args_match"]),
        "notes": [hint.text for hint in hints(glob, Verdict(verdict)) if hint.level == "info"],
        "remarks": own if form.is_valid() else [hint for hint in hints(glob, Verdict(verdict)) if hint.level != "info"],
        "effects": effects,
        "words": rule_in_words(fields),
        "seen": seen[:MOST_SEEN_SHOWN],
        "seen_more": max(len(seen) - MOST_SEEN_SHOWN, 0),
    }


def edited_rule(request: ConsoleRequest) -> int:
    """The rule whose form is open; 0 a new one."""
    number = request.POST.get("edit", "0")
    return 0 if number == "0" else row_id(number, param="edit")


def _changed(saved: Mapping[str, Any], form: RuleForm) -> list[str]:
    """Fields that are another than saved, as people call them."""
    typed = rule_json.stored(form.fields_of_rule)
    return [history.called(name) for name in services.RULE_FIELDS if name in typed and typed[name] != saved[name]]


def rows_changed(request: ConsoleRequest, policy: Policy) -> RuleForm:
    """The form that is typed after a press of a button in it: a row more or less, or a fix of what is remarked on it."""
    wanted = request.POST["rows"]
    if not wanted.startswith("fix:"):
        return RuleForm.with_rows_changed(request.POST)
    form = RuleForm(request.POST)
    name, _, shown = wanted.removeprefix("fix:").partition(":")
    fix = fix_named(_remarks(request, policy, form)[0], name, shown) if name in services.RULE_FIELDS else None
    if fix is None:
        return RuleForm.with_rows_changed(request.POST)
    fields = services.whole_rule(form.fields_of_rule) | {name: fix.value}
    return RuleForm.of(fields, version=form.cleaned_data["version"] or policy.version, is_unsaved=True)


def _remarks(request: ConsoleRequest, policy: Policy, form: RuleForm) -> tuple[list[Warning], list[str]]:
    """What the engine remarks on the rule as typed, and on others because of it."""
    if not form.is_valid():
        return [], []
    rules = list(policy.rules.all())
    made, after = with_typed(policy, rules, form.fields_of_rule, edited_rule(request))
    made.label = made.label or UNNAMED
    known = {(each.rule_id, each.code) for each in remarks.warnings(selectors.compiled(policy, rules))}
    found = told(request.workspace, selectors.compiled(policy, after))
    names = {rule.pk: rule.label or rule.tool_name_glob or "every tool" for rule in after}
    others = [f"{names[each.rule_id]}: {each.text}" for each in found if each.rule_id != made.pk and (each.rule_id, each.code) not in known]
    return [each for each in found if each.rule_id == made.pk], others[:MOST_EFFECTS_SHOWN]
