"""What a call asks to hold before it is made: its worst cost, under every ceiling that it meets."""

from datetime import datetime, timedelta

from django.conf import settings

from firewall.engine.advertised import least_cap_micro_usd
from firewall.engine.types import Policy
from keys.engine.ceilings import Limits, ceilings
from keys.engine.grant import Grant
from orcarouter.gateway.cost import estimate_micro_usd
from orcarouter.gateway.engine.exchange import Exchange
from orcarouter.gateway.money import Claim, accounts_of

#: No call lasts longer, its answer read by the client included; afterwards its claim is the sweep's.
CALL_SECONDS = settings.UPSTREAM_FIRST_BYTE_SECONDS + settings.UPSTREAM_TOTAL_SECONDS + 120


#: More than any limit, and still a number to Valkey and PostgreSQL.
MOST_MICRO_USD = 2**52


def of_relay(grant: Grant, exchange: Exchange, *, request_id: str, process_id: str, at: datetime) -> Claim:
    """The claim of a relay call. Without a ceiling nothing is held; without a price nothing can be, and the caller refuses."""
    policy = grant.policy
    met = ceilings(grant.limits, grant.key_id, at)
    tracks_run = policy is not None and policy.has_caps
    amount = estimate_micro_usd(grant.models[exchange.model], exchange, at=at) if met or tracks_run else 0
    if amount is not None:
        amount = min(amount, MOST_MICRO_USD)
    # In shadow mode a cap holds nothing up.
    is_capped = policy is not None and tracks_run and amount is not None and not policy.shadow_mode
    return Claim(
        request_id,
        amount,
        met,
        tracks_run=tracks_run,
        run_cap_micro_usd=least_cap_micro_usd(policy, exchange.tools, exchange.past_tools) if policy and is_capped else None,
        accounts=accounts_of(grant.key_id, grant.limits.member_id, at),
        process_id=process_id,
        deadline_ms=_deadline_ms(at),
        key_id=grant.key_id,
    )


def of_tool(policy: Policy | None, limits: Limits, key_id: int, price_micro_usd: int, *, request_id: str, process_id: str, at: datetime) -> Claim | None:
    """The claim of a call that is asked about. One that costs nothing only looks, where a cap of its run wants to know; else None.

    No cap refuses here: the call is judged with what the run's earlier claims hold.
    """
    tracks_run = policy is not None and policy.has_caps
    if not price_micro_usd:
        return Claim("", 0, tracks_run=True, looks_only=True) if tracks_run else None
    return Claim(
        request_id,
        price_micro_usd,
        ceilings(limits, key_id, at),
        tracks_run=tracks_run,
        accounts=accounts_of(key_id, limits.member_id, at),
        process_id=process_id,
        deadline_ms=_deadline_ms(at),
        key_id=key_id,
    )


def _deadline_ms(at: datetime) -> int:
    return int((at + timedelta(seconds=CALL_SECONDS)).timestamp() * 1000)
