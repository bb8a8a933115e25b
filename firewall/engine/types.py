"""The values the firewall is made of. Source: spec/firewall.md, 1 to 3."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from firewall.engine.compile import Line, compile_rules, sequences_by_name
from firewall.engine.conditions import Clause
from firewall.engine.destinations import Destination
from firewall.engine.egress import EgressLists
from firewall.engine.sanitize import Sanitizers
from firewall.engine.sequence import Chain, Progress
from firewall.engine.words import ReasonCode, Surface, Verdict

if TYPE_CHECKING:
    from firewall.engine.advertised import Offered

__all__ = ["Cap", "Decision", "Policy", "ReasonCode", "Rule", "RunState", "Surface", "ToolCall", "Verdict"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy. ``stage`` None is every surface; ``id`` is unique within its policy and breaks ties of ``priority``.

    Matchers left out hold for every call. ``sanitize`` and ``cap_micro_usd`` belong to the verdicts of their names.
    """

    id: int
    priority: int
    label: str
    stage: Surface | None
    tool_name_glob: str
    verdict: Verdict
    enabled: bool = True
    skill_name_glob: str = ""
    args_match: tuple[Clause, ...] = ()
    egress: EgressLists | None = None
    sanitize: Sanitizers | None = None
    sequence: Chain | None = None
    cap_micro_usd: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool as it was sent: ``name`` untouched, ``arguments`` the JSON text, or None where there are none to see.

    ``skill`` owns the tool, None: nobody does. ``destinations`` are where it goes, with names resolved; None: to be found in
    the arguments and judged unresolved (see ``destinations``).
    """

    surface: Surface
    name: str
    arguments: str | None = None
    skill: str | None = None
    destinations: tuple[Destination, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """What the call's run has done before this call, and what the request that it belongs to may cost.

    ``reserved_micro_usd`` is held for calls in flight, this one's ``estimate_micro_usd`` (None: the model has no price) not among it.
    ``runs_this_hour`` counts the runs that the key began, this one too. ``at_ms`` is the time on any clock that the run's calls share;
    ``chains`` is kept with the run and given back as ``afterwards.advance`` gave it.
    """

    calls: int = 0
    spent_micro_usd: int = 0
    reserved_micro_usd: int = 0
    estimate_micro_usd: int | None = 0
    is_stopped: bool = False
    runs_this_hour: int = 0
    at_ms: int = 0
    chains: Mapping[str, Progress] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap that a call passed under, to be checked again where money is reserved: run total + reserved + estimate <= cap."""

    rule_id: int
    cap_micro_usd: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided and why.

    ``rule_id`` None: no rule had an opinion. ``policy_id`` None: no policy
    applied. ``reason_code`` is set when the verdict is ``deny``, or would be
    without shadow mode. ``risk_score`` is 0 to 100, see ``decide.RISK``.
    ``arguments`` is what to send instead when the verdict is ``sanitize`` (None: the call had none), ``redactions``
    how often each sanitizer found something. ``caps`` are those the call passed under.
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
    arguments: str | None = None
    redactions: tuple[tuple[str, int], ...] = ()
    caps: tuple[Cap, ...] = ()
    #: The hold that the call waits in, or the approval that let it go on.
    approval_id: str | None = None

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
        reason = f"[shadow] would {self.verdict} — {self.reason}"
        return replace(self, verdict=Verdict.AUDIT, reason=reason, factors=(*self.factors, "shadow mode"), shadow=True, arguments=None, redactions=())


