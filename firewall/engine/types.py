"""The values the firewall is made of. Source: spec/firewall.md, 1 to 3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from firewall.engine.compile import compile_rules


class Surface(StrEnum):
    """Where a tool call is seen; a call is judged on exactly one."""

    INBOUND = "inbound"  # advertised in a request: a name, no arguments
    RESPONSE = "response"  # emitted by a model: a name and arguments
    MCP = "mcp"  # dispatched through the MCP gateway, or reported to the evaluate hook
    EGRESS = "egress"  # a destination that a tool is about to reach


class Verdict(StrEnum):
    """What becomes of a call. ``observe`` is given where no policy applies, never by a rule."""

    ALLOW = "allow"
    AUDIT = "audit"
    DENY = "deny"
    SANITIZE = "sanitize"
    PENDING_APPROVAL = "pending_approval"
    CAP_COST = "cap_cost"
    OBSERVE = "observe"

    @property
    def permits(self) -> bool:
        """A call with this verdict goes on as it was sent."""
        return self in (Verdict.ALLOW, Verdict.AUDIT, Verdict.OBSERVE)


class ReasonCode(StrEnum):
    """Why a call did not go on as it was sent. A public contract: codes are added, none changes its meaning."""

    RULE_DENY = "rule_deny"  # a rule with verdict deny matched
    DEFAULT_DENY = "default_deny"  # no rule matched and the policy's default is deny
    BAD_TOOL_NAME = "bad_tool_name"  # the name has characters or a length that no tool may have
    RESPONSE_TOO_LARGE = "response_too_large"  # more tool-call bytes than the gateway will hold to judge
    POLICY_UNAVAILABLE = "policy_unavailable"  # the key's policy could not be loaded and no good copy is left


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy. ``stage`` None is every surface; ``id`` is unique within its policy and breaks ties of ``priority``."""

    id: int
    priority: int
    label: str
    stage: Surface | None
    tool_name_glob: str
    verdict: Verdict
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool as it was sent: ``name`` untouched, ``arguments`` the JSON text, or None where there are none to see."""

    surface: Surface
    name: str
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """What the call's run has done before this call."""

    calls: int = 0
    cost_micro_usd: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided and why.

    ``rule_id`` None: no rule had an opinion. ``policy_id`` None: no policy
    applied. ``reason_code`` is set when the verdict stops a call, or would have
    without shadow mode. ``risk_score`` is 0 to 100, see ``decide.RISK``.
    """

    verdict: Verdict
    reason: str
    reason_code: ReasonCode | None = None
    rule_id: int | None = None
    rule_label: str = ""
    policy_id: int | None = None
    policy_name: str = ""
    policy_version: int | None = None
    factors: tuple[str, ...] = ()
    risk_score: int = 0
    shadow: bool = False
    gap: bool = False

    @property
    def blocks(self) -> bool:
        """The call must not go on as it was sent."""
        return not self.verdict.permits

    @property
    def is_recorded(self) -> bool:
        """False only where no policy applies and nobody asked to observe: such a call leaves no trace."""
        return self.policy_id is not None or self.gap or self.blocks

    def shadowed(self) -> Decision:
        """The same decision without its effect: ``audit``, and a reason that says what would have happened."""
        if not self.blocks:
            return self
        return replace(
            self, verdict=Verdict.AUDIT, reason=f"[shadow] would {self.verdict} — {self.reason}", factors=(*self.factors, "shadow mode"), shadow=True
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """One revision of a policy, compiled when it is made: make it once per ``version`` and keep it.

    ``rules`` may come in any order and stand in the order they are tried.
    ``rules_for(name, surface)`` are the enabled ones that match.
    """

    id: int
    name: str
    version: int
    default_verdict: Verdict
    shadow_mode: bool
    rules: tuple[Rule, ...]
    enabled: bool = True
    # For the gateway, around its decisions: leave a line in an answer that lost a call (decisions 6.5),
    # refuse unknown top-level fields under a deny default (6.7).
    block_notice: bool = True
    refuse_unknown_fields: bool = True
    rules_for: Callable[[str, Surface], tuple[Rule, ...]] = field(init=False, repr=False, compare=False)
    # Decisions by what gave them, filled by ``decide``: at most one per rule and two more.
    opinions: dict[int | ReasonCode | None, Decision] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.rules, key=lambda rule: (rule.priority, rule.id)))
        # A frozen dataclass fills its own fields this way.
        object.__setattr__(self, "rules", ordered)
        object.__setattr__(self, "rules_for", compile_rules(rule for rule in ordered if rule.enabled))
        object.__setattr__(self, "opinions", {})
