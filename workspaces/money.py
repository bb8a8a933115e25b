"""Money is an integer number of micro-USD everywhere inside; dollars, cents and quota units exist at the edges only."""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

MICRO_PER_USD = 1_000_000
MICRO_PER_CENT = 10_000
#: The documented quota unit: 500,000 units are one dollar.
MICRO_PER_QUOTA_UNIT = 2
#: The largest amount a field accepts, so that sums stay far inside 64 bits.
MAX_USD = 1_000_000_000


def from_usd(amount: Decimal | float | int | str) -> int:
    """Micro-USD of an amount in dollars, rounded up. Raises ``ValueError`` for what is not a finite amount."""
    try:
        micro = Decimal(str(amount)) * MICRO_PER_USD
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {amount!r}") from error
    if not micro.is_finite():
        raise ValueError(f"not an amount: {amount!r}")
    return int(micro.to_integral_value(ROUND_CEILING))


def to_usd(micro_usd: int) -> Decimal:
    """Dollars, exact to the micro-dollar."""
    return Decimal(micro_usd) / MICRO_PER_USD


def to_quota_units(micro_usd: int) -> int:
    """Documented quota units, rounded down: what is left is never overstated."""
    return micro_usd // MICRO_PER_QUOTA_UNIT
