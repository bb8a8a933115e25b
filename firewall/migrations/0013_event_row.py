"""The type that the gateway sends events as. Numbers come as bigint and are narrowed where they are stored."""

from django.db import migrations

ROW = """
    CREATE TYPE firewall_eventrow AS (
        id uuid, approval_id text, occurred_at timestamptz, judged_on jsonb,
        workspace_id bigint, request_id text, key_id bigint, agent_run_id text,
        token_name text, environment text, model_name text, conversation_id text, run_source text, step_id text, parent_step_id text,
        source text, surface text, verdict text, tool_name text, tools text[], reason text, reason_code text, factors text[],
        risk_score bigint, policy_id bigint, policy_name text, policy_version bigint, rule_id bigint, rule_label text,
        shadow boolean, gap boolean, quarantine boolean,
        args_summary text, args_hash text, client_request_id text, skill_name text, cost_micro_usd bigint
    );
"""


class Migration(migrations.Migration):
    dependencies = [("firewall", "0012_grouped_events_by_day")]
    operations = [migrations.RunSQL(ROW, "DROP TYPE firewall_eventrow")]
