"""Tokens into money: integer micro-USD, rounded up, and None (never 0) where no price is known.

List prices come from genai-prices as it was installed; nothing here asks the network for newer ones.
"""

from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from orcarouter.gateway.engine.calls import Usage
from orcarouter.gateway.engine.exchange import Exchange

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

BYTES_A_TOKEN = 2  # of text, counted high: a reservation may exceed the cost, not the other way round
TOKENS_A_MESSAGE = 8
TOKENS_A_PART = 3_000  # the worst case of an image, a file or a clip
KNOWN_MODELS = 4_096


class ModelPrice(msgspec.Struct, frozen=True):
    """A price set by hand, in micro-USD for a million tokens; cached tokens cost as much as others."""

    input_micro_usd_per_million: int
    output_micro_usd_per_million: int


def warm() -> None:
    """Load the price list (about 0.2 s), so that no call waits for it."""
    _listed("gpt-4o-mini", None)


def cost_micro_usd(model: str, usage: Usage, *, at: datetime, override: ModelPrice | None = None, base_url: str | None = None) -> int | None:
    """What ``usage`` of a model costs, or None where its price is unknown.

    ``model`` is the name the provider knows, with or without ``provider/`` in front; ``base_url`` says whose price it
    is where several sell it. ``at`` matters for prices that change over time.
    """
    if override is not None:
        millionths = usage.input_tokens * override.input_micro_usd_per_million + usage.output_tokens * override.output_micro_usd_per_million
        return -(-millionths // 1_000_000)
    found = _listed(model, base_url)
    if found is None:
        return None
    provider, listed = found
    flat = _flat_prices(model, base_url)
    spent = _at_flat_prices(usage, flat) if flat and not usage.input_audio_tokens and not usage.output_audio_tokens else None
    if spent is None:
        spent = _at_listed_prices(usage, provider, listed, at)
    return None if spent is None else int(spent.to_integral_value(ROUND_CEILING))


def has_price(model: str, *, override: ModelPrice | None = None, base_url: str | None = None) -> bool:
    """Whether calls of this model can be paid from a ceiling."""
    return override is not None or _listed(model, base_url) is not None


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
    named = {name: value for name, value in vars(prices).items() if value is not None and name.endswith("_mtok")}
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
    )
    try:
        usd = listed.calc_price(counted, provider, genai_request_timestamp=at).total_price
    except ValueError:  # counts that contradict one another
        return None
    return usd * 1_000_000


def estimated_usage(exchange: Exchange, *, default_output_tokens: int) -> Usage:
    """What the call may use at most, to be reserved before it is made.

    Input: a token for two bytes of what is sent (names, tools and JSON included, counted as written), eight a message,
    and the worst case for each part that is not text instead of its bytes. Output: the client's limit, or the model's
    default, for each of ``n`` choices.
    """
    sent = sum(len(exchange.members[name]) for name in ("tools", "functions", "response_format") if name in exchange.members)
    tokens = len(exchange.messages) * TOKENS_A_MESSAGE
    for message in exchange.messages:
        bytes_in_parts, parts = _other_parts(message)
        sent += len(message) - bytes_in_parts
        tokens += parts * TOKENS_A_PART
    output = (exchange.max_output_tokens or default_output_tokens) * exchange.choices
    return Usage(input_tokens=tokens + -(-sent // BYTES_A_TOKEN), output_tokens=output)


def _is_text(part: msgspec.Raw) -> bool:
    value = orjson.loads(bytes(part))
    return isinstance(value, dict) and isinstance(value.get("text"), str)


_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_CONTENT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _other_parts(message: msgspec.Raw) -> tuple[int, int]:
    """Bytes and number of the parts of a message's content that are not text."""
    content = _CONTENT.decode(message).get("content")
    if content is None or not bytes(content).startswith(b"["):
        return 0, 0
    others = [part for part in _PARTS.decode(content) if not _is_text(part)]
    return sum(len(part) for part in others), len(others)


def usage_of_text(exchange: Exchange, text_bytes: int) -> Usage:
    """What a call used whose provider did not say: counted as an estimate is, from what was sent and what came."""
    asked = estimated_usage(exchange, default_output_tokens=0)
    return Usage(input_tokens=asked.input_tokens, output_tokens=-(-text_bytes // BYTES_A_TOKEN))
