"""Changes of holds' settings: lifetimes, four eyes, who decides, the webhook with its secrets, and who is written to.

A secret and a chat's address are sealed when they come in and never leave by an answer, an audit entry or a log line.
"""

import base64
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from approvals import addressees, outbox, selectors
from approvals.engine import signing
from approvals.models import ReviewPlan, Settings, WebhookEndpoint
from workspaces import audit, errors, net, vault
from workspaces.models import User, Workspace
from workspaces.permissions import Role
from workspaces.selectors import hold

#: What is stored as it is given, with the range of the numbers.
TTL_SECONDS, USE_TTL_SECONDS = range(60, 30 * 86_400 + 1), range(10, 86_400 + 1)
#: How long the secret before stays valid, unless told otherwise.
OVERLAP_SECONDS, MAX_OVERLAP_SECONDS = 86_400, 7 * 86_400
MAX_EMAILS, MAX_PLANS, MAX_REVIEWERS, MAX_QUORUM = 20, 500, 100, 10
MAX_URL = 512

#: The settings by their names in the API; those of ``GUARDED`` are for Admins.
FIELDS = (
    *("approval_ttl_seconds", "approval_use_ttl_seconds", "four_eyes", "approval_reviews", "approval_webhook_url", "approval_webhook_secret"),
    *("approval_webhook_secret_overlap_seconds", "approval_notify_reviewers", "approval_notify_emails", "approval_slack_url"),
)
GUARDED = frozenset(FIELDS) - {"approval_ttl_seconds", "approval_use_ttl_seconds"}


@transaction.atomic
def change(workspace: Workspace, *, changes: Mapping[str, Any], actor: User, at: datetime) -> None:
    """Change some of ``FIELDS`` and leave the rest. Raises ``ValidationFailed`` for all that is wrong, or ``AddressRefused``.

    Addresses are ``""`` to take them away, and so is the secret. A new secret leaves the one before it valid for a while.
    """
    _refuse(changes)
    # Lookups take their time: nobody waits for them under the lock.
    urls = {name: _vetted(changes[name], name) for name in ("approval_webhook_url", "approval_slack_url") if name in changes}
    hold(workspace.pk)
    noted: dict[str, object] = {}
    _change_settings(workspace, changes, urls, noted)
    _change_endpoint(workspace, changes, urls, noted, actor=actor, at=at)
    if "approval_reviews" in changes:
        _set_plans(workspace, changes["approval_reviews"])
        noted["approval_reviews"] = changes["approval_reviews"]
    if noted:
        target = Settings.objects.get_or_create(workspace=workspace)[0]
        audit.record(workspace=workspace, actor=actor, action="firewall_settings_update", target=target, at=at, payload=noted)


def rotate_secret(workspace: Workspace, *, overlap_seconds: int, actor: User, at: datetime) -> str:
    """Make a new secret and give it, this once. The one before stays valid for the overlap."""
    made = new_secret()
    change(workspace, changes={"approval_webhook_secret": made, "approval_webhook_secret_overlap_seconds": overlap_seconds}, actor=actor, at=at)
    return made


@transaction.atomic
def end_overlap(workspace: Workspace, *, actor: User, at: datetime) -> None:
    """The secret before the present one is valid no more."""
    hold(workspace.pk)
    endpoint = addressees.endpoint_of(workspace)
    if endpoint.former_secret_sealed is None:
        return
    endpoint.former_secret_sealed = endpoint.former_secret_until = endpoint.former_secret_set_by = None
    endpoint.save()
    audit.record(workspace=workspace, actor=actor, action="approval_webhook_secret_retire", target=endpoint, at=at)


@transaction.atomic
def resume(workspace: Workspace, *, actor: User, at: datetime) -> None:
    """Let a paused webhook go on; what waited is due at once."""
    hold(workspace.pk)
    if not addressees.endpoints(workspace).exclude(paused_at=None).update(paused_at=None, failing_since=None):
        raise errors.Conflict("The webhook is not paused.")
    workspace.deliveries.filter(state="pending", channel="webhook", due_at__gt=at).update(due_at=at)
    audit.record(workspace=workspace, actor=actor, action="approval_webhook_resume", target=addressees.endpoint_of(workspace), at=at)
    outbox.hint()


