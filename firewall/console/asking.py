"""Ask before a change that loosens: what would get through, on real calls of the last day, before anything is saved."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count
from django.template.response import TemplateResponse
from django.utils import timezone

from firewall import selectors, services
from firewall.engine.decide import resolve
from firewall.engine.loosening import UNNAMED, let_through
from firewall.models import Policy, Rule
from workspaces.console_base import ConsoleRequest
from workspaces.ids import lowest_at

#: Tools of the last day that are tried by name.
MOST_SEEN = 200


@dataclass(frozen=True, slots=True)
class Opening:
    """One glob or tool that would get through. ``denied`` counts the last day's denials that would not be; None for a glob."""

    shown: str
    denied: int | None


def openings(policy: Policy, before: Sequence[Rule], *, after_policy: Policy | None, after: Sequence[Rule]) -> list[Opening]:
    """What a change of a policy would let through; nothing while the policy judges no call.

    ``after_policy`` None: the policy would not judge any more. Then, or while it is disabled, the workspace default does.
    """
    if not policy.is_default and not policy.api_keys.exists():
        return []
    fallback = _default(policy)
    return _compare(policy, resolve(selectors.compiled(policy, before), fallback), resolve(after_policy and selectors.compiled(after_policy, after), fallback))


def openings_by_default(policy: Policy) -> list[Opening]:
    """What would get through if this policy became the workspace default."""
    former = policy.workspace.policies.filter(is_default=True, enabled=True).exclude(pk=policy.pk).first()
    if former is None:
        return []
    after = resolve(selectors.compiled(policy, policy.rules.all()), None)
    return _compare(former, selectors.compiled(former, former.rules.all()), after)


def openings_by_rewrite(policy: Policy, fields: Mapping[str, object], rules: Sequence[Mapping[str, object]]) -> list[Opening]:
    """What would get through if these fields and rules, free of problems, took the place of the policy's own."""
    changed = copy(policy)
    for name, value in fields.items():
        setattr(changed, name, value)
    wanted = sorted(map(services.whole_rule, rules), key=lambda rule: rule["priority"])
    after = [Rule(pk=place, policy=policy, **rule) for place, rule in enumerate(wanted, start=1)]
    steps_back = policy.is_default and not changed.is_default
    found = openings(policy, list(policy.rules.all()), after_policy=None if steps_back else changed, after=after)
    former = policy.workspace.policies.filter(is_default=True, enabled=True).exclude(pk=policy.pk).first() if changed.is_default else None
    if former is None:
        return found
    promoted = _compare(former, selectors.compiled(former, former.rules.all()), resolve(selectors.compiled(changed, after), None))
    return found + [each for each in promoted if each not in found]


def _default(policy: Policy):
    other = policy.workspace.policies.filter(is_default=True, enabled=True).exclude(pk=policy.pk).first()
    return other and selectors.compiled(other, other.rules.all())


def _compare(judging: Policy, before, after) -> list[Opening]:
    since = lowest_at(timezone.now() - timedelta(days=1))
    denied = judging.workspace.events.filter(verdict="deny", pk__gte=since, policy_id=judging.pk, tool_name__isnull=False)
    counts = dict(denied.values_list("tool_name").order_by().annotate(count=Count("*")).order_by("-count")[:MOST_SEEN])
    through = let_through(before, after, seen=counts)
    return [Opening("any tool that no rule names" if shown == UNNAMED else shown, counts.get(shown)) for shown in through]


def ask_first(
    request: ConsoleRequest,
    policy: Policy | None,
    *,
    title: str,
    verb: str,
    found: Sequence[Opening],
    words: str = "",
    also: Mapping[str, str] = {},
    wants_file: bool = False,
) -> TemplateResponse | None:
    """The question, or None when there is nothing to ask or it was answered. The form in it sends all fields again, and ``also`` these.

    ``wants_file``: a file that was sent has to be chosen again.

    An htmx request gets the question as a dialog over its page, any other as a page of its own.
    """
    if request.POST.get("confirmed") == "yes" or not (found or words):
        return None
    sent = [(name, value) for name, values in request.POST.lists() if name not in ("csrfmiddlewaretoken", "confirmed", *also) for value in values]
    sent += also.items()
    context = {"policy": policy, "title": title, "verb": verb, "found": found, "words": words, "sent": sent, "action": request.path, "wants_file": wants_file}
    if not request.htmx:
        return TemplateResponse(request, "firewall/ask.html", context)
    return TemplateResponse(request, "firewall/_ask.html", context, headers={"HX-Retarget": "#ask", "HX-Reswap": "innerHTML"})
