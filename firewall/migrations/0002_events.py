"""The event table, partitioned by day over its time-ordered id; and row-level security on all of the app's tables."""

from django.db import migrations

from workspaces import rls

EVENTS = """
    CREATE TABLE firewall_event (
        id uuid NOT NULL, workspace_id bigint NOT NULL, occurred_at timestamptz NOT NULL,
        source text NOT NULL, surface text NOT NULL, verdict text NOT NULL,
        tool_name text, tools text[] NOT NULL DEFAULT '{}', skill_name text,
        reason text NOT NULL, reason_code text, factors text[] NOT NULL DEFAULT '{}', risk_score smallint NOT NULL DEFAULT 0,
        policy_id bigint, policy_name text, policy_version integer, rule_id bigint, rule_label text,
        request_id text NOT NULL, client_request_id text, conversation_id text, agent_run_id text, run_source text,
        step_id text, parent_step_id text, key_id bigint, token_name text, environment text NOT NULL DEFAULT '', model_name text,
        args_summary text, args_hash text, approval_id text, cost_micro_usd bigint,
        shadow boolean NOT NULL DEFAULT false, gap boolean NOT NULL DEFAULT false, quarantine boolean NOT NULL DEFAULT false,
        PRIMARY KEY (id)
    ) PARTITION BY RANGE (id);
    CREATE TABLE firewall_event_default PARTITION OF firewall_event DEFAULT;
    REVOKE ALL ON firewall_event_default FROM orca_app, orca_recorder;
    CREATE INDEX event_feed ON firewall_event (workspace_id, id);
    CREATE INDEX event_verdict ON firewall_event (workspace_id, verdict, id);
    CREATE INDEX event_tool ON firewall_event (workspace_id, tool_name text_pattern_ops, id) WHERE tool_name IS NOT NULL;
    CREATE INDEX event_run ON firewall_event (workspace_id, agent_run_id, id) WHERE agent_run_id IS NOT NULL;
    CREATE INDEX event_conversation ON firewall_event (workspace_id, conversation_id, id) WHERE conversation_id IS NOT NULL;
    CREATE INDEX event_key ON firewall_event (workspace_id, key_id, id);
    CREATE INDEX event_surface ON firewall_event (workspace_id, surface, id);
    CREATE INDEX event_environment ON firewall_event (workspace_id, environment, id);
    CREATE INDEX event_request ON firewall_event (workspace_id, request_id);
    CREATE INDEX event_tools ON firewall_event USING gin (tools) WITH (fastupdate = off);
    CREATE INDEX event_time ON firewall_event USING brin (occurred_at);
"""


class Migration(migrations.Migration):
    dependencies = [("firewall", "0001_initial"), ("workspaces", "0002_tenancy")]
    operations = [
        migrations.RunSQL(EVENTS, migrations.RunSQL.noop),
        rls.protect("firewall_settings"),
        rls.protect("firewall_policy"),
        rls.protect("firewall_rule"),
        rls.protect("firewall_event"),
        rls.recorded("firewall_event"),
    ]
