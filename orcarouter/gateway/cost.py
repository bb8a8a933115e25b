"""What a call costs on a provider's route: the workspace's own price where it has one, else the list price."""

from collections.abc import Sequence
from datetime import datetime

from keys.engine.grant import Route
from orcarouter.gateway.engine import pricing
from orcarouter.gateway.engine.calls import Usage
from orcarouter.gateway.engine.exchange import Exchange

#: What an answer may be long when neither the client nor the workspace's price of the model sets a limit.
DEFAULT_OUTPUT_TOKENS = 4096


def cost_micro_usd(route: Route, used: Usage, *, at: datetime) -> int | None:
    """The cost, rounded up; None where there is no price."""
    return pricing.cost_micro_usd(route.upstream_model, used, at=at, own=route.price, base_url=_seller(route))


def estimate_micro_usd(routes: Sequence[Route], exchange: Exchange, *, at: datetime) -> int | None:
    """What the call may cost at most, whichever of the routes that may be asked answers; None where one has no price."""
    worst = 0
    for route in routes[:2]:
        default = (route.price and route.price.default_output_tokens) or DEFAULT_OUTPUT_TOKENS
        used = pricing.estimated_usage(exchange, default_output_tokens=default, model=route.upstream_model)
        cost = pricing.worst_cost_micro_usd(route.upstream_model, used, at=at, own=route.price, base_url=_seller(route))
        if cost is None:
            return None
        worst = max(worst, cost)
    return worst


def _seller(route: Route) -> str | None:
    return None if route.is_demo else route.base_url
