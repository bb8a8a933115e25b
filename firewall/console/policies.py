"""The list of policies, and a policy with all that belongs to it."""

from copy import copy
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from firewall import selectors, services
from firewall.console import conflict
from firewall.console.asking import ask_first, openings, openings_by_default
from firewall.console.conflict import Conflict
from firewall.console.warned import Summary, first_told, proposal, summaries, warnings_of
from firewall.console.words import match_in_words
from firewall.engine.remarks import Warning
from firewall.engine.types import Verdict
from firewall.engine.validate import MAX_PRIORITY
from firewall.forms import PolicyForm
from firewall.models import DefaultVerdict, Policy, Rule
from firewall.rule_form import RuleForm
from firewall.selectors.matches import DEFAULT, Matches, matches
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import NotFound, OrcaError, PermissionRefused, PolicyAttached, ValidationFailed, VersionConflict
from workspaces.paging import page_of
from workspaces.params import row_id
from workspaces.permissions import allowed

#: What is said after a switch was set, by its name and new value.
SAID = {
    ("enabled", True): "{name} judges calls again.",
    ("enabled", False): "{name} is disabled. Its keys get the workspace default.",
    ("shadow_mode", True): "{name} watches and blocks nothing.",
    ("shadow_mode", False): "{name} blocks from now on.",
    ("is_default", True): "{name} is the workspace default.",
    ("is_default", False): "{name} is not the workspace default any more.",
}
ASKED = {
    "enabled": ("Disable {name}?", "Disable the policy"),
    "shadow_mode": ("Stop blocking with {name}?", "Turn shadow mode on"),
    "is_default": ("Take {name} away as the workspace default?", "Take it away"),
    "default_verdict": ("Let more through with {name}?", "Loosen the policy"),
}
#: Of what a save changed.
MOST_SAID_CHARS = 240
#: What is wrong in a word or two, by the code of a warning.
IN_A_WORD = {
    "never_reached": "never reached",
    "cap_shadowed": "behind an allow",
    "cap_inert": "does nothing",
    "loose_suffix": "wide",
    "loose_infix": "wide",
} | dict.fromkeys(("never_matches", "literal_looks_like_glob", "invalid_characters"), "matches nothing")


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """A policy in the list. ``denied_per_day`` is empty where it denied nothing; ``would_block`` is that of a policy in shadow.

    ``warnings`` None: it was not looked through yet.
    """

    policy: Policy
    warnings: Summary | None
    denied_per_day: list[int]
    would_block: int

    @property
    def denied(self) -> int:
        return sum(self.denied_per_day)


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule in the editor, with what it matches in words, what may be wrong with it and how often it decided; None: never."""

    rule: Rule
    words: SafeString
    warnings: list[Warning]
    matches: Matches | None

    @property
    def in_a_word(self) -> str:
        """The first warning; a step that is a literal leaves the rest of its rule as it is."""
        first = self.warnings[0]
        return "look again" if first.text.startswith("Its step") else IN_A_WORD[first.code]


@require_GET
@page("firewall.view_policy")
def policies(request: ConsoleRequest) -> HttpResponse:
    q, state = request.GET.get("q", "").strip()[:64].replace("\x00", ""), request.GET.get("state", "")
    found = selectors.find_policies(request.workspace, q=q, state=state)
    listed = page_of(found, request.GET.get("cursor"), by="name")
    warnings = summaries(request.workspace, listed.rows)
    denied = selectors.denied_per_day(request.workspace, [each.pk for each in listed.rows], at=timezone.now())
    shadowed = [each.pk for each in listed.rows if each.shadow_mode and each.enabled]
    blocked = selectors.would_have_blocked(request.workspace, shadowed, days=selectors.DAYS_SHOWN, at=timezone.now())
    enabled = [(each, warnings[each.pk]) for each in listed.rows if each.enabled and each.pk in warnings]
    warned = first_told(request.workspace, enabled)
    context = {
        "lines": [PolicyLine(each, warnings.get(each.pk), denied.get(each.pk, []), blocked.get(each.pk, 0)) for each in listed.rows],
        "page": listed,
        "count": found.count() if listed.newer or listed.older else len(listed.rows),
        "q": q,
        "state": state,
        "states": list(selectors.STATES),
        "days": selectors.DAYS_SHOWN,
        "most_counted": selectors.MOST_COUNTED,
        "warned": warned,
        "warned_more": sum(summary.count for _, summary in enabled) - len(warned),
        "not_looked_at": len(listed.rows) - len(warnings),
    }
    return TemplateResponse(request, "firewall/policies.html", context)


@require_http_methods(["GET", "POST"])
@page("firewall.change_policy")
def policy_new(request: ConsoleRequest) -> HttpResponse:
    form = PolicyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            policy = services.create_policy(request.workspace, fields=form.changes, actor=request.user, at=timezone.now())
        except OrcaError as error:
            form.refuse(error)
        else:
            messages.success(request, f"{policy.name} is made. It judges nothing until a key is bound to it or it is the workspace default.")
            return redirect("console:policy", policy.pk)
    return TemplateResponse(request, "firewall/policy_new.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@page("firewall.view_policy")
def policy(request: ConsoleRequest, pk: str) -> HttpResponse:
    """The editor. A POST saves the policy's own fields; its rules have addresses of their own."""
    shown = found_policy(request, pk)
    if request.method == "GET":
        return editor(request, shown)
    if not allowed(request.membership, "firewall.change_policy"):
        raise PermissionRefused("Changing a policy needs the role Developer or above.")
    form = PolicyForm(request.POST)
    if form.is_valid():
        if asked := _ask_about(request, shown, form.changes):
            return asked
        try:
            services.change_policy(shown, changes=form.changes, expected_version=form.cleaned_data["version"], actor=request.user, at=timezone.now())
        except VersionConflict as error:
            now = found_policy(request, pk)
            met, form = conflict.over_policy(now, form, error)
            return editor(request, now, form=form, met=met)
        except OrcaError as error:
            form.refuse(error)
        else:
            return done(request, shown, f"Saved. {shown.name} is at version {shown.version}, in force now.")
    return editor(request, shown, form=form)


