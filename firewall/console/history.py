"""What a policy was, and policies made of policies: restored, copied, written to a file and read from one."""

from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from firewall import policy_file, selectors, services
from firewall.api.versions import policy_as_file
from firewall.console.asking import ask_first, openings_by_rewrite
from firewall.console.policies import done, found_policy
from firewall.engine import history
from firewall.forms import ForkForm, ImportForm
from firewall.models import Policy
from workspaces.console_base import ConsoleRequest, page
from workspaces.errors import OrcaError, ValidationFailed, VersionConflict
from workspaces.paging import page_of
from workspaces.params import row_id

#: Of a file, in the question about it: its form has at most 1 MB.
MOST_SENT_AGAIN = 500_000


@dataclass(frozen=True, slots=True)
class Told:
    """One difference, in words: of what, in which field, and its values. ``rule`` and ``field`` are "" where there is none."""

    kind: str
    rule: str
    field: str
    before: str
    after: str


def _told(before: history.Version, after: history.Version) -> list[Told]:
    rules = {rule["id"]: history.rule_name(rule) for version in (before, after) for rule in cast(list, version["rules"])}
    found = []
    for change in history.changes(before, after):
        words = history.both(change.field, change.before, change.after) if change.field else [_value(change, each) for each in (change.before, change.after)]
        found.append(Told(change.kind, rules.get(change.rule_id, ""), history.called(change.field) if change.field else "", *words))
    return found


def _value(change: history.Change, value: object) -> str:
    if value is None:
        return ""
    return f"place {value}" if change.kind == "moved" else history.sentence(cast(dict, value))


@require_GET
@page("firewall.view_policy")
def policy_history(request: ConsoleRequest, pk: str) -> HttpResponse:
    """Every version, newest first; ``from`` and ``to`` are the two that are compared, the newest two unless given."""
    shown = found_policy(request, pk)
    versions = selectors.versions(request.workspace, shown.pk)
    asked = {name: row_id(request.GET[name], param=name) if request.GET.get(name) else None for name in ("from", "to")}
    older, newer = selectors.compared(versions, before=asked["from"], after=asked["to"])
    context = {
        "policy": shown,
        "page": page_of(versions.defer("snapshot"), request.GET.get("cursor")),
        "from": older,
        "to": newer,
        "changes": _told(older.snapshot, newer.snapshot),
    }
    return TemplateResponse(request, "firewall/history.html", context)


@require_POST
@page("firewall.change_policy")
def policy_restore(request: ConsoleRequest, pk: str) -> HttpResponse:
    """``version_to_restore`` becomes the newest; ``version`` is the newest that the page knew. An undo has them in its address."""
    shown = found_policy(request, pk)
    asked_for = {name: request.POST.get(name) or request.GET.get(name, "") for name in ("version_to_restore", "version")}
    wanted, known = (row_id(value, param=name) for name, value in asked_for.items())
    former = selectors.version_of(shown, wanted).snapshot
    fields = {name: former[name] for name in services.POLICY_FIELDS if name in former}
    services.refuse_bad_policy(shown, fields, former["rules"])
    title, found = f"Go back to version {wanted} of {shown.name}?", openings_by_rewrite(shown, fields, former["rules"])
    if asked := ask_first(request, shown, title=title, verb="Restore it", found=found, also=asked_for):
        return asked
    try:
        services.restore_version(shown, version=wanted, expected_version=known, actor=request.user, at=timezone.now())
    except VersionConflict as error:
        messages.error(request, f"{error.message} Nothing is restored. Look at what changed, then restore it again if it is still meant.")
        return redirect(reverse("console:policy_history", args=[shown.pk]) + f"?from={known}&to={error.metadata['current_version']}")
    return done(request, shown, f"{shown.name} is at version {shown.version}, what version {wanted} was. In force now.")


@require_http_methods(["GET", "POST"])
@page("firewall.change_policy")
def policy_fork(request: ConsoleRequest, pk: str) -> HttpResponse:
    shown = found_policy(request, pk)
    form = ForkForm(request.POST or None, initial={"name": f"{shown.name[:59]}-copy"})
    if request.method == "POST" and form.is_valid():
        try:
            made = services.fork_policy(shown, name=form.cleaned_data["name"], actor=request.user, at=timezone.now())
        except OrcaError as error:
            form.refuse(error)
        else:
            messages.success(request, f"{made.name} is made. It judges nothing until a key is bound to it or it is the workspace default.")
            return redirect("console:policy", made.pk)
    return TemplateResponse(request, "firewall/fork.html", {"policy": shown, "form": form}, status=422 if form.errors else 200)


@require_GET
@page("firewall.view_policy")
def policy_export(request: ConsoleRequest, pk: str) -> HttpResponse:
    """The download of a version, of the newest unless ``version`` says which."""
    shown = found_policy(request, pk)
    if not request.GET.get("version"):
        return policy_as_file(shown.name, shown.version, services.snapshot(shown))
    found = selectors.version_of(shown, row_id(request.GET["version"], param="version"))
    return policy_as_file(found.snapshot["name"], found.version, found.snapshot)


@require_http_methods(["GET", "POST"])
@page("firewall.change_policy")
def policy_import(request: ConsoleRequest, pk: str = "") -> HttpResponse:
    """Make a policy of a file, or with ``pk`` replace that one by it. A file that is sent counts more than the text beside it."""
    replaced = found_policy(request, pk) if pk else None
    posted = request.method == "POST"
    form = ImportForm(request.POST if posted else None, request.FILES if posted else None, initial={"version": replaced.version if replaced else None})
    if form.is_valid():
        try:
            answer = _import(request, replaced, form)
        except OrcaError as error:
            form.refuse(error)
        else:
            return answer
    return TemplateResponse(request, "firewall/import.html", {"policy": replaced, "form": form}, status=422 if form.errors else 200)


def _import(request: ConsoleRequest, replaced: Policy | None, form: ImportForm) -> HttpResponse:
    raw = form.raw
    fields, rules = policy_file.read(raw)
    if replaced is None:
        made = services.create_policy(request.workspace, fields=fields, rules=rules, actor=request.user, at=timezone.now(), words="Made of a file.")
        messages.success(request, f"{made.name} is made. It judges nothing until a key is bound to it or it is the workspace default.")
        return redirect("console:policy", made.pk)
    services.refuse_bad_policy(replaced, fields, rules)
    # The question sends its fields again, and the file as one of them; one that is too large for that is chosen again.
    digest, is_large = sha256(raw).hexdigest(), len(raw) > MOST_SENT_AGAIN
    if request.POST.get("confirmed") == "yes" and request.POST.get("digest", digest) != digest:
        raise ValidationFailed("This is another file than the one that was asked about.", param="file")
    title, also = f"Replace {replaced.name} by this file?", {"digest": digest} if is_large else {"text": raw.decode("utf-8-sig")}
    found = openings_by_rewrite(replaced, fields, rules)
    if asked := ask_first(request, replaced, title=title, verb="Replace the policy", found=found, also=also, wants_file=is_large):
        return asked
    expected = form.cleaned_data["version"]
    services.replace_policy(replaced, fields=fields, rules=rules, expected_version=expected, actor=request.user, at=timezone.now())
    return done(request, replaced, f"{replaced.name} is at version {replaced.version}, in force now.")
