"""The types that the gateway sends usage and the ledger's entries as."""

from django.db import migrations

ROWS = """
    CREATE TYPE keys_usagerow AS (
        id uuid, provider_id bigint, provider_name text, status bigint, error_code text, outcome text,
        streamed boolean, prompt_tokens bigint, completion_tokens bigint, cached_tokens bigint, reasoning_tokens bigint, usage_source text,
        cost_micro_usd bigint, latency_ms bigint, first_byte_ms bigint, context_digest text, fingerprint text,
        occurred_at timestamptz, workspace_id bigint, request_id text, key_id bigint, agent_run_id text,
        token_name text, environment text, model_name text, conversation_id text, run_source text, step_id text, parent_step_id text
    );
    CREATE TYPE keys_ledgerrow AS (
        id uuid, kind text, cause text, member_id bigint, held_micro_usd bigint, spent_micro_usd bigint,
        streamed_micro_usd bigint, process_id uuid, deadline_at timestamptz, call jsonb,
        occurred_at timestamptz, workspace_id bigint, request_id text, key_id bigint, agent_run_id text
    );
"""


class Migration(migrations.Migration):
    dependencies = [("keys", "0008_fewer_indexes")]
    operations = [migrations.RunSQL(ROWS, "DROP TYPE keys_usagerow, keys_ledgerrow")]
