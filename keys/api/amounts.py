"""Money as clients write it: US dollars, a number."""

from decimal import Decimal

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from workspaces import money


@extend_schema_field({"type": "number", "minimum": 0, "maximum": money.MAX_USD})
class Dollars(serializers.Field):
    """US dollars outside, micro-USD inside. Six places count; what is finer is rounded up."""

    default_error_messages = {"amount": f"An amount in US dollars, from 0 to {money.MAX_USD:,}."}

    def to_internal_value(self, data: object) -> int:
        # Compared before anything is computed: NaN and infinity are no amounts.
        if isinstance(data, bool) or not isinstance(data, int | float) or not 0 <= data <= money.MAX_USD:
            self.fail("amount")
        return money.from_usd(Decimal(str(data)))

    def to_representation(self, value: int) -> int | float:
        return shown(value)


def shown(micro_usd: int) -> int | float:
    """Dollars as a JSON number: 25, 0.5."""
    whole, rest = divmod(micro_usd, money.MICRO_PER_USD)
    return float(money.to_usd(micro_usd)) if rest else whole
