"""Canonical JSON: one spelling for what is equal, so that a hash of it says whether two texts mean the same.

RFC 8785 (names in the order of their UTF-16 code units, no white space, ECMAScript's strings and numbers), except that a number
which ECMAScript would write as another number keeps its digits: no two different numbers have one form (spec/decisions.md 7.3).
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from workspaces.engine.strict_json import no_constant, unique

#: A number with more zeros than any double has keeps its exponent: a short text must not become a long one.
MAX_ZEROS = 330


def canonical(value: Any) -> str:
    """The canonical text of a value that ``parse`` gave. Raises ``ValueError`` for what JSON cannot say."""
    match value:
        case Number():
            return value.canonical
        case dict():
            # RFC 8785 3.2.3; half a surrogate pair raises, as no two readers agree on it.
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{_text(name)}:{canonical(value[name])}" for name in names) + "}"
        case list():
            return "[" + ",".join(map(canonical, value)) + "]"
        case str():
            return _text(value)
        case None | bool():
            return json.dumps(value)
    raise ValueError(f"{type(value).__name__} is not a value of JSON")


def parse(text: str) -> Any:
    """A JSON text as values whose numbers keep their digits. Raises ``ValueError`` for repeated names and numbers that are not finite."""
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant, parse_float=Number, parse_int=Number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class Number:
    """A number as it was written, and in the one form that is equal for equal numbers."""

    __slots__ = ("canonical", "written")

    def __init__(self, digits: str) -> None:
        self.written = digits
        self.canonical = _shortest(digits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)


def _shortest(digits: str) -> str:
    double = float(digits)
    if double in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    try:
        exact = Decimal(digits)
    except InvalidOperation:
        raise ValueError("an exponent out of all bounds") from None
    written = ecmascript(double)
    return written if Decimal(written) == exact else _in_full(exact)


def ecmascript(double: float) -> str:
    """A finite double as ECMAScript writes it: its shortest digits, plain from 1e-6 up to 1e21 (RFC 8785 3.2.2.3)."""
    if double == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(double)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, minus, point = "".join(map(str, digits)), "-" * sign, len(digits) + exponent
    if 0 < point <= 21:
        whole = text[:point].ljust(point, "0")
        return f"{minus}{whole}.{text[point:]}" if len(text) > point else f"{minus}{whole}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    mantissa = text if len(text) == 1 else f"{text[0]}.{text[1:]}"
    return f"{minus}{mantissa}e{point - 1:+d}"


def _in_full(exact: Decimal) -> str:
    """All digits, without zeros at either end and without a point that is not needed."""
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    # By hand: a context would round what has many digits and lose what is very small.
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    exponent += len(text) - len(stripped)
    minus = "-" * sign
    if 0 <= exponent < MAX_ZEROS:
        return f"{minus}{stripped}{'0' * exponent}"
    if -MAX_ZEROS < exponent < 0:
        whole = stripped.rjust(1 - exponent, "0")
        return f"{minus}{whole[:exponent]}.{whole[exponent:]}"
    return f"{minus}{stripped}e{exponent}"


def _text(value: str) -> str:
    written = json.dumps(value, ensure_ascii=False)
    # Python escapes DEL no more than ECMAScript does; half a surrogate pair cannot be hashed.
    written.encode()
    return written
