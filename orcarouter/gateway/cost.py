"""What a call costs on a provider's route: the workspace's own price where it has one, else the list price."""

from collections.abc import Sequence
from datetime import datetime

from keys.engine.grant import Price, Route
from orcarouter.gateway.engine import pricing
from orcarouter.gateway.engine.calls import Usage
from orcarouter.gateway.engine.exchange import Exchange

#: What an answer may be long when the client sets no limit; a model's own default is for later.
DEFAULT_OUTPUT_TOKENS = 4096


def cost_micro_usd(route: Route, used: Usage, *, at: datetime) -> int | None:
    """The cost, rounded up; None where there is no price."""
    price = route.price
    if price is None or (price.input_per_million_micro_usd is not None and price.output_per_million_micro_usd is not None):
        return _cost_of(route, used, at)
    # One side has a price of our own, the other the list price: each is counted for itself.
    costs = [_cost_of(route, side, at) for side in _sides(used)]
    return None if None in costs else sum(cost for cost in costs if cost)


def estimate_micro_usd(routes: Sequence[Route], exchange: Exchange, *, at: datetime) -> int | None:
    """What the call may cost at most, whichever of the routes that may be asked answers; None where one has no price."""
    used = pricing.estimated_usage(exchange, default_output_tokens=DEFAULT_OUTPUT_TOKENS)
    costs = [cost_micro_usd(route, used, at=at) for route in routes[:2]]
    return None if None in costs else max((cost for cost in costs if cost), default=0)


def _cost_of(route: Route, used: Usage, at: datetime) -> int | None:
    override = _override(route.price, used)
    return pricing.cost_micro_usd(route.upstream_model, used, at=at, override=override, base_url=None if route.is_demo else route.base_url)


def _override(price: Price | None, used: Usage) -> pricing.ModelPrice | None:
    """Our own price, if it has one for each side that was used."""
    if price is None:
        return None
    sides = ((price.input_per_million_micro_usd, used.input_tokens), (price.output_per_million_micro_usd, used.output_tokens))
    if any(own is None and tokens for own, tokens in sides):
        return None
    return pricing.ModelPrice(price.input_per_million_micro_usd or 0, price.output_per_million_micro_usd or 0)


def _sides(used: Usage) -> tuple[Usage, Usage]:
    asked = Usage(
        input_tokens=used.input_tokens,
        cached_tokens=used.cached_tokens,
        cache_write_tokens=used.cache_write_tokens,
        input_audio_tokens=used.input_audio_tokens,
    )
    return asked, Usage(output_tokens=used.output_tokens, reasoning_tokens=used.reasoning_tokens, output_audio_tokens=used.output_audio_tokens)
