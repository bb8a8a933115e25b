"""What a call cost: our own price where there is one, the list's elsewhere, and never 0 for a price that nobody knows."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from keys.engine.grant import Price, Route
from orcarouter.gateway import record
from orcarouter.gateway.engine.calls import Usage

USED = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def cost(model: str, price: Price | None, used: Usage = USED) -> int | None:
    route = Route(1, "provider", "https://api.example.com/v1", model, "", price)
    return record.cost_of(SimpleNamespace(route=route, started_at=datetime(2026, 1, 1, tzinfo=UTC)), used)


def test_an_unknown_price_is_unknown_on_either_side():
    assert cost("nobody-sells-this", None) is None
    assert cost("nobody-sells-this", Price(5, None)) is None
    assert cost("nobody-sells-this", Price(None, 5)) is None
    assert cost("nobody-sells-this", Price(0, 0)) == 0
    assert cost("nobody-sells-this", Price(5, 7)) == 12


def test_a_side_without_a_price_of_our_own_has_the_lists():
    asked, told = Usage(input_tokens=1_000_000), Usage(output_tokens=1_000_000)
    listed_in, listed_out = cost("gpt-4o-mini", None, asked), cost("gpt-4o-mini", None, told)
    assert cost("gpt-4o-mini", Price(1_000, None)) == 1_000 + listed_out
    assert cost("gpt-4o-mini", Price(None, 1_000)) == listed_in + 1_000
    assert cost("gpt-4o-mini", None) == listed_in + listed_out


@pytest.mark.parametrize("price", [None, Price(5, None), Price(5, 7)])
def test_nothing_used_costs_nothing(price):
    assert cost("nobody-sells-this", price, record.NOTHING) == 0
