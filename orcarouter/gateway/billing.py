"""What a key reads of its money: one call by its id, and the summaries that OpenAI's own clients know.

A key whose money is spent may read; one that is not valid, or asks from elsewhere, may not. Source: spec/platform.md 6.3.
"""

import logging
import time
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs

import hiredis
import orjson

from keys import lookups
from keys.engine import scope
from keys.engine.grant import Grant
from keys.models import Usage
from orcarouter.gateway import callers
from orcarouter.gateway.link import Away
from orcarouter.gateway.request import Request
from orcarouter.gateway.state import State
from workspaces import errors, money
from workspaces.times import rfc3339

logger = logging.getLogger(__name__)

#: Look-ups a minute for each person, over all of their keys.
LOOKUPS_A_MINUTE = 120
#: What clients of these routes take for "no limit", in dollars.
UNLIMITED_USD = 100_000_000
_NO_STORE = [(b"cache-control", b"no-store")]
# KEYS[1] the count of a minute. Answers how many there were, this one included.
_COUNT = "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('EXPIRE', KEYS[1], 120) end return n"


async def generation(state: State, request: Request) -> None:
    """``GET /v1/generation?id=``: a finished call. 404 for one that is another's, or not settled yet."""
    grant = await _grant(state, request)
    request_id = _query(request, {"id"}).get("id", "")
    if not request_id or len(request_id) > 128 or not request_id.isprintable():
        raise errors.ValidationFailed("Give the id of a call, as X-Orca-Request-Id had it.", param="id")
    await _count(state, grant)
    found = await state.read(lookups.generation, grant.workspace_id, grant.key_id, request_id)
    if found is None:
        raise errors.NotFound("There is no such call, or it is not settled yet.", param="id")
    await request.answer(200, orjson.dumps({"data": shown(found)}), _NO_STORE)


async def usage(state: State, request: Request) -> None:
    """``GET /v1/dashboard/billing/usage``: what the key has spent, in cents; between two days, or in its life."""
    grant = await _grant(state, request)
    asked = _query(request, {"start_date", "end_date"})
    if asked:
        since = _day(asked, "start_date", datetime(1970, 1, 1, tzinfo=UTC).date())
        until = _day(asked, "end_date", datetime.now(UTC).date() + timedelta(days=1))
        spent = await state.read(lookups.spent_between, grant.workspace_id, grant.key_id, since, until)
    else:
        spent = (await _account(state, grant)).spent_micro_usd
    await request.answer(200, orjson.dumps({"object": "list", "total_usage": spent / money.MICRO_PER_CENT}), _NO_STORE)


async def subscription(state: State, request: Request) -> None:
    """``GET /v1/dashboard/billing/subscription``: the key's limit over its life, and when it ends."""
    grant = await _grant(state, request)
    _query(request, set())
    account = await _account(state, grant)
    limit = account.credit_limit_micro_usd
    dollars = float(money.to_usd(limit)) if limit else UNLIMITED_USD
    left = max(limit - account.spent_micro_usd - account.held_micro_usd, 0)
    body = {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": dollars,
        "hard_limit_usd": dollars,
        "system_hard_limit_usd": dollars,
        "access_until": int(account.expires_at.timestamp()) if account.expires_at else 0,
        "unlimited_quota": not limit,
        "remain_quota": money.to_quota_units(left),
        "used_quota": money.to_quota_units(account.spent_micro_usd),
    }
    await request.answer(200, orjson.dumps(body), _NO_STORE)


def shown(call: Usage) -> dict:
    """A finished call in the documented fields. ``total_cost`` and ``quota`` null: the price is unknown, never 0 for that."""
    known = [tokens for tokens in (call.prompt_tokens, call.completion_tokens) if tokens is not None]
    cost = call.cost_micro_usd
    return {
        "id": call.request_id,
        "model": call.model_name,
        "created_at": rfc3339(call.occurred_at, timespec="milliseconds"),
        "streamed": call.streamed,
        "token_name": call.token_name,
        "tokens_prompt": call.prompt_tokens,
        "tokens_completion": call.completion_tokens,
        "tokens_total": sum(known) if known else None,
        "total_cost": None if cost is None else float(money.to_usd(cost)),
        "cost_currency": "USD",
        "quota": None if cost is None else money.to_quota_units(cost),
        "latency_ms": call.latency_ms,
        "ttft_ms": call.first_byte_ms,
    }


async def _grant(state: State, request: Request) -> Grant:
    token_hash, grant = await callers.authenticate(state, request)
    current = await state.fresh(token_hash, grant)
    callers.require(request, current, None)
    assert current is not None
    return current


async def _account(state: State, grant: Grant) -> lookups.Account:
    found = await state.read(lookups.account, grant.workspace_id, grant.key_id)
    if found is None:
        raise errors.InvalidApiKey(scope.INVALID_KEY)
    return found


async def _count(state: State, grant: Grant) -> None:
    """Raise ``RateLimited`` past the person's look-ups of this minute. Valkey away: it is only reading, so it goes on."""
    whose = f"member:{grant.limits.member_id}" if grant.limits.member_id else f"key:{grant.key_id}"
    key = f"orca:{{{grant.workspace_id}}}:lookups:{whose}:{int(time.time() // 60)}"
    try:
        count = int(await state.link.call("EVAL", _COUNT, 1, key))
    except (Away, hiredis.ReplyError) as error:
        logger.debug("lookups_not_counted", extra={"error": str(error)[:200]})
        return
    if count > LOOKUPS_A_MINUTE:
        refusal = errors.RateLimited(f"At most {LOOKUPS_A_MINUTE} look-ups a minute.")
        refusal.headers = {"Retry-After": str(60 - int(time.time()) % 60)}
        raise refusal


def _query(request: Request, known: set[str]) -> dict[str, str]:
    try:
        asked = parse_qs(request.query.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise errors.ValidationFailed("The query cannot be read.") from error
    for name in asked:
        if name not in known:
            raise errors.ValidationFailed(f"There is no query parameter {name[:64]!r} here.", param=name[:64])
    return {name: values[0] for name, values in asked.items()}


def _day(asked: dict[str, str], name: str, default: date) -> date:
    if name not in asked:
        return default
    try:
        found = date.fromisoformat(asked[name])
    except ValueError as error:
        raise errors.ValidationFailed("A day such as 2026-11-22.", param=name) from error
    if not 1970 <= found.year <= 9998:
        raise errors.ValidationFailed("A day such as 2026-11-22.", param=name)
    return found
