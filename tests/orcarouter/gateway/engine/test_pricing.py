from datetime import UTC, datetime
from decimal import ROUND_CEILING

import orjson
import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from orcarouter.gateway.engine import openai, pricing
from orcarouter.gateway.engine.calls import Usage
from orcarouter.gateway.engine.exchange import Exchange

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def exchange(**fields) -> Exchange:
    found = openai.parse(orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 100}], **fields}))
    assert isinstance(found, Exchange)
    return found


def test_a_cost_is_rounded_up_to_a_whole_micro_usd():
    assert pricing.cost_micro_usd("gpt-4o-mini", Usage(input_tokens=1), at=AT) == 1  # 0.15
    assert pricing.cost_micro_usd("gpt-4o-mini", Usage(input_tokens=1000, output_tokens=1000), at=AT) == 750
    assert pricing.cost_micro_usd("gpt-4o-mini", Usage(), at=AT) == 0


def test_cached_tokens_cost_what_the_provider_asks_for_them():
    assert pricing.cost_micro_usd("gpt-4o-mini", Usage(input_tokens=1000, cached_tokens=1000), at=AT) == 75


def test_an_unknown_price_is_none_and_an_override_makes_it_known():
    usage = Usage(input_tokens=10, output_tokens=3)
    assert pricing.cost_micro_usd("demo-small", usage, at=AT) is None
    assert not pricing.has_price("demo-small")
    price = pricing.ModelPrice(input_micro_usd_per_million=150_000, output_micro_usd_per_million=600_000)
    assert pricing.cost_micro_usd("demo-small", usage, at=AT, override=price) == 4  # 1.5 + 1.8
    assert pricing.cost_micro_usd("gpt-4o-mini", usage, at=AT, override=pricing.ModelPrice(0, 0)) == 0
    assert pricing.has_price("demo-small", override=price)


def test_a_model_is_found_with_its_provider_in_front_and_by_the_address_of_who_sells_it():
    usage = Usage(input_tokens=1000)
    assert pricing.cost_micro_usd("openai/gpt-4o-mini", usage, at=AT) == 150
    assert pricing.cost_micro_usd("gpt-4o-mini", usage, at=AT, base_url="https://api.openai.com/v1") == 150
    assert pricing.cost_micro_usd("gpt-4o-mini", usage, at=AT, base_url="https://models.example/v1") == 150


TOKENS = st.integers(0, 2_000_000)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5", "o3-mini", "claude-sonnet-4-5", "gemini-2.5-pro", "deepseek-chat", "mistral-large-latest"])
@given(TOKENS, TOKENS, st.floats(0, 1), st.floats(0, 1))
def test_costs_agree_with_the_price_list_s_own_arithmetic(model, inputs, outputs, cached, reasoned):
    usage = Usage(inputs, outputs, cached_tokens=int(inputs * cached), reasoning_tokens=int(outputs * reasoned))
    counted = Counted(input_tokens=inputs, output_tokens=outputs, cache_read_tokens=usage.cached_tokens, output_reasoning_tokens=usage.reasoning_tokens)
    listed = calc_price(counted, model, genai_request_timestamp=AT).total_price * 1_000_000
    assert pricing.cost_micro_usd(model, usage, at=AT) == int(listed.to_integral_value(ROUND_CEILING))


def test_an_estimate_counts_what_is_sent_and_all_that_may_be_answered():
    plain = pricing.estimated_usage(exchange(max_tokens=50, n=2), default_output_tokens=1000)
    assert plain.output_tokens == 100
    assert 50 + 8 <= plain.input_tokens <= 50 + 8 + 20
    assert pricing.estimated_usage(exchange(), default_output_tokens=1000).output_tokens == 1000
    tools = [{"type": "function", "function": {"name": "a", "description": "d" * 1000}}]
    assert pricing.estimated_usage(exchange(tools=tools), default_output_tokens=1).input_tokens > plain.input_tokens + 500


def test_an_image_counts_as_its_worst_case_and_not_as_its_bytes():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    parts = [{"type": "text", "text": "what is this?"}, image, "junk"]
    asked = pricing.estimated_usage(exchange(messages=[{"role": "user", "content": parts}]), default_output_tokens=1)
    assert 2 * pricing.TOKENS_A_PART <= asked.input_tokens < 2 * pricing.TOKENS_A_PART + 200


def test_a_stream_without_usage_is_counted_by_its_text():
    used = pricing.usage_of_text(exchange(max_tokens=500), 101)
    assert used.output_tokens == 51
    assert used.input_tokens == pricing.estimated_usage(exchange(), default_output_tokens=0).input_tokens
