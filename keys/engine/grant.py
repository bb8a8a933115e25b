"""Everything the gateway needs to serve one key: loaded by ``keys.selectors.load_grant``, kept in process memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from firewall.engine.decide import resolve
from firewall.engine.types import Policy
from keys.engine.ceilings import NO_LIMITS, Limits
from keys.engine.scope import Scope
from keys.engine.tool_prices import NO_TOOL_PRICES, ToolPrices


@dataclass(frozen=True, slots=True)
class Tier:
    """What all tokens of a call with more input than this cost; None: as below the tier."""

    above_input_tokens: int
    input_per_million_micro_usd: int | None = None
    output_per_million_micro_usd: int | None = None
    cached_input_per_million_micro_usd: int | None = None


class Sides(NamedTuple):
    """What a million tokens cost, in micro-USD: fresh, cached, cache-written and audio ones of the input; plain, reasoning and audio ones of
    the output. None: the side has the list price."""

    input: tuple[int, int, int, int] | None
    output: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Price:
    """A workspace's own price of a model, in micro-USD; None of input or output is the list price of that side.

    Parts of a side without a price of their own cost what the side does. ``tools`` are hosted tools by name, each use;
    ``tiers`` by rising ``above_input_tokens``. ``default_output_tokens`` is what an answer may be long when the client sets no limit.
    """

    input_per_million_micro_usd: int | None = None
    output_per_million_micro_usd: int | None = None
    cached_input_per_million_micro_usd: int | None = None
    cache_write_per_million_micro_usd: int | None = None
    reasoning_per_million_micro_usd: int | None = None
    input_audio_per_million_micro_usd: int | None = None
    output_audio_per_million_micro_usd: int | None = None
    per_request_micro_usd: int = 0
    tools: tuple[tuple[str, int], ...] = ()
    tiers: tuple[Tier, ...] = ()
    default_output_tokens: int | None = None
    #: What tokens cost below all tiers, and in each.
    flat: Sides = field(init=False, repr=False, compare=False)
    tiered: tuple[Sides, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A frozen dataclass fills its own fields this way.
        object.__setattr__(self, "flat", self._sides(None))
        object.__setattr__(self, "tiered", tuple(map(self._sides, self.tiers)))

    def sides_of(self, input_tokens: int) -> Sides:
        """What tokens cost in a call with so much input."""
        if self.tiers:
            for tier, sides in zip(reversed(self.tiers), reversed(self.tiered), strict=True):
                if input_tokens > tier.above_input_tokens:
                    return sides
        return self.flat

    def _sides(self, tier: Tier | None) -> Sides:
        asked, told, cached = self.input_per_million_micro_usd, self.output_per_million_micro_usd, self.cached_input_per_million_micro_usd
        if tier is not None:
            # A tier names no price of a side that has none.
            asked = None if asked is None else _or(tier.input_per_million_micro_usd, asked)
            told = None if told is None else _or(tier.output_per_million_micro_usd, told)
            cached = tier.cached_input_per_million_micro_usd if tier.cached_input_per_million_micro_usd is not None else cached
        return Sides(
            None
            if asked is None
            else (asked, _or(cached, asked), _or(self.cache_write_per_million_micro_usd, asked), _or(self.input_audio_per_million_micro_usd, asked)),
            None if told is None else (told, _or(self.reasoning_per_million_micro_usd, told), _or(self.output_audio_per_million_micro_usd, told)),
        )


def _or(price: int | None, otherwise: int) -> int:
    return otherwise if price is None else price


@dataclass(frozen=True, slots=True)
class Route:
    """One provider that answers to a model name, and how to ask it.

    ``base_url`` has no trailing slash. ``secret`` is the provider's, in clear:
    it never enters a log line, an error or a ``repr``; empty means the provider
    asks for none. A demo route is reached over the demo provider's socket.
    """

    provider_id: int
    provider_name: str
    base_url: str
    upstream_model: str
    secret: str = field(repr=False)
    price: Price | None = None
    is_demo: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """One key and its workspace, as of ``config_version``: nothing in it is older than that version.

    ``key_policy`` is the attached policy, ``default_policy`` the workspace's
    default; either may be disabled. ``models`` maps each name that an agent may
    ask for to its routes, best first, whatever the key's own model list says.
    """

    workspace_id: int
    config_version: int
    key_id: int
    key_name: str
    environment: str
    is_firewall_gateway: bool
    one_run_an_hour: bool
    scope: Scope
    key_policy: Policy | None
    default_policy: Policy | None
    observe_mode: bool
    run_gap_seconds: int
    models: Mapping[str, tuple[Route, ...]]
    limits: Limits = NO_LIMITS
    tool_prices: ToolPrices = NO_TOOL_PRICES
    #: Runs of this key that a person stopped.
    stopped_runs: frozenset[str] = frozenset()
    #: The policy in force: the key's, else the workspace's default, the first that is enabled (spec/firewall.md 1.3).
    policy: Policy | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", resolve(self.key_policy, self.default_policy))
