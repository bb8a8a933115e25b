"""A provider's models as a person types them, one a line: ``name``, ``name = upstream``, each with `` @ 2.50 / 10`` as its price.

Prices are US dollars per million tokens, input and output; ``-`` is the list price.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

_LINE = re.compile(r"(?P<name>[^\s=@]+)(?:\s*=\s*(?P<upstream>[^\s=@]+))?(?:\s+@\s*(?P<input>-|\$?[0-9.]+)\s*/\s*(?P<output>-|\$?[0-9.]+))?")
_AMOUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class ModelLine:
    """``upstream`` empty: the same name. Prices in dollars, None for the list price."""

    name: str
    upstream: str = ""
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None


def parse(text: str) -> list[ModelLine]:
    """Read the lines, empty ones aside. Raises ``ValueError`` naming the first that is wrong."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parts = _LINE.fullmatch(line.strip())
        if parts is None or len(parts["name"]) > 128 or len(parts["upstream"] or "") > 128 or not line.isprintable():
            raise ValueError(f"Line {number}: write a name, or name = upstream, with @ input / output for a price.")
        found.append(ModelLine(parts["name"], parts["upstream"] or "", _amount(parts["input"], number), _amount(parts["output"], number)))
    return found


def write(models: Iterable[ModelLine]) -> str:
    """The text that ``parse`` reads back as the same."""
    return "\n".join(_line(model) for model in models)


def _line(model: ModelLine) -> str:
    mapped = f"{model.name} = {model.upstream}" if model.upstream and model.upstream != model.name else model.name
    if model.input_usd is None and model.output_usd is None:
        return mapped
    return f"{mapped} @ {_shown(model.input_usd)} / {_shown(model.output_usd)}"


def _shown(amount: Decimal | None) -> str:
    if amount is None:
        return "-"
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _amount(text: str | None, number: int) -> Decimal | None:
    if text in (None, "-"):
        return None
    bare = text.removeprefix("$")
    if not _AMOUNT.fullmatch(bare):
        raise ValueError(f"Line {number}: {text} is not an amount in US dollars.")
    return Decimal(bare)