@dataclass(frozen=True, slots=True)
class Policy:
    """One revision of a policy, compiled when it is made: make it once per ``version`` and keep it.

    ``rules`` may come in any order and stand in the order they are tried, as ``lines`` compiled. ``rules_for(name, surface)``
    are the enabled lines that can match, up to the first that surely does.
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
    #: Runs that a key may begin in an hour (decisions 5); None: any number.
    max_runs_per_key_per_hour: int | None = None
    #: The enabled rules that cap what a run may cost, and those of them that a request meets whatever tools it offers.
    caps: tuple[Line, ...] = field(init=False, repr=False, compare=False)
    request_caps: tuple[Line, ...] = field(init=False, repr=False, compare=False)
    #: The least of the caps: below any cost where one names no amount, and so lets nothing through; None where there are none.
    least_cap_micro_usd: int | None = field(init=False, repr=False, compare=False)
    #: Whether any rule holds calls for a person: only then is an answer kept until its calls are judged.
    has_holds: bool = field(init=False, repr=False, compare=False)
    #: The enabled rules about calls that follow one another: only then is the progress of a run kept.
    sequences: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    #: Those of them with a step that a call of this name may be.
    sequences_for: Callable[[str], tuple[Rule, ...]] = field(init=False, repr=False, compare=False)
    #: Whether any rule is about addresses: see ``resolves_on``.
    looks_at_addresses: bool = field(init=False, repr=False, compare=False)
    #: Hosts that some rule lets through by their names.
    allowed_names: frozenset[str] = field(init=False, repr=False, compare=False)
    lines: tuple[Line, ...] = field(init=False, repr=False, compare=False)
    rules_for: Callable[[str, Surface], tuple[Line, ...]] = field(init=False, repr=False, compare=False)
    # Decisions that depend on no more than a call's name, by what gave them and the caps before it: filled by ``decide``.
    opinions: dict[object, Decision] = field(init=False, repr=False, compare=False)
    # What was decided of tools that were offered, of each and of all in one offer: filled by ``decide_advertised``.
    offered_tools: OrderedDict[str, Decision] = field(init=False, repr=False, compare=False)
    offers: OrderedDict[tuple[str, ...], Offered] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.rules, key=lambda rule: (rule.priority, rule.id)))
        lines = tuple(map(Line, ordered))
        # A frozen dataclass fills its own fields this way.
        object.__setattr__(self, "rules", ordered)
        object.__setattr__(self, "lines", lines)
        caps = tuple(line for line in lines if line.rule.enabled and line.rule.verdict is Verdict.CAP_COST)
        object.__setattr__(self, "caps", caps)
        object.__setattr__(self, "request_caps", tuple(line for line in caps if line.is_of_every_request))
        amounts = [-(2**63) if line.rule.cap_micro_usd is None else line.rule.cap_micro_usd for line in caps]
        object.__setattr__(self, "least_cap_micro_usd", min(amounts, default=None))
        object.__setattr__(self, "sequences", tuple(rule for rule in ordered if rule.enabled and rule.sequence))
        object.__setattr__(self, "looks_at_addresses", any(line.reads_addresses for line in lines if line.rule.enabled))
        object.__setattr__(self, "allowed_names", frozenset[str]().union(*(line.allowed_names for line in lines if line.rule.enabled)))
        object.__setattr__(self, "sequences_for", sequences_by_name(self.sequences))
        holds = any(rule.enabled and rule.verdict is Verdict.PENDING_APPROVAL for rule in ordered)
        object.__setattr__(self, "has_holds", holds and not self.shadow_mode)
        object.__setattr__(self, "rules_for", compile_rules(line for line in lines if line.rule.enabled))
        object.__setattr__(self, "opinions", {})
        object.__setattr__(self, "offered_tools", OrderedDict())
        object.__setattr__(self, "offers", OrderedDict())

    @property
    def has_caps(self) -> bool:
        """Only under a cap does the gateway reserve."""
        return bool(self.caps)

    @property
    def judges_requests(self) -> bool:
        """Whether it may refuse a request that offers no tool."""
        return bool(self.request_caps) or self.max_runs_per_key_per_hour is not None

    def resolves_on(self, surface: Surface) -> bool:
        """Whether the names in a call are looked up before it is judged: where its caller waits, if a rule is about addresses."""
        return self.looks_at_addresses and surface in (Surface.MCP, Surface.EGRESS)
