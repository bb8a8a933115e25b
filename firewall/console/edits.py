"""A policy's rules, edited without leaving its page."""

from collections.abc import Sequence

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from firewall import services
from firewall.console import conflict
from firewall.console.asking import ask_first, openings
from firewall.console.policies import based_on, done, editor, found_policy, known_version, not_done
from firewall.console.typed import plain, rows_changed, typed_rule
from firewall.console.warned import fix_named, warnings_of
from firewall.models import Policy, Rule, RuleVerdict
from firewall.rule_form import RuleForm
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError, VersionConflict
from workspaces.params import row_id


@require_POST
@page("firewall.change_policy")
def rule_add(request: ConsoleRequest, pk: str) -> HttpResponse:
    policy = found_policy(request, pk)
    if "rows" in request.POST:
        return editor(request, policy, rule_form=rows_changed(request, policy), editing=0)
    form = RuleForm(request.POST)
    if form.is_valid():
        fields, rules = form.fields_of_rule, list(policy.rules.all())
        if asked := _ask(request, policy, rules, [*rules, typed_rule(policy, fields)], title="Let more through?", verb="Add the rule"):
            return asked
        try:
            services.add_rule(policy, fields=fields, expected_version=form.cleaned_data["version"], actor=request.user, at=timezone.now())
        except VersionConflict as error:
            return _put_together(request, pk, None, form, error)
        except OrcaError as error:
            form.refuse(error)
        else:
            return done(request, policy, f"Rule added. {policy.name} is at version {policy.version}, in force now.")
    return editor(request, policy, rule_form=form, editing=0)


@require_POST
@page("firewall.change_policy")
def rule_change(request: ConsoleRequest, pk: str, rule: str) -> HttpResponse:
    policy = found_policy(request, pk)
    own = policy.rules.select_related("policy").filter(pk=row_id(rule)).first()
    if own is None:
        return _of_a_rule_that_is_gone(request, policy, row_id(rule))
    if "rows" in request.POST:
        return editor(request, policy, rule_form=rows_changed(request, policy), editing=own.pk)
    form = RuleForm(request.POST)
    if form.is_valid():
        fields, rules = form.fields_of_rule, list(policy.rules.all())
        after = [typed_rule(policy, fields, over=own) if other.pk == own.pk else other for other in rules]
        if asked := _ask(request, policy, rules, after, title="Let more through?", verb="Loosen the policy"):
            return asked
        try:
            services.change_rule(own, changes=fields, expected_version=form.cleaned_data["version"], actor=request.user, at=timezone.now())
        except VersionConflict as error:
            return _put_together(request, pk, own.pk, form, error)
        except OrcaError as error:
            form.refuse(error)
        else:
            return done(request, own.policy, f"Rule saved. {own.policy.name} is at version {own.policy.version}, in force now.")
    return editor(request, policy, rule_form=form, editing=own.pk)


