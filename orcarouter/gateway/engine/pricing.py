"""Tokens into money: integer micro-USD, rounded up, and None (never 0) where no price is known.

List prices come from genai-prices as it was installed; nothing here asks the network for newer ones.
"""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from keys.engine.grant import Price
from orcarouter.gateway.engine.calls import Usage
from orcarouter.gateway.engine.exchange import Exchange

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

BYTES_A_TOKEN = 2  # of text, counted high: a reservation may exceed the cost, not the other way round
TOKENS_A_MESSAGE = 8
TOKENS_A_PART = 3_000  # the worst case of an image; of a file or a clip the least
#: Models by a part of their name that make more of an image: 2,833 tokens and 5,667 for each of at most eight tiles.
_DEAR_IMAGES = (("4o-mini", 48_169),)
#: Bytes of a file, as sent in base64, and of sound or film, that make a token at least.
FILE_BYTES_A_TOKEN, CLIP_BYTES_A_TOKEN = 5, 100
TOKENS_A_RESULT = 5_000  # what one use of a hosted tool may add to the input
KNOWN_MODELS = 4_096
MILLION = 1_000_000
#: Uses of a hosted tool that one call is expected to make at most where it names no limit (``max_uses``).
TOOL_USES = 5
#: Sources of a search that are paid one by one, where the call names no limit.
SOURCES = 20
#: What a hosted tool's type may end with: ``web_search_20250305``, ``web_search_preview``.
_VERSION = re.compile(r"(_preview)?(_[0-9]{4}_?[0-9]{2}_?[0-9]{2})?$")
NOTHING_USED = Usage()
#: Millionths of a micro-USD of one side of a usage, at the prices of that side's parts.
Count = Callable[[Usage, tuple[int, ...]], int]


def warm() -> None:
    """Load the price list (about 0.2 s), so that no call waits for it."""
    _listed("gpt-4o-mini", None)


def cost_micro_usd(model: str, usage: Usage, *, at: datetime, own: Price | None = None, base_url: str | None = None) -> int | None:
    """What ``usage`` of a model costs, or None where its price is unknown.

    ``model`` is the name the provider knows, with or without ``provider/`` in front; ``base_url`` says whose price it
    is where several sell it. ``at`` matters for prices that change over time. ``own`` is the workspace's price: a side
    (input, output) that it leaves open has the list price, each side rounded up for itself.
    """
    if own is None:
        return _listed_cost(model, usage, at, base_url)
    return _own_cost(own, usage, _input_millionths, _output_millionths, partial(_listed_cost, model, at=at, base_url=base_url))


def worst_cost_micro_usd(model: str, usage: Usage, *, at: datetime, own: Price | None = None, base_url: str | None = None) -> int | None:
    """What ``usage`` may cost at most, whichever kinds its tokens turn out to be: cached, written to a cache, reasoning, audio.

    Nor does it cost more with less input, should that fall into a tier which is dearer.
    """
    if (
        own is not None
        and own.tiers
        and (lower := max((tier.above_input_tokens for tier in own.tiers if tier.above_input_tokens < usage.input_tokens), default=None))
    ):
        shorter = msgspec.structs.replace(usage, input_tokens=lower)
        costs = [_worst_cost_micro_usd(model, usage, at, own, base_url), worst_cost_micro_usd(model, shorter, at=at, own=own, base_url=base_url)]
        return None if None in costs else max(cost for cost in costs if cost is not None)
    return _worst_cost_micro_usd(model, usage, at, own, base_url)


def _worst_cost_micro_usd(model: str, usage: Usage, at: datetime, own: Price | None, base_url: str | None) -> int | None:
    if own is None:
        return _worst_listed_cost(model, usage, at, base_url)
    return _own_cost(own, usage, _worst_input_millionths, _worst_output_millionths, partial(_worst_listed_cost, model, at=at, base_url=base_url))


def has_price(model: str, *, own: Price | None = None, base_url: str | None = None) -> bool:
    """Whether calls of this model can be paid from a ceiling."""
    whole = own is not None and own.input_per_million_micro_usd is not None and own.output_per_million_micro_usd is not None
    return whole or _listed(model, base_url) is not None


