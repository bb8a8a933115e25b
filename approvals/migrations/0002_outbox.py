"""Row-level security, and the one read that comes before a workspace is known: what is due to be sent."""

from django.db import migrations

from workspaces import rls

DUE = """
    -- At most ten a workspace, so that one with a slow receiver does not keep the others waiting.
    CREATE FUNCTION orca_due_deliveries(moment timestamptz, most integer) RETURNS TABLE (workspace_id bigint, id bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT ranked.workspace_id, ranked.id
         FROM (SELECT d.workspace_id, d.id, d.due_at, row_number() OVER (PARTITION BY d.workspace_id ORDER BY d.due_at, d.id) AS place
                 FROM approvals_delivery d JOIN workspaces_workspace w ON w.id = d.workspace_id
                WHERE d.state = 'pending' AND d.due_at <= moment AND (d.leased_until IS NULL OR d.leased_until <= moment) AND w.archived_at IS NULL
                  AND (d.by_hand OR d.channel <> 'webhook' OR NOT EXISTS
                       (SELECT 1 FROM approvals_webhookendpoint e WHERE e.workspace_id = d.workspace_id AND e.paused_at IS NOT NULL))) ranked
        WHERE ranked.place <= 10 ORDER BY ranked.due_at, ranked.id LIMIT least(most, 200) $$;
    REVOKE ALL ON FUNCTION orca_due_deliveries FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_due_deliveries TO orca_app;
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial"), ("firewall", "0002_events"), ("workspaces", "0002_tenancy")]
    operations = [
        rls.protect("approvals_settings"),
        rls.protect("approvals_reviewplan"),
        rls.protect("approvals_webhookendpoint"),
        rls.protect("approvals_delivery"),
        rls.protect("approvals_attempt"),
        migrations.RunSQL(DUE, migrations.RunSQL.noop),
    ]
