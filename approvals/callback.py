"""The signed callback: a system of the customer's decides about one hold. No key, no session: the signature is all there is.

Bound to the id of its path, fresh, and without effect when it is repeated. Source: spec/decisions.md 7.6.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from approvals import addressees, selectors, services
from approvals.engine import signing
from approvals.engine.binding import State
from approvals.models import Approval
from workspaces import errors, tenancy, vault
from workspaces.api_base import StrictJSONParser
from workspaces.selectors import workspace as workspace_of

#: The documented body is a few hundred bytes; nobody has shown who they are before it is read.
MAX_BODY_BYTES = 16 * 1024
MAX_REASON, MAX_DECIDER = 2_000, 200
_ID = re.compile(r"[0-9a-f]{24}")
_DECISIONS = {"approved": State.APPROVED, "rejected": State.REJECTED}


@dataclass(frozen=True, slots=True)
class Said:
    decision: State
    reason: str
    decided_by: str


def receive(approval_id: str, headers: Mapping[str, str], body: bytes, *, at: datetime) -> Approval:
    """Decide as the body says, and give the hold as it then is. ``headers`` by lower-case name.

    Raises ``NotFound``, ``InvalidSignature``, ``ValidationFailed``, ``BadRequestBody``, ``ApprovalResolved`` and ``PermissionRefused``.
    """
    workspace_id = _workspace_of(approval_id)
    if workspace_id is None:
        raise errors.NotFound("Not found.")
    with tenancy.scope(workspace_id):
        workspace = workspace_of(workspace_id)
        approval = workspace.approvals.filter(pk=approval_id).first() if workspace else None
        if workspace is None or approval is None:
            raise errors.NotFound("Not found.")
        secrets = _secrets(addressees.endpoint_of(workspace), at)
        if not signing.is_signed(secrets, signing.Shown.of(headers), body=body, now=at.timestamp()):
            raise errors.InvalidSignature("The signature is missing or wrong, or its timestamp is more than five minutes off.")
        said = _read(approval_id, body, at)
        if selectors.settings_of(workspace).four_eyes and (side := _key_side(approval)):
            raise errors.PermissionRefused(f"Four eyes: {side}, so somebody decides in the console.")
        return services.resolve(approval, decision=said.decision, by=None, label=said.decided_by, reason=said.reason)


def _workspace_of(approval_id: str) -> int | None:
    """The workspace of a hold by its id alone: a callback names no other."""
    if not _ID.fullmatch(approval_id):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT orca_approval_workspace(%s)", [approval_id])
        return cursor.fetchone()[0]


def _secrets(endpoint: Any, at: datetime) -> list[str]:
    try:
        return addressees.secrets_of(endpoint, at)
    except vault.SealBroken:
        return []


def _read(approval_id: str, body: bytes, at: datetime) -> Said:
    """What a signed body says. That it is ours sent back, stale or of another hold counts as not signed."""
    told = StrictJSONParser().parse(io.BytesIO(body))
    if not isinstance(told, dict):
        raise errors.ValidationFailed("Send a JSON object.")
    if "event" in told:
        raise errors.InvalidSignature("This is a message of ours sent back, not a decision.")
    if told.get("approval_id") != approval_id:
        raise errors.InvalidSignature("approval_id is not the one of this address.", param="approval_id")
    if not _is_fresh(told.get("timestamp"), at):
        raise errors.InvalidSignature("timestamp, in Unix seconds, is missing or more than five minutes off.", param="timestamp")
    decision = told.get("decision")
    if not isinstance(decision, str) or decision not in _DECISIONS:
        raise errors.ValidationFailed("decision is approved or rejected.", param="decision")
    return Said(_DECISIONS[decision], _text(told, "reason", MAX_REASON), _text(told, "decided_by", MAX_DECIDER))


def _is_fresh(timestamp: object, at: datetime) -> bool:
    try:
        return isinstance(timestamp, int | float) and not isinstance(timestamp, bool) and signing.is_fresh(float(timestamp), now=at.timestamp())
    except OverflowError:
        return False


def _text(told: Mapping[str, object], name: str, at_most: int) -> str:
    value = told.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > at_most or "\x00" in value:
        raise errors.ValidationFailed(f"{name} is a text of at most {at_most} characters.", param=name)
    return value


def _key_side(approval: Approval) -> str:
    """Why the callback is the key's side: who knows a valid secret could have sent it, and may not be who asks for the call."""
    setters = selectors.secret_setters(approval.workspace)
    key = approval.workspace.api_keys.filter(pk=approval.key_id).values_list("created_by_id", flat=True).first()
    if key in setters:
        return "the webhook's secret was set by the maker of the key"
    if selectors.last_editor(approval.workspace, approval.policy_id, approval.rule_id) in setters:
        return "the webhook's secret was set by the last editor of the rule"
    return ""
