"""What an event keeps of a judgement beside the call itself, so that the call can be judged again as it was.

A decision may rest on what the run had done and on where the call went, and neither can be told from the event's other fields:
``{"run": [calls, spent, reserved, estimate, runs this hour, ms], "chains": {...}, "to": [[host, port, addresses, unreadable], ...]}``.
A destination that is hinted at, guessed or mentioned says so in three values more.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from firewall.engine.destinations import Destination
from firewall.engine.types import Policy, RunState

#: More numbers of sequences than that are not kept: a replay counts them itself.
MAX_PROGRESS = 200


def judged_on(policy: Policy | None, run: RunState, destinations: tuple[Destination, ...] | None = None) -> dict | None:
    """What to keep of a judgement by ``policy``; None where it rested on nothing but the call."""
    kept: dict = {}
    if policy is not None and (policy.caps or policy.sequences or policy.max_runs_per_key_per_hour is not None):
        kept["run"] = [run.calls, run.spent_micro_usd, run.reserved_micro_usd, run.estimate_micro_usd, run.runs_this_hour, run.at_ms]
        if policy.sequences:
            kept["chains"] = run.chains if not run.chains or sum(map(len, run.chains.values())) <= MAX_PROGRESS else None
    if destinations is not None:
        kept["to"] = list(map(_kept, destinations))
    return kept or None


def _kept(to: Destination) -> list:
    addresses = None if to.addresses is None else list(map(str, to.addresses))
    beside = [list(map(str, to.hints)), to.is_guess, to.is_mention] if to.hints or to.is_guess or to.is_mention else []
    # What cannot be read may be any text: PostgreSQL keeps no NUL, and JSON no half of a character.
    return [to.shown if to.is_unreadable else to.host, to.port, addresses, to.is_unreadable, *beside]


def run_of(kept: Mapping | None) -> RunState | None:
    """The run as it was; None where the judgement did not look at it."""
    if not kept or "run" not in kept:
        return None
    calls, spent, reserved, estimate, runs, at_ms = kept["run"]
    chains = {name: tuple(progress) for name, progress in (kept.get("chains") or {}).items()}
    return RunState(calls, spent, reserved, estimate, runs_this_hour=runs, at_ms=at_ms, chains=chains)


def knows_sequences(kept: Mapping | None) -> bool:
    """Whether ``run_of`` has the progress of the sequences that the policy of then had."""
    return bool(kept) and kept.get("chains") is not None  # type: ignore[union-attr]


def destinations_of(kept: Mapping | None) -> tuple[Destination, ...] | None:
    """Where the call was told, or looked up, to go; None: nobody said, so its arguments do."""
    if not kept or "to" not in kept:
        return None
    return tuple(_destination(*each) for each in kept["to"])


def _destination(host: str, port: int | None, texts: list[str] | None, is_unreadable: bool, *beside: Any) -> Destination:
    addresses = None if texts is None else tuple(map(ip_address, texts))
    hints, is_guess, is_mention = beside or ((), False, False)
    return Destination(host, port, addresses, is_unreadable, tuple(map(ip_address, hints)), is_guess, is_mention)