# --- The workspace's own price: millionths of a micro-USD ---------------------------------------------------------------
def _own_cost(own: Price, usage: Usage, input_of: Count, output_of: Count, listed_cost: Callable[[Usage], int | None]) -> int | None:
    """What a side without a price of its own costs is asked of ``listed_cost``, for that side alone."""
    spent = own.per_request_micro_usd * MILLION if usage != NOTHING_USED else 0
    if usage.tools:
        spent += sum(count * price for name, price in own.tools for used, count in usage.tools if used == name) * MILLION
    asked, told = own.sides_of(usage.input_tokens)
    if asked is not None and told is not None:
        return -(-(spent + input_of(usage, asked) + output_of(usage, told)) // MILLION)
    total = 0
    for prices, count, side in ((asked, input_of, _asked), (told, output_of, _told)):
        if prices is not None:
            spent += count(usage, prices)
        elif (used := side(usage)) != NOTHING_USED:
            listed = listed_cost(used)
            if listed is None:
                return None
            total += listed
    return total + -(-spent // MILLION)


def _asked(used: Usage) -> Usage:
    """What was asked as if it were all; hosted tools belong to neither side."""
    return Usage(
        input_tokens=used.input_tokens,
        cached_tokens=used.cached_tokens,
        cache_write_tokens=used.cache_write_tokens,
        input_audio_tokens=used.input_audio_tokens,
    )


def _told(used: Usage) -> Usage:
    return Usage(output_tokens=used.output_tokens, reasoning_tokens=used.reasoning_tokens, output_audio_tokens=used.output_audio_tokens)


def _input_millionths(used: Usage, prices: tuple[int, ...]) -> int:
    plain, cached, written, audio = prices
    if not (used.cached_tokens or used.cache_write_tokens or used.input_audio_tokens):
        return used.input_tokens * plain
    # Audio that was cached is counted as cached: the parts never exceed the whole.
    heard = min(used.input_audio_tokens, used.input_tokens - used.cached_tokens - used.cache_write_tokens)
    fresh = used.input_tokens - used.cached_tokens - used.cache_write_tokens - heard
    return fresh * plain + used.cached_tokens * cached + used.cache_write_tokens * written + heard * audio


def _output_millionths(used: Usage, prices: tuple[int, ...]) -> int:
    plain, reasoning, audio = prices
    if not (used.reasoning_tokens or used.output_audio_tokens):
        return used.output_tokens * plain
    said = min(used.output_audio_tokens, used.output_tokens - used.reasoning_tokens)
    return (used.output_tokens - used.reasoning_tokens - said) * plain + used.reasoning_tokens * reasoning + said * audio


def _worst_input_millionths(used: Usage, prices: tuple[int, ...]) -> int:
    plain, cached, written, audio = prices
    worst = used.input_tokens * max(plain, cached, written)
    if not used.input_audio_tokens:
        return worst
    heard = min(used.input_audio_tokens, used.input_tokens)
    return max(worst, (used.input_tokens - heard) * plain + heard * audio)


def _worst_output_millionths(used: Usage, prices: tuple[int, ...]) -> int:
    plain, reasoning, audio = prices
    worst = used.output_tokens * max(plain, reasoning)
    if not used.output_audio_tokens:
        return worst
    said = min(used.output_audio_tokens, used.output_tokens)
    return max(worst, (used.output_tokens - said) * plain + said * audio)


# --- The list price -------------------------------------------------------------------------------------------------------
def _listed_cost(model: str, usage: Usage, at: datetime, base_url: str | None) -> int | None:
    found = _listed(model, base_url)
    if found is None:
        return None if usage != NOTHING_USED else 0
    provider, listed = found
    flat = _flat_prices(model, base_url)
    spent = _at_flat_prices(usage, flat) if flat and not usage.input_audio_tokens and not usage.output_audio_tokens and not usage.tools else None
    if spent is None:
        spent = _at_listed_prices(usage, provider, listed, at)
    return None if spent is None else int(spent.to_integral_value(ROUND_CEILING))


_KINDS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens")


def _worst_listed_cost(model: str, usage: Usage, at: datetime, base_url: str | None) -> int | None:
    flat = _flat_prices(model, base_url)
    if flat is not None and not usage.input_audio_tokens and not usage.output_audio_tokens and not usage.tools:
        plain, output, cached, written = flat
        worst = usage.input_tokens * max(plain, cached, written) + usage.output_tokens * output
        return int(worst.to_integral_value(ROUND_CEILING))
    inputs, outputs = usage.input_tokens, usage.output_tokens
    asked = [Usage(), Usage(cached_tokens=inputs), Usage(cache_write_tokens=inputs), Usage(input_audio_tokens=min(usage.input_audio_tokens, inputs))]
    told = [Usage(), Usage(reasoning_tokens=outputs), Usage(output_audio_tokens=min(usage.output_audio_tokens, outputs))]
    costs = []
    for of_input, of_output in product(asked, told):
        kinds = {name: getattr(of_input, name) or getattr(of_output, name) for name in _KINDS}
        cost = _listed_cost(model, Usage(input_tokens=inputs, output_tokens=outputs, tools=usage.tools, **kinds), at, base_url)
        if cost is None:
            return None
        costs.append(cost)
    return max(costs)


@lru_cache(maxsize=KNOWN_MODELS)
def _listed(model: str, base_url: str | None) -> "tuple[Provider, ModelInfo] | None":
    from genai_prices.data_snapshot import get_snapshot  # here: its import costs as much as the rest of a start

    prefix, _, rest = model.partition("/")
    ways: list[tuple[str, str | None, str | None]] = [(model, None, base_url)] if base_url else []
    ways += [(model, None, None), *([(rest, prefix, None)] if rest else [])]
    for name, provider_id, url in ways:
        try:
            return get_snapshot().find_provider_model(name, None, provider_id, url)
        except LookupError:
            continue
    return None


#: What only calls with hosted tools pay.
_FOR_TOOLS = ("web_searches_kcount", "storage_searches_kcount")
_FLAT = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


@lru_cache(maxsize=KNOWN_MODELS)
def _flat_prices(model: str, base_url: str | None) -> tuple[Decimal, Decimal, Decimal, Decimal] | None:
    """USD per million tokens, which is micro-USD per token: input, output, cached, cache written. None where the price
    has tiers or hours, or splits what is summed here; the library then works it out (70 us against 2)."""
    from genai_prices.types import ModelPrice as ListedPrice

    found = _listed(model, base_url)
    prices: Any = found[1].prices if found else None
    if not isinstance(prices, ListedPrice):
        return None
    named = {name: value for name, value in vars(prices).items() if value is not None and name not in _FOR_TOOLS}
    others = [name for name in named if name not in _FLAT and "audio" not in name]
    if others or "input_mtok" not in named or "output_mtok" not in named or not all(isinstance(value, Decimal) for value in named.values()):
        return None
    plain = named["input_mtok"]
    return plain, named["output_mtok"], named.get("cache_read_mtok", plain), named.get("cache_write_mtok", plain)


def _at_flat_prices(usage: Usage, prices: tuple[Decimal, Decimal, Decimal, Decimal]) -> Decimal:
    plain, output, cached, written = prices
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    return fresh * plain + usage.output_tokens * output + usage.cached_tokens * cached + usage.cache_write_tokens * written


def _at_listed_prices(usage: Usage, provider: "Provider", listed: "ModelInfo", at: datetime) -> Decimal | None:
    from genai_prices import Usage as Counted

    counted = Counted(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        web_searches=sum(count for name, count in usage.tools if name == "web_search") or None,
    )
    try:
        usd = listed.calc_price(counted, provider, genai_request_timestamp=at).total_price
    except ValueError:  # counts that contradict one another
        return None
    return usd * 1_000_000


def estimated_usage(exchange: Exchange, *, default_output_tokens: int, model: str = "") -> Usage:
    """What the call may use at most, to be reserved before it is made. ``model`` is the name that the provider knows.

    Input: what is sent, counted high, and what hosted tools may bring in. Output: the client's limit, or the model's default, for each
    of ``n`` choices, and a predicted answer, which is paid for where it turns out otherwise. Hosted tools: their ``max_uses``, else ``TOOL_USES``.
    """
    members = exchange.members
    sent, heard = _sent(exchange, model)
    predicted = -(-len(members["prediction"]) // BYTES_A_TOKEN) if _is_given(exchange, "prediction") else 0
    output = ((exchange.max_output_tokens or default_output_tokens) + predicted) * exchange.choices
    tools, uses = _tool_uses(exchange)
    speaks = "audio" in members or ("modalities" in members and b"audio" in bytes(members["modalities"]))
    return Usage(
        input_tokens=sent + uses * TOKENS_A_RESULT, output_tokens=output, input_audio_tokens=heard, output_audio_tokens=output if speaks else 0, tools=tools
    )


def _sent(exchange: Exchange, model: str = "") -> tuple[int, int]:
    """Input tokens, and how many of them are sound: a token for two bytes of what is sent (names, tools and JSON included, counted as
    written), eight a message, and instead of the bytes of each part that is not text its worst case."""
    sent = sum(map(len, exchange.messages))
    for name in ("tools", "functions", "response_format"):
        if name in exchange.members:
            sent += len(exchange.members[name])
    tokens, heard = len(exchange.messages) * TOKENS_A_MESSAGE, 0
    for place in exchange.in_parts:
        bytes_in_parts, in_parts, sound = _other_parts(exchange.messages[place], model)
        sent -= bytes_in_parts
        tokens += in_parts
        heard += sound
    return tokens + -(-sent // BYTES_A_TOKEN), heard


#: What has a provider search beside its tools.
_SEARCHES = frozenset({"web_search_options", "search_parameters"})


def _tool_uses(exchange: Exchange) -> tuple[tuple[tuple[str, int], ...], int]:
    """How often each hosted tool may be used, whatever name its price has, and how often all; functions are run by the agent, and not paid here."""
    if not exchange.hosted and _SEARCHES.isdisjoint(exchange.members):
        return (), 0
    found: Counter[str] = Counter()
    total = 0
    for tool in exchange.hosted:
        uses = tool.max_uses or TOOL_USES
        total += uses
        # Two of a kind are used as often as both.
        found.update(dict.fromkeys({tool.type, _VERSION.sub("", tool.type), tool.name or tool.type}, uses))
    if _is_given(exchange, "web_search_options"):
        total += 0 if found["web_search"] else TOOL_USES
        found["web_search"] = found["web_search"] or TOOL_USES
    if _is_given(exchange, "search_parameters"):
        found["search_parameters"] = _asked_sources(exchange.members["search_parameters"]) or SOURCES
    return tuple(found.items()), total


def _is_given(exchange: Exchange, name: str) -> bool:
    return name in exchange.members and bytes(exchange.members[name]) != b"null"


def _asked_sources(parameters: msgspec.Raw) -> int | None:
    """How many sources a search may give that are paid one by one."""
    value = orjson.loads(bytes(parameters))
    most = value.get("max_search_results") if isinstance(value, dict) else None
    return most if type(most) is int and most > 0 else None


def _is_text(part: msgspec.Raw) -> bool:
    value = orjson.loads(bytes(part))
    return isinstance(value, dict) and isinstance(value.get("text"), str)


_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_CONTENT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Part(msgspec.Struct):
    type: Any = None


_PART = msgspec.json.Decoder(_Part)


def _other_parts(message: msgspec.Raw, model: str) -> tuple[int, int, int]:
    """Bytes and tokens of the parts that are not text of a message in parts, and how many of the tokens are sound."""
    image_tokens = next((tokens for part, tokens in _DEAR_IMAGES if part in model), TOKENS_A_PART)
    size = tokens = heard = 0
    for part in [part for part in _PARTS.decode(_CONTENT.decode(message)["content"]) if not _is_text(part)]:
        kind = _kind(part)
        if "image" in kind:
            counted = image_tokens
        else:
            counted = max(TOKENS_A_PART, len(part) // (FILE_BYTES_A_TOKEN if kind in ("file", "document", "input_file") else CLIP_BYTES_A_TOKEN))
        size += len(part)
        tokens += counted
        heard += counted if "audio" in kind or b"audio" in bytes(part)[:4096] else 0
    return size, tokens, heard


def _kind(part: msgspec.Raw) -> str:
    try:
        return str(_PART.decode(part).type)
    except msgspec.ValidationError:
        return ""


def usage_of_text(exchange: Exchange, text_bytes: int) -> Usage:
    """What a call used whose provider did not say: counted as an estimate is, from what was sent and what came."""
    # No more of hosted tools than is known: they are counted where the provider says so.
    return Usage(input_tokens=_sent(exchange)[0], output_tokens=-(-text_bytes // BYTES_A_TOKEN))
