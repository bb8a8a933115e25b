"""What an approval is bound to, and why it may not be spent on a call. Source: spec/decisions.md 7.3."""

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum

import orjson


class State(StrEnum):
    """``pending → approved | rejected | expired``, and ``approved → consumed | expired``."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CONSUMED = "consumed"


class Refused(StrEnum):
    """Why an approval is not spent: ``metadata.reason`` of ``firewall_approval_invalid``."""

    UNKNOWN = "unknown"  # no such approval, or another key's
    PENDING = "pending"
    REJECTED = "rejected"
    EXPIRED = "expired"
    USED = "used"
    MISMATCH = "mismatch"  # approved for another call
    RULE_CHANGED = "rule_changed"  # the rule is another one than the reviewer saw
    INCOMPLETE = "incomplete"  # other held calls of the same answer are not resolved, or not named


_OF_STATE = {
    State.PENDING: Refused.PENDING,
    State.REJECTED: Refused.REJECTED,
    State.EXPIRED: Refused.EXPIRED,
    State.CONSUMED: Refused.USED,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One call under one rule. ``request_hash`` and ``tool_hash`` are empty where the call came without a request."""

    key_id: int
    surface: str
    tool_name: str
    args_hash: str
    request_hash: str
    tool_hash: str
    policy_id: int
    rule_hash: str

    @property
    def digest(self) -> str:
        """Equal for the same call under the same rule: while its hold is pending it is not held again."""
        return hashlib.sha256(orjson.dumps(list(asdict(self).values()))).hexdigest()

    def mismatch(self, presented: "Bound") -> str | None:
        """The first field in which a presented call differs, its rule aside; None if it is the very call."""
        theirs = asdict(presented)
        # The more particular first: a changed tool or argument changes the request as well.
        fields = ("key_id", "surface", "tool_name", "args_hash", "tool_hash", "request_hash", "policy_id")
        return next((name for name in fields if getattr(self, name) != theirs[name]), None)


def refusal_of_state(state: str, *, is_past: bool) -> Refused | None:
    """Why an approval in this state may not be spent; ``is_past``: its time is over, whether or not a sweep has said so."""
    if state == State.APPROVED:
        return Refused.EXPIRED if is_past else None
    if state == State.PENDING and is_past:
        return Refused.EXPIRED
    return _OF_STATE[State(state)]
