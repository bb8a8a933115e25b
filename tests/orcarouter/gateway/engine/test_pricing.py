from datetime import UTC, datetime
from decimal import ROUND_CEILING

import orjson
import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from keys.engine.grant import Price, Tier
from orcarouter.gateway.engine import openai, pricing
from orcarouter.gateway.engine.calls import Usage, read_usage
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
    price = Price(150_000, 600_000)
    assert pricing.cost_micro_usd("demo-small", usage, at=AT, own=price) == 4  # 1.5 + 1.8
    assert pricing.cost_micro_usd("gpt-4o-mini", usage, at=AT, own=Price(0, 0)) == 0
    assert pricing.has_price("demo-small", own=price)
    assert not pricing.has_price("demo-small", own=Price(150_000))


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
    sent = exchange(messages=[{"role": "user", "content": parts}])
    asked = pricing.estimated_usage(sent, default_output_tokens=1)
    assert 2 * pricing.TOKENS_A_PART <= asked.input_tokens < 2 * pricing.TOKENS_A_PART + 200
    # 2,833 tokens and 5,667 a tile, of which a wide image has eight.
    assert pricing.estimated_usage(sent, default_output_tokens=1, model="gpt-4o-mini").input_tokens >= 2833 + 8 * 5667


@pytest.mark.parametrize(("kind", "size", "least"), [("file", 5_000_000, 1_000_000), ("input_audio", 5_000_000, 50_000), ("video_url", 1_000, 3_000)])
def test_a_file_counts_by_its_length(kind, size, least):
    part = {"type": kind, kind: {"data": "A" * size}}
    asked = pricing.estimated_usage(exchange(messages=[{"role": "user", "content": [part]}]), default_output_tokens=1)
    assert least <= asked.input_tokens < least + 200
    assert asked.input_audio_tokens == (pytest.approx(least, abs=1) if kind == "input_audio" else 0)


def test_what_hosted_tools_bring_in_and_a_predicted_answer_are_in_the_estimate():
    plain = pricing.estimated_usage(exchange(max_tokens=10), default_output_tokens=1)
    searching = pricing.estimated_usage(exchange(max_tokens=10, web_search_options={}), default_output_tokens=1)
    assert searching.input_tokens - plain.input_tokens == pricing.TOOL_USES * pricing.TOKENS_A_RESULT
    predicted = {"type": "content", "content": "x" * 1000}
    assert pricing.estimated_usage(exchange(max_tokens=10, prediction=predicted), default_output_tokens=1).output_tokens > 10 + 500
    # What was used is not what might have been.
    assert pricing.usage_of_text(exchange(web_search_options={}), 0).input_tokens == plain.input_tokens


@given(st.integers(1, 500), st.integers(0, 500), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)), max_size=3))
def test_less_input_in_a_dearer_tier_does_not_exceed_the_worst_case(inputs, actual, tiers):
    own = Price(4_000_000, 1_000_000, tiers=tuple(Tier(above, price * 1_000_000) for above, price in sorted(dict(tiers).items())))
    worst = pricing.worst_cost_micro_usd("m", Usage(inputs, 5), at=AT, own=own)
    assert pricing.cost_micro_usd("m", Usage(min(actual, inputs), 5), at=AT, own=own) <= worst


def test_a_stream_without_usage_is_counted_by_its_text():
    used = pricing.usage_of_text(exchange(max_tokens=500), 101)
    assert used.output_tokens == 51
    assert used.input_tokens == pricing.estimated_usage(exchange(), default_output_tokens=0).input_tokens


# --- A price of one's own -------------------------------------------------------------------------------------------
OWN = Price(
    1_000_000,
    4_000_000,
    cached_input_per_million_micro_usd=100_000,
    cache_write_per_million_micro_usd=1_250_000,
    reasoning_per_million_micro_usd=3_000_000,
    input_audio_per_million_micro_usd=10_000_000,
    output_audio_per_million_micro_usd=20_000_000,
    per_request_micro_usd=500,
    tools=(("web_search", 10_000),),
    tiers=(Tier(1_000, 2_000_000, 6_000_000), Tier(10_000, 3_000_000)),
)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), 0),
        (Usage(100, 10), 500 + 100 + 40),
        (Usage(100, 10, cached_tokens=50), 500 + 50 + 5 + 40),
        (Usage(100, 10, cache_write_tokens=20), 500 + 80 + 25 + 40),
        (Usage(100, 10, reasoning_tokens=4), 500 + 100 + 6 * 4 + 4 * 3),
        (Usage(100, 10, input_audio_tokens=10, output_audio_tokens=5), 500 + 90 + 100 + 5 * 4 + 5 * 20),
        (Usage(100, 10, tools=(("web_search", 2), ("kb.read", 9))), 500 + 140 + 20_000),
        (Usage(1_000, 10), 500 + 1_000 + 40),  # the tier begins above its number
        (Usage(1_001, 10), 500 + 2_002 + 60),
        (Usage(10_001, 10), 500 + 30_003 + 40),  # a tier leaves open what it does not name
    ],
)
def test_each_part_of_a_price_of_ones_own_counts(usage, cost):
    assert pricing.cost_micro_usd("nobody-sells-this", usage, at=AT, own=OWN) == cost