def new_secret() -> str:
    """A secret as Standard Webhooks writes them."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


# --- Storing --------------------------------------------------------------------------------------------------------
def _change_settings(workspace: Workspace, changes: Mapping[str, Any], urls: Mapping[str, str], noted: dict[str, object]) -> None:
    settings = selectors.settings_of(workspace)
    plain = {
        "approval_ttl_seconds": "approval_ttl_seconds",
        "approval_use_ttl_seconds": "approval_use_ttl_seconds",
        "four_eyes": "four_eyes",
        "approval_notify_reviewers": "notify_reviewers",
        "approval_notify_emails": "notify_emails",
    }
    for name in plain.keys() & changes.keys():
        if getattr(settings, plain[name]) != changes[name]:
            noted[name] = {"from": getattr(settings, plain[name]), "to": changes[name]}
            setattr(settings, plain[name], changes[name])
    if "approval_slack_url" in urls:
        url = urls["approval_slack_url"]
        settings.slack_url_sealed = vault.seal(url, workspace_id=workspace.pk, purpose=addressees.SLACK_SEAL) if url else None
        noted["approval_slack_url"] = "replaced" if url else "removed"
    if noted:
        settings.save()


def _change_endpoint(workspace: Workspace, changes: Mapping[str, Any], urls: Mapping[str, str], noted: dict[str, object], *, actor: User, at: datetime) -> None:
    endpoint = addressees.endpoint_of(workspace)
    before = len(noted)
    url = urls.get("approval_webhook_url", endpoint.url)
    if url != endpoint.url:
        noted["approval_webhook_url"] = {"from": endpoint.url, "to": url}
        endpoint.url, endpoint.paused_at, endpoint.failing_since = url, None, None
        if not url:
            outbox.stop_webhook(workspace, at=at)
    if "approval_webhook_secret" in changes and _set_secret(endpoint, changes["approval_webhook_secret"] or "", changes, actor=actor, at=at):
        noted["approval_webhook_secret"] = "replaced" if endpoint.secret_sealed else "removed"
    if len(noted) > before:
        endpoint.save()


def _set_secret(endpoint: WebhookEndpoint, secret: str, changes: Mapping[str, Any], *, actor: User, at: datetime) -> bool:
    """Whether anything changed: the same secret again is no rotation."""
    try:
        present = addressees.secrets_of(endpoint, at)
    except vault.SealBroken:
        present = []
    if present[:1] == [secret] and endpoint.secret_sealed:
        return False
    overlap = timedelta(seconds=changes.get("approval_webhook_secret_overlap_seconds", OVERLAP_SECONDS))
    stays = bool(secret and endpoint.secret_sealed and overlap)
    endpoint.former_secret_sealed = endpoint.secret_sealed if stays else None
    endpoint.former_secret_until = at + overlap if stays else None
    endpoint.former_secret_set_by = endpoint.secret_set_by if stays else None
    endpoint.secret_sealed = vault.seal(secret, workspace_id=endpoint.workspace_id, purpose=addressees.SECRET_SEAL) if secret else None
    endpoint.secret_set_at, endpoint.secret_set_by = (at, actor) if secret else (None, None)
    return True


def _set_plans(workspace: Workspace, plans: list[dict[str, Any]]) -> None:
    """Replace the review plans by these, each checked against the workspace. Raises ``ValidationFailed``."""
    policies = set(workspace.policies.values_list("pk", flat=True))
    may = dict(workspace.memberships.filter(role__gte=Role.DEVELOPER).values_list("user_id", "role"))
    found = []
    for index, plan in enumerate(plans):
        param = f"approval_reviews.{index}"
        policy_id, role, people = plan.get("policy_id"), Role[str(plan.get("least_role", "developer")).upper()], plan.get("reviewers", [])
        if policy_id is not None and policy_id not in policies:
            raise errors.ValidationFailed("There is no such policy.", param=f"{param}.policy_id")
        if stranger := next((person for person in people if may.get(person, Role.MEMBER) < role), None):
            raise errors.ValidationFailed(f"{stranger} is no member of the role {role.label} or above.", param=f"{param}.reviewers")
        able = len(people) if people else sum(1 for each in may.values() if each >= role)
        if plan.get("quorum", 1) > able:
            raise errors.ValidationFailed(f"Only {able} could decide, fewer than the quorum.", param=f"{param}.quorum")
        found.append(ReviewPlan(workspace=workspace, policy_id=policy_id, quorum=plan.get("quorum", 1), least_role=role, reviewer_ids=people))
    workspace.review_plans.all().delete()
    workspace.review_plans.bulk_create(found)


# --- Judging --------------------------------------------------------------------------------------------------------
def _vetted(url: str, param: str) -> str:
    if not url.strip():
        return ""
    try:
        found = net.vet(url.strip()).url
    except net.AddressRefused as refusal:
        refusal.param = param
        raise
    if len(found) > MAX_URL or not found.isascii() or "#" in found:
        raise errors.ValidationFailed(f"An address is at most {MAX_URL} ASCII characters, without fragment.", param=param)
    return found


def _refuse(changes: Mapping[str, Any]) -> None:
    found = [{"param": name, "message": message} for name in changes for message in _objections(name, changes[name])]
    if "approval_reviews" in changes and not found:
        found = _plan_objections(changes["approval_reviews"])
    if found:
        raise errors.ValidationFailed.of(found)


def _objections(name: str, value: object) -> list[str]:
    match name:
        case "approval_ttl_seconds" | "approval_use_ttl_seconds":
            allowed = TTL_SECONDS if name == "approval_ttl_seconds" else USE_TTL_SECONDS
            return _unless(type(value) is int and value in allowed, f"A whole number of seconds from {allowed.start} to {allowed.stop - 1}.")
        case "approval_webhook_secret_overlap_seconds":
            return _unless(type(value) is int and 0 <= value <= MAX_OVERLAP_SECONDS, f"A whole number of seconds from 0 to {MAX_OVERLAP_SECONDS}.")
        case "four_eyes" | "approval_notify_reviewers":
            return _unless(isinstance(value, bool), "True or false.")
        case "approval_webhook_url" | "approval_slack_url":
            return _unless(isinstance(value, str) and len(value) <= 2_000, "An https address, or empty for none.")
        case "approval_webhook_secret":
            fits = value in (None, "") or (isinstance(value, str) and signing.is_secret(value))
            return _unless(fits, f"{signing.MIN_SECRET} to {signing.MAX_SECRET} visible ASCII characters without spaces, or empty for none.")
        case "approval_notify_emails":
            fits = isinstance(value, list) and len(value) <= MAX_EMAILS and all(_is_email(each) for each in value)
            return _unless(fits, f"A list of at most {MAX_EMAILS} e-mail addresses.")
        case "approval_reviews":
            return _unless(isinstance(value, list) and len(value) <= MAX_PLANS, f"A list of at most {MAX_PLANS} review plans.")
    return ["There is no such field."]


def _plan_objections(plans: list) -> list[dict]:
    found, seen = [], set()
    for index, plan in enumerate(plans):
        param = f"approval_reviews.{index}"
        if not isinstance(plan, dict):
            found.append({"param": param, "message": "A review plan is an object."})
            continue
        found += [{"param": f"{param}.{name}", "message": "There is no such field."} for name in plan if name not in _PLAN]
        found += [{"param": f"{param}.{name}", "message": words} for name, (fits, words) in _PLAN.items() if name in plan and not fits(plan[name])]
        policy_id = plan.get("policy_id")
        if isinstance(policy_id, int | None) and policy_id in seen:
            found.append({"param": f"{param}.policy_id", "message": "This policy has a plan already."})
        elif isinstance(policy_id, int | None):
            seen.add(policy_id)
    return found


_PLAN = {
    "policy_id": (lambda value: value is None or (type(value) is int and 0 < value < 2**63), "A policy's id, or null for every other policy."),
    "quorum": (lambda value: type(value) is int and 1 <= value <= MAX_QUORUM, f"A whole number from 1 to {MAX_QUORUM}."),
    "least_role": (lambda value: value in ("developer", "admin", "owner"), "developer, admin or owner."),
    "reviewers": (
        lambda value: isinstance(value, list) and len(set(map(str, value))) == len(value) <= MAX_REVIEWERS and all(type(each) is int for each in value),
        f"A list of at most {MAX_REVIEWERS} members' user ids, each once.",
    ),
}


def _unless(fits: bool, words: str) -> list[str]:
    return [] if fits else [words]


def _is_email(text: object) -> bool:
    if not isinstance(text, str) or len(text) > 254 or not text.isascii():
        return False
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