@require_POST
@page("firewall.change_policy")
def policy_set(request: ConsoleRequest, pk: str) -> HttpResponse:
    """One switch: ``enabled``, ``shadow_mode`` or ``is_default``, each ``on`` or ``off``; or ``default_verdict``."""
    shown = found_policy(request, pk)
    changes: dict[str, object] = {name: request.POST[name] == "on" for name in ("enabled", "shadow_mode", "is_default") if name in request.POST}
    if "default_verdict" in request.POST:
        changes["default_verdict"] = request.POST["default_verdict"]
    if len(changes) != 1:
        raise ValidationFailed("Name one switch.")
    if asked := _ask_about(request, shown, changes):
        return asked
    try:
        services.change_policy(shown, changes=changes, expected_version=known_version(request), actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return not_done(request, pk, error, "What you asked for")
    words = SAID.get(next((name, value is True) for name, value in changes.items()), "{name} is saved, and in force now.").format(name=shown.name)
    # The default that it took the place of would not come back with it.
    return done(request, shown, words, undoes="is_default" not in changes)


@require_POST
@page("firewall.change_policy")
def policy_delete(request: ConsoleRequest, pk: str) -> HttpResponse:
    shown = found_policy(request, pk)
    found = openings(shown, list(shown.rules.all()), after_policy=None, after=[])
    if asked := ask_first(
        request, shown, title=f"Delete {shown.name}?", verb="Delete the policy", found=found, words="For good, with its rules. Events keep naming it."
    ):
        return asked
    try:
        services.delete_policy(shown, expected_version=known_version(request), actor=request.user, at=timezone.now())
    except VersionConflict as error:
        return not_done(request, pk, error, f"Deleting {shown.name}")
    except PolicyAttached as error:
        messages.error(request, error.message)
        return redirect("console:policy", shown.pk)
    messages.success(request, f"{shown.name} is deleted.")
    return redirect("console:policies")


def _ask_about(request: ConsoleRequest, shown: Policy, changes: dict) -> HttpResponse | None:
    """The question a change of the policy's own fields raises, if any."""
    if changes.get("default_verdict", DefaultVerdict.DENY) not in DefaultVerdict.values:
        raise ValidationFailed("There is no such verdict.", param="default_verdict")
    if changes.get("is_default"):
        found = openings_by_default(shown)
        return ask_first(request, shown, title=f"Make {shown.name} the workspace default?", verb="Make it the default", found=found)
    changed = copy(shown)
    for name, value in changes.items():
        setattr(changed, name, value)
    rules = list(shown.rules.all())
    found = openings(shown, rules, after_policy=None if changes.get("is_default") is False else changed, after=rules)
    title, verb = next((ASKED[name] for name in changes if name in ASKED and getattr(shown, name) != changes[name]), ("Change {name}?", "Save"))
    return ask_first(request, shown, title=title.format(name=shown.name), verb=verb, found=found)


# --- The editor -------------------------------------------------------------------------------------------------------
def found_policy(request: ConsoleRequest, pk: str) -> Policy:
    shown = selectors.policies(request.workspace).filter(pk=row_id(pk)).first()
    if shown is None:
        raise NotFound("There is no such policy.")
    return shown


def editor(
    request: ConsoleRequest,
    shown: Policy,
    *,
    form: PolicyForm | None = None,
    rule_form: RuleForm | None = None,
    editing: int | None = None,
    said: str = "",
    undo_url: str = "",
    met: Conflict | None = None,
) -> HttpResponse:
    """The policy's page, or its changing part for htmx. ``editing`` is the rule whose form is open, 0 a new one; ``met`` what stood in the way."""
    # What else is done on the page leaves the form of a rule open; scripts say which, and fill in again what was typed.
    wanted = request.POST.get("edit") or request.GET.get("edit", "")
    if editing is None and wanted.isascii() and wanted.isdigit() and len(wanted) < 20 and allowed(request.membership, "firewall.change_policy"):
        editing = int(wanted)
    rules = list(shown.rules.all())
    said_of: dict[int, list[Warning]] = {rule.pk: [] for rule in rules}
    for rule, warning in warnings_of(shown):
        said_of[rule.pk].append(warning)
    edited = next((rule for rule in rules if rule.pk == editing), None)
    proposed = proposal(edited, said_of[edited.pk], request.GET.get("fix", "")) if edited and rule_form is None else None
    if proposed:
        rule_form = RuleForm.of(proposed.fields, version=shown.version, is_unsaved=True)
    if rule_form is None and editing is not None:
        rule_form = RuleForm.over(edited) if edited else RuleForm.of(_blank(next_priority(rules)), version=shown.version)
    counted = matches(shown, at=timezone.now())
    bad = bool((form and form.errors) or (rule_form and rule_form.errors))
    context = {
        "policy": shown,
        "lines": [RuleLine(rule, match_in_words(vars(rule)), said_of[rule.pk], counted.get(rule.pk)) for rule in rules],
        "by_default": counted.get(DEFAULT),
        "form": form or PolicyForm.over(shown),
        "rule_form": rule_form,
        "proposed": proposed,
        "editing": editing if rule_form else None,
        "conflict": met,
        "keys": list(shown.api_keys.order_by("name")[:50]),
        "said": said,
        "undo_url": undo_url,
        "would_block": selectors.would_have_blocked(request.workspace, [shown.pk], days=7, at=timezone.now())[shown.pk] if shown.shadow_mode else 0,
    }
    is_part = request.htmx and not request.htmx.history_restore_request
    # To htmx every answer that it should show is 422.
    status = 409 if met and not is_part else 422 if met or bad else 200
    return TemplateResponse(request, "firewall/_editor.html" if is_part else "firewall/policy.html", context, status=status)


def done(request: ConsoleRequest, shown: Policy, words: str, *, undoes: bool = True) -> HttpResponse:
    """After a change: the page again, with what it changed and its undo. Without htmx by a redirect, so that reloading does not send it twice."""
    undo_url = ""
    if undoes and shown.version > 1:
        undo_url = reverse("console:policy_restore", args=[shown.pk]) + f"?version_to_restore={shown.version - 1}&version={shown.version}"
        kept = request.workspace.policy_versions.filter(policy_id=shown.pk, version=shown.version).values_list("summary", flat=True).first()
        words = Truncator(f"{words} {kept or ''}".strip()).chars(MOST_SAID_CHARS)
    if request.htmx:
        return editor(request, found_policy(request, str(shown.pk)), said=words, undo_url=undo_url)
    messages.success(request, words, extra_tags=undo_url)
    return redirect("console:policy", shown.pk)


def not_done(request: ConsoleRequest, pk: str, error: VersionConflict, what: str) -> HttpResponse:
    """The page with what somebody else saved, in the way of ``what``."""
    return editor(request, found_policy(request, pk), met=Conflict.of(error, undone=what))


def known_version(request: ConsoleRequest) -> int | None:
    """The version of the policy that the page had."""
    return row_id(request.POST["version"], param="version") if request.POST.get("version") else None


def based_on(request: ConsoleRequest, policy: Policy) -> int | None:
    """The version that a single press is based on. Presses follow one another faster than the page is renewed: one's own saves are known."""
    known = known_version(request)
    if known is not None and not policy.workspace.policy_versions.filter(policy_id=policy.pk, version__gt=known).exclude(author_id=request.user.pk).exists():
        return policy.version
    return known


def _blank(priority: int) -> dict:
    """The fields of a rule that is begun: it stops, so that nothing is let through before it is meant."""
    return services.BLANK_RULE | {"verdict": Verdict.DENY.value, "priority": priority}


def next_priority(rules: list[Rule]) -> int:
    last = max((rule.priority for rule in rules), default=0)
    return min((last // services.PRIORITY_STEP + 1) * services.PRIORITY_STEP, MAX_PRIORITY)