@require_POST
@page("firewall.change_policy")
def rule_delete(request: ConsoleRequest, pk: str, rule: str) -> HttpResponse:
    policy, own = _found(request, pk, rule)
    rules = list(policy.rules.all())
    words = "The rule is gone for good." if own.verdict == RuleVerdict.DENY else ""
    if asked := _ask(
        request, policy, rules, [other for other in rules if other.pk != own.pk], title=f"Delete {_name(own)}?", verb="Delete the rule", words=words
    ):
        return asked
    try:
        services.delete_rule(own, expected_version=based_on(request, policy), actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return not_done(request, pk, error, f"Deleting {_name(own)}")
    return done(request, own.policy, f"Rule deleted. {own.policy.name} is at version {own.policy.version}, in force now.")


@require_POST
@page("firewall.change_policy")
def rule_switch(request: ConsoleRequest, pk: str, rule: str) -> HttpResponse:
    """``enabled`` is ``on`` or ``off``."""
    policy, own = _found(request, pk, rule)
    enabled, rules = request.POST.get("enabled") == "on", list(policy.rules.all())
    after = [Rule(policy=policy, **plain(each) | ({"enabled": enabled} if each.pk == own.pk else {})) for each in rules]
    verb = "Enable the rule" if enabled else "Disable the rule"
    if asked := _ask(request, policy, rules, after, title=f"{'Enable' if enabled else 'Disable'} {_name(own)}?", verb=verb):
        return asked
    try:
        services.change_rule(own, changes={"enabled": enabled}, expected_version=based_on(request, policy), actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return not_done(request, pk, error, f"{'Enabling' if enabled else 'Disabling'} {_name(own)}")
    return done(request, own.policy, f"Rule {'enabled' if enabled else 'disabled'}. {own.policy.name} is at version {own.policy.version}, in force now.")


@require_POST
@page("firewall.change_policy")
def rule_duplicate(request: ConsoleRequest, pk: str, rule: str) -> HttpResponse:
    """A copy after it, switched off until it is another rule."""
    policy, own = _found(request, pk, rule)
    made = services.duplicate_rule(own, actor=request.user, at=timezone.now())
    return done(request, made.policy, f"Rule copied. The copy is disabled: edit it, then enable it. {policy.name} is at version {made.policy.version}.")


@require_POST
@page("firewall.change_policy")
def rule_fix(request: ConsoleRequest, pk: str, rule: str) -> HttpResponse:
    """What a warning proposes beside a change of fields, once it was asked about: ``fix`` is ``above`` or ``remove``."""
    policy, own = _found(request, pk, rule)
    fix = fix_named((warning for warned, warning in warnings_of(policy) if warned.pk == own.pk), request.POST.get("fix", ""))
    if fix is None or fix.name not in ("above", "remove"):
        return done(request, policy, "There is nothing to mend there any more.", undoes=False)
    others = [other for other in policy.rules.all() if other.pk != own.pk]
    if fix.name == "remove":
        title, verb, words = f"Remove {_name(own)}?", "Remove the rule", "No call reaches it, so none is decided otherwise. The history keeps it."
        after = others
    else:
        place = next(place for place, other in enumerate(others) if other.pk == fix.value)
        title, verb = f"Move {_name(own)} above {_name(others[place])}?", "Move the rule"
        words = (
            "Calls that both match are then decided by it."
            if own.verdict != RuleVerdict.CAP_COST
            else "Calls then meet the cap before anything lets them through."
        )
        after = [*others[:place], own, *others[place:]]
    ranked = [Rule(**plain(each) | {"priority": number}) for number, each in enumerate(after)]
    if asked := _ask(request, policy, [own, *others], ranked, title=title, verb=verb, words=words):
        return asked
    known = based_on(request, policy)
    try:
        if fix.name == "remove":
            services.delete_rule(own, expected_version=known, actor=request.user, at=timezone.now())
        else:
            services.order_rules(policy, rule_ids=[each.pk for each in after], expected_version=known, actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return not_done(request, pk, error, f"{'Removing' if fix.name == 'remove' else 'Moving'} {_name(own)}")
    return done(request, policy, f"Rule {'removed' if fix.name == 'remove' else 'moved'}. It is in force now.")


@require_POST
@page("firewall.change_policy")
def rules_order(request: ConsoleRequest, pk: str) -> HttpResponse:
    """``order`` names every rule, in the new order; ``up`` or ``down`` instead names the one to move by a place."""
    policy = found_policy(request, pk)
    rules = list(policy.rules.all())
    order = _order(request, [rule.pk for rule in rules])
    by_id = {rule.pk: rule for rule in rules}
    if sorted(order) == sorted(by_id):
        after = [Rule(**plain(by_id[rule_id]) | {"priority": place}) for place, rule_id in enumerate(order)]
        if asked := _ask(request, policy, rules, after, title="Let more through by this order?", verb="Keep the new order"):
            return asked
    try:
        services.order_rules(policy, rule_ids=order, expected_version=based_on(request, policy), actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return not_done(request, pk, error, "Moving the rule")
    return done(request, policy, f"Order saved. {policy.name} is at version {policy.version}, in force now.")


def _put_together(request: ConsoleRequest, pk: str, rule_id: int | None, form: RuleForm, error: VersionConflict) -> HttpResponse:
    """The page with a form of what they have and what was typed."""
    policy = found_policy(request, pk)
    met, form, editing = conflict.over_rule(policy, rule_id, form, error)
    return editor(request, policy, rule_form=form, editing=editing, met=met)


def _of_a_rule_that_is_gone(request: ConsoleRequest, policy: Policy, rule_id: int) -> HttpResponse:
    """What was typed into the form of a rule that somebody deleted is not lost: it can be a new rule. Raises ``NotFound`` where there never was one."""
    form, known = RuleForm(request.POST), known_version(request)
    kept = policy.workspace.policy_versions.filter(policy_id=policy.pk, version=known).first() if known is not None else None
    if known is None or kept is None or all(each["id"] != rule_id for each in kept.snapshot["rules"]) or not form.is_valid():
        raise NotFound("There is no such rule.")
    return _put_together(request, str(policy.pk), rule_id, form, services.conflict(policy, known, policy.version))


def _ask(
    request: ConsoleRequest, policy: Policy, before: Sequence[Rule], after: Sequence[Rule], *, title: str, verb: str, words: str = ""
) -> HttpResponse | None:
    found = openings(policy, before, after_policy=policy, after=after)
    return ask_first(request, policy, title=title, verb=verb, found=found, words=words)


def _found(request: ConsoleRequest, pk: str, rule: str) -> tuple[Policy, Rule]:
    policy = found_policy(request, pk)
    own = policy.rules.select_related("policy").filter(pk=row_id(rule)).first()
    if own is None:
        raise NotFound("There is no such rule.")
    return policy, own


def _name(rule: Rule) -> str:
    return f"“{rule.label}”" if rule.label else f"the rule for {rule.tool_name_glob or 'every tool'}"


def _order(request: ConsoleRequest, now: list[int]) -> list[int]:
    for name, by in (("up", -1), ("down", 1)):
        if name in request.POST and (moved := row_id(request.POST[name])) in now:
            place = now.index(moved)
            other = min(max(place + by, 0), len(now) - 1)
            now[place], now[other] = now[other], now[place]
            return now
    return [row_id(each) for each in request.POST.getlist("order")]
