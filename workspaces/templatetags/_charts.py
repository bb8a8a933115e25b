"""Coordinates of server-drawn SVG, computed from plain numbers. Attributes only: the CSP forbids ``style=``."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spark:
    """Paths for one sparkline in a 96 x 24 box; ``band`` and ``over`` are empty where there is nothing to draw."""

    line: str
    band: str = ""
    over: str = ""


WIDTH, HEIGHT, MARGIN = 96.0, 24.0, 2.0


def spark(values: Sequence[float], band: Sequence[tuple[float, float]] = ()) -> Spark:
    """Draw ``values`` from zero up, over the expected ``band`` of (low, high) pairs; what leaves the band is drawn again as ``over``."""
    top = max([*values, *(high for _, high in band), 1e-9])
    step = WIDTH / max(len(values) - 1, 1)

    def point(index: int, value: float) -> str:
        return f"{index * step:.1f} {HEIGHT - 1 - (HEIGHT - 1 - MARGIN) * max(value, 0) / top:.1f}"

    def line(indexes: Sequence[int]) -> str:
        return " ".join(("M" if index == indexes[0] else "L") + point(index, values[index]) for index in indexes)

    outside = [index for index, (value, (_, high)) in enumerate(zip(values, band, strict=False)) if value > high]
    # One point has no length: begin where the line was still inside.
    over = line(range(max(outside[0] - 1, 0), outside[-1] + 1)) if outside else ""
    edge = [point(i, high) for i, (_, high) in enumerate(band)] + [point(i, low) for i, (low, _) in reversed(list(enumerate(band)))]
    return Spark(line(range(len(values))), f"M{' L'.join(edge)}z" if edge else "", over)


def shares(amounts: Sequence[float]) -> list[tuple[float, float]]:
    """(offset, width) of each amount in percent of their sum, for a stacked bar; all zero when the sum is."""
    total = sum(amounts) or 1
    offsets, at = [], 0.0
    for amount in amounts:
        width = 100 * amount / total
        offsets.append((round(at, 2), round(width, 2)))
        at += width
    return offsets