def test_a_side_left_open_has_the_lists_price_and_a_call_may_cost_extra():
    usage = Usage(input_tokens=1000, output_tokens=1000)
    listed = pricing.cost_micro_usd("gpt-4o-mini", usage, at=AT)
    assert pricing.cost_micro_usd("gpt-4o-mini", usage, at=AT, own=Price(per_request_micro_usd=7)) == listed + 7


def test_searches_cost_what_the_list_asks_for_them():
    plain, searched = Usage(1000, 100), Usage(1000, 100, tools=(("web_search", 3),))
    assert pricing.cost_micro_usd("claude-sonnet-4-5", searched, at=AT) == pricing.cost_micro_usd("claude-sonnet-4-5", plain, at=AT) + 30_000


def test_a_request_that_the_list_charges_by_the_piece_is():
    per_request = calc_price(Counted(input_tokens=1000), "sonar", provider_id="perplexity").total_price * 1_000_000
    assert pricing.cost_micro_usd("perplexity/sonar", Usage(input_tokens=1000), at=AT) == per_request > 1000


PARTS = st.floats(0, 1)


@given(st.sampled_from(["gpt-4o-mini", "claude-sonnet-4-5", "perplexity/sonar-deep-research", "own"]), TOKENS, TOKENS, PARTS, PARTS, PARTS)
def test_the_worst_case_is_not_exceeded_whatever_the_tokens_turn_out_to_be(model, inputs, outputs, cached, written, reasoned):
    own = OWN if model == "own" else None
    of_cache = int(inputs * cached)
    actual = Usage(
        int(inputs),
        int(outputs),
        cached_tokens=of_cache,
        cache_write_tokens=int((inputs - of_cache) * written),
        reasoning_tokens=int(outputs * reasoned),
        tools=(("web_search", 2),),
    )
    estimated = Usage(input_tokens=inputs, output_tokens=outputs, tools=(("web_search", 5),))
    cost = pricing.cost_micro_usd(model, actual, at=AT, own=own)
    assert cost <= pricing.worst_cost_micro_usd(model, estimated, at=AT, own=own)


def test_hosted_tools_sound_and_their_limits_are_in_the_estimate():
    hosted = [{"type": "web_search", "name": "web_search", "max_uses": 2}]
    assert pricing.estimated_usage(exchange(tools=hosted), default_output_tokens=1).tools == (("web_search", 2),)
    ours = [{"type": "function", "function": {"name": "web_search"}}]
    assert pricing.estimated_usage(exchange(tools=ours), default_output_tokens=1).tools == ()
    twice = [{"type": "mcp", "server_label": "a"}, {"type": "mcp", "server_label": "b"}, {"type": "code_interpreter"}, {"type": "web_fetch_20250910"}]
    counted = dict(pricing.estimated_usage(exchange(tools=twice), default_output_tokens=1).tools)
    assert (counted["mcp"], counted["code_interpreter"], counted["web_fetch"]) == (2 * pricing.TOOL_USES, pricing.TOOL_USES, pricing.TOOL_USES)
    for limit, sources in (({}, pricing.SOURCES), ({"max_search_results": 3}, 3), ({"max_search_results": -1}, pricing.SOURCES)):
        assert pricing.estimated_usage(exchange(search_parameters=limit), default_output_tokens=1).tools == (("search_parameters", sources),)
    assert pricing.estimated_usage(exchange(web_search_options=None, search_parameters=None), default_output_tokens=1).tools == ()
    asked = pricing.estimated_usage(exchange(web_search_options={}), default_output_tokens=1)
    assert dict(asked.tools)["web_search"] == pricing.TOOL_USES
    sound = [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
    heard = pricing.estimated_usage(exchange(messages=[{"role": "user", "content": sound}], modalities=["text", "audio"]), default_output_tokens=9)
    assert (heard.input_audio_tokens, heard.output_audio_tokens) == (pricing.TOKENS_A_PART, 9)


@pytest.mark.parametrize(
    ("told", "tools"),
    [
        ({}, ()),
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}, (("web_search", 2), ("web_fetch", 1))),
        ({"server_side_tool_usage": {"SERVER_SIDE_TOOL_X_SEARCH": 4}}, (("x_search", 4),)),
        ({"server_side_tool_usage_details": {"code_interpreter_calls": 2, "mcp_calls": 1}}, (("code_interpreter", 2), ("mcp", 1))),
        ({"num_search_queries": 3, "server_tool_use": {"web_search_requests": 3}}, (("web_search", 3),)),
        ({"num_sources_used": 7}, (("search_parameters", 7),)),
        ({"num_sources_used": True, "num_search_queries": -1, "server_tool_use": "many", "server_side_tool_usage": [1]}, ()),
    ],
)
def test_hosted_tools_are_read_by_the_names_that_providers_give_them(told, tools):
    used = read_usage(orjson.dumps({"prompt_tokens": 3, "completion_tokens": 2, **told}))
    assert used is not None
    assert (used.input_tokens, used.tools) == (3, tools)


def test_a_hosted_tool_costs_what_its_price_says_each_use():
    own = Price(0, 0, tools=(("code_interpreter", 30_000), ("web_fetch", 10_000)))
    used = Usage(1, 1, tools=(("code_interpreter", 2), ("web_fetch", 1), ("mcp", 9)))
    assert pricing.cost_micro_usd("nobody-sells-this", used, at=AT, own=own) == 70_000
