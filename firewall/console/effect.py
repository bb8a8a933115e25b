"""What a rule, or a policy's own fields, as they are typed would have done to the newest calls. Nothing is saved."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from firewall.console.policies import found_policy
from firewall.console.typed import edited_rule, with_typed
from firewall.engine.preview import MOST_EXAMPLES, Preview
from firewall.engine.types import Verdict
from firewall.forms import PolicyForm
from firewall.models import Rule, RuleVerdict
from firewall.rule_form import RuleForm
from firewall.selectors.preview import DAYS, Previewed, previewed
from workspaces.console_base import ConsoleRequest, page

#: What a rule does to a call, by its verdict; a cap stops some and leaves the others to the rules after it.
DONE = {
    RuleVerdict.ALLOW: ("let through", Verdict.ALLOW),
    RuleVerdict.AUDIT: ("marked", Verdict.AUDIT),
    RuleVerdict.DENY: ("denied", Verdict.DENY),
    RuleVerdict.SANITIZE: ("cleaned", Verdict.SANITIZE),
    RuleVerdict.PENDING_APPROVAL: ("held", Verdict.PENDING_APPROVAL),
    RuleVerdict.CAP_COST: ("stopped", Verdict.DENY),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What is said of a rule: that it would have ``done`` so to ``count`` calls, ``more`` than the saved rule does (None: there is none to compare with).

    ``idle`` says instead why it decides no call, whatever is made.
    """

    found: Previewed
    done: str = ""
    count: int = 0
    more: int | None = None
    idle: str = ""

    @property
    def fewer(self) -> int:
        return -(self.more or 0)


@require_POST
@page("firewall.test_policy")
def rule_effect(request: ConsoleRequest, pk: str) -> HttpResponse:
    """A line beside a rule in its form, and what saving it would change; with ``calls`` in the address a dialog of those calls."""
    policy = found_policy(request, pk)
    form = RuleForm(request.POST)
    if not form.is_valid():
        return TemplateResponse(request, "firewall/_rule_effect.html", {"effect": None, "policy": policy})
    rules = list(policy.rules.all())
    made, after = with_typed(policy, rules, form.fields_of_rule, edited_rule(request))
    found = previewed(policy, policy, after, saved_rules=rules, rule_id=made.pk, at=timezone.now())
    if "calls" in request.GET:
        return TemplateResponse(request, "firewall/_effect_calls.html", {"calls": found.counts.examples, "most": MOST_EXAMPLES})
    effect = _effect(found, made, next((rule for rule in rules if rule.pk == made.pk), None))
    context = {"effect": effect, "policy": policy, "days": DAYS, "changes": changes_in_words(found.counts)}
    return TemplateResponse(request, "firewall/_rule_effect.html", context)


@require_POST
@page("firewall.test_policy")
def policy_effect(request: ConsoleRequest, pk: str) -> HttpResponse:
    """What saving the policy's own fields would change."""
    policy = found_policy(request, pk)
    form = PolicyForm(request.POST)
    if not form.is_valid():
        return TemplateResponse(request, "firewall/_changes.html", {"policy": policy, "changes": ""})
    edited = copy(policy)
    for name, value in form.changes.items():
        setattr(edited, name, value)
    rules = list(policy.rules.all())
    found = previewed(policy, edited, rules, saved_rules=rules, rule_id=None, at=timezone.now())
    changes = changes_in_words(found.counts) if found.since else ""
    return TemplateResponse(request, "firewall/_changes.html", {"policy": policy, "changes": changes})


def _effect(found: Previewed, made: Rule, saved: Rule | None) -> Effect:
    if not made.enabled:
        return Effect(found, idle="The rule is disabled: it decides no call.")
    if made.sequence and made.sequence.get("enforce") != "inline":
        return Effect(found, idle="A sequence that is reported afterwards decides no call.")
    done, verdict = DONE[RuleVerdict(made.verdict)]
    count = found.counts.own[verdict]
    more = count - found.counts.own_before[verdict] if saved is not None and saved.verdict == made.verdict else None
    return Effect(found, done, count, more)


def changes_in_words(counts: Preview) -> str:
    """``Stricter: 6 more calls of these would be denied.``"""
    changes: Mapping[str, int] = counts.changes
    denied, held, allowed, other = (changes.get(kind, 0) for kind in ("newly_denied", "newly_held", "newly_allowed", "other"))
    if not (denied or held or allowed or other):
        return "No recorded call would be decided otherwise."
    said = [
        f"{_calls(number)} {words}"
        for number, words in (
            (denied, "would be denied that" + (" is not now" if denied == 1 else " are not now")),
            (held, "would be held"),
            (allowed, "would go on that" + (" is stopped now" if allowed == 1 else " are stopped now")),
            (other, "would be decided otherwise"),
        )
        if number
    ]
    head = "Stricter and looser: " if (denied or held) and allowed else "Stricter: " if denied or held else "Looser: " if allowed else ""
    return f"{head}{', '.join(said)}."


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"
