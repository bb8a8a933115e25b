"""The words of the firewall: surfaces, verdicts, reason codes. Source: spec/firewall.md 2 and 3, spec/decisions.md 6.6."""

from enum import StrEnum


class Surface(StrEnum):
    """Where a tool call is seen; a call is judged on exactly one."""

    INBOUND = "inbound"  # advertised in a request: a name, no arguments
    RESPONSE = "response"  # emitted by a model: a name and arguments
    MCP = "mcp"  # dispatched through the MCP gateway, or reported to the evaluate hook
    EGRESS = "egress"  # a destination that a tool is about to reach


class Verdict(StrEnum):
    """What becomes of a call. ``observe`` is given where no policy applies, never by a rule; ``cap_cost`` is a rule's, never a decision's."""

    ALLOW = "allow"
    AUDIT = "audit"
    DENY = "deny"
    SANITIZE = "sanitize"
    PENDING_APPROVAL = "pending_approval"
    CAP_COST = "cap_cost"
    OBSERVE = "observe"

    #: A call with this verdict goes on as it was sent.
    permits: bool

    def __init__(self, word: str) -> None:
        self.permits = word in ("allow", "audit", "observe")


class ReasonCode(StrEnum):
    """Why a call was denied. A public contract: codes are added, none changes its meaning."""

    RULE_DENY = "rule_deny"  # a rule with verdict deny matched
    DEFAULT_DENY = "default_deny"  # no rule matched and the policy's default is deny
    BAD_TOOL_NAME = "bad_tool_name"  # the name has characters or a length that no tool may have
    BAD_ARGUMENTS = "bad_arguments"  # not one JSON object with unique names and finite numbers, so no clause could be judged
    EGRESS_DENIED = "egress_denied"  # a destination is on the list of a denying rule
    EGRESS_NO_DESTINATION = "egress_no_destination"  # nothing, or nothing readable, says where the call goes
    SANITIZE_INBOUND = "sanitize_inbound"  # a sanitizing rule matched an offered tool, which has no arguments to clean
    SEQUENCE = "sequence"  # the call completes a sequence of its run
    COST_CAP = "cost_cap"  # the run would exceed a cap on its cost
    COST_STORE_DOWN = "cost_store_down"  # under a cap, and what the run has spent cannot be told just now
    PRICE_UNKNOWN = "price_unknown"  # under a cap, and the model has no price
    RUN_LIMIT = "run_limit"  # the key has begun more runs this hour than its policy allows
    RUN_STOPPED = "run_stopped"  # a person stopped the run
    KEY_FROZEN = "key_frozen"  # a person stopped the key
    LOST_RECORD = "lost_record"  # a call's process died before the call was recorded
    HOLD_UNAVAILABLE = "hold_unavailable"  # the call cannot be held for approval here
    RESPONSE_TOO_LARGE = "response_too_large"  # more tool-call bytes than the gateway will hold to judge
    POLICY_UNAVAILABLE = "policy_unavailable"  # the key's policy could not be loaded and no good copy is left
    APPROVAL_STORE_DOWN = "approval_store_down"  # the call would be held, and holds cannot be kept just now
    # Of what became of a held call: events of its run, not verdicts of a rule
    APPROVAL_APPROVED = "approval_approved"
    APPROVAL_REJECTED = "approval_rejected"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_CONSUMED = "approval_consumed"
