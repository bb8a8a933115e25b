"""Usage as the recorder writes it."""

import factory

from keys.models import LedgerEntry, Usage
from tests.factories.firewall import Recorded


class UsageFactory(Recorded):
    """One finished call of the demo's small model."""

    class Meta:
        model = Usage

    request_id = factory.LazyAttribute(lambda row: f"req_{row.id.hex}")
    key_id = 1
    token_name = "research"
    model_name = "demo/small"
    agent_run_id = "run-1"
    run_source = "header"
    status = 200
    outcome = "completed"
    prompt_tokens = 100
    completion_tokens = 20
    usage_source = "provider"
    cost_micro_usd = 1_500
    latency_ms = 400


class LedgerFactory(Recorded):
    """What a finished call has spent: the movement that settles it."""

    class Meta:
        model = LedgerEntry

    request_id = factory.LazyAttribute(lambda row: f"req_{row.id.hex}")
    kind = "settle"
    cause = "completed"
    key_id = 1
    agent_run_id = "run-1"
    spent_micro_usd = 1_500
