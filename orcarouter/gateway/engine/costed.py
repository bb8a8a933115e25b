"""What a call cost, told inside its usage: ``cost_usd``. A provider's own cost field never leaves. Source: spec/platform.md 6.3."""

from collections.abc import Mapping
from typing import Any

import orjson

#: Names under which providers tell a cost of their own.
VENDORS = frozenset({"cost", "cost_usd", "cost_details", "cost_in_usd_ticks", "total_cost", "estimated_cost", "upstream_inference_cost"})
_MICRO_PER_USD = 1_000_000


def wants(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the caller asked: ``X-OrcaRouter-Include-Cost: true`` or ``1``, or the older ``X-OrcaRouter-beta-usd: response``."""
    asked, older = headers.get(b"x-orcarouter-include-cost"), headers.get(b"x-orcarouter-beta-usd")
    if asked is not None and asked.strip().lower() in (b"true", b"1"):
        return True
    return older is not None and older.strip().lower() == b"response"


def told(body: bytes, cost_micro_usd: int | None) -> bytes:
    """The JSON object ``body`` with its usage's cost; the same bytes where nothing changes.

    ``cost_micro_usd`` None tells none: it was not asked for, or is unknown. Nor does a usage without tokens.
    """
    if cost_micro_usd is None and b"cost" not in body:
        return body
    read = orjson.loads(body)
    usage = read.get("usage")
    if not isinstance(usage, dict):
        return body
    clean: dict[str, Any] = {name: value for name, value in usage.items() if name not in VENDORS}
    if cost_micro_usd is not None and (usage.get("prompt_tokens") or usage.get("completion_tokens")):
        clean["cost_usd"] = cost_micro_usd / _MICRO_PER_USD
    elif len(clean) == len(usage):
        return body
    return orjson.dumps({**read, "usage": clean})
