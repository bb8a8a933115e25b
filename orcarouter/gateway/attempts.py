"""A second attempt at the provider, after one that was sent and never answered: both may cost. Source: spec/decisions.md 11.

The first is booked at its input, counted, before the second is made; the second is held for like a call of its own, beside the
first, so that no limit is exceeded whatever the provider charges for it. Where that does not fit, there is no second attempt.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import hiredis
from msgspec import structs

from orcarouter.gateway import record, runs
from orcarouter.gateway.accounts import Settlement
from orcarouter.gateway.link import Away

if TYPE_CHECKING:
    from orcarouter.gateway.pipeline import Relay

logger = logging.getLogger(__name__)


async def again(relay: Relay) -> bool:
    """Book the attempt that was lost; whether there may be another. Raises ``StoreUnavailable``, and then nothing is known to stand."""
    call, state = relay.call, relay.state
    used, _ = relay.used(None, 0)
    following = replace(call, lost_attempts=call.lost_attempts + 1)
    if not await _holds(relay, following):
        return False
    cost = record.cost_of(call, used) or 0
    given_back, settlement = record.settle(call, cause="retried", cost_micro_usd=cost), relay.settlement(cost)
    call.lost_attempts, call.lost_micro_usd = following.lost_attempts, call.lost_micro_usd + cost
    # Until it is asked, nothing can be charged for the next one.
    call.route = None
    await state.stands(state.submit(call.grant, [], [], [given_back, record.reserve(call)], settlement))
    return True


async def _holds(relay: Relay, following: record.Call) -> bool:
    """Hold what the next attempt may cost under every ceiling of the call, if it fits."""
    call, state = relay.call, relay.state
    if call.claim is None or not call.claim.is_capped:
        return True
    looked = runs.Lineage(call.run_id, call.run_id, "", (), call.grant.key_id)
    is_held = False
    try:
        is_held = relay.is_held and await state.hold(call.grant, looked, structs.replace(call.claim, id=following.claim_id))
    except (Away, hiredis.ReplyError):
        logger.info("no_second_attempt_without_valkey", extra={"request_id": call.request_id})
    finally:
        if not is_held:
            # Whether or not Valkey's answer was heard.
            state.accounts.settle(Settlement(call.grant.workspace_id, following.claim_id, 0, ()))
    return is_held
