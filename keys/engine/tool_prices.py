"""What one use of a tool costs that agents dispatch themselves. Source: spec/decisions.md 6.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from firewall.engine.glob import Glob, parse


@dataclass(frozen=True, slots=True)
class ToolPrices:
    """A workspace's own prices, in micro-USD, by tool glob: the longest glob that a name meets holds, of two the dearer one."""

    prices: tuple[tuple[Glob, int], ...] = ()

    @classmethod
    def of(cls, prices: Mapping[str, int]) -> ToolPrices:
        longest_first = sorted(prices.items(), key=lambda each: (-len(each[0]), -each[1]))
        return cls(tuple((parse(text), price) for text, price in longest_first))

    def price(self, tool_name: str) -> int:
        """Of one use; 0 where no price is set."""
        return next((price for glob, price in self.prices if glob.matches(tool_name, wide=True)), 0)


NO_TOOL_PRICES = ToolPrices()
