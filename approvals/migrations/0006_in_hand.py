"""A slow receiver is given few messages at a time, however many workers there are."""

from django.db import migrations, models

DUE = """
    CREATE OR REPLACE FUNCTION orca_due_deliveries(moment timestamptz, most integer) RETURNS TABLE (workspace_id bigint, id bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ WITH in_hand AS
           (SELECT h.workspace_id, count(*) AS messages FROM approvals_delivery h
             WHERE h.leased_until > moment AND h.state = 'pending' AND h.channel = 'webhook' GROUP BY h.workspace_id)
       SELECT ranked.workspace_id, ranked.id
         FROM (SELECT d.workspace_id, d.id, d.due_at,
                      row_number() OVER (PARTITION BY d.workspace_id, d.channel ORDER BY d.by_hand DESC, d.due_at, d.id) AS place,
                      -- All that waits for people goes along with the first.
                      CASE WHEN d.channel <> 'webhook' THEN 1
                           ELSE (CASE WHEN e.failing_since IS NULL THEN 10 ELSE 2 END) - coalesce(i.messages, 0) END AS room
                 FROM approvals_delivery d JOIN workspaces_workspace w ON w.id = d.workspace_id
                      LEFT JOIN approvals_webhookendpoint e ON e.workspace_id = d.workspace_id
                      LEFT JOIN in_hand i ON i.workspace_id = d.workspace_id
                WHERE d.state = 'pending' AND d.due_at <= moment AND (d.leased_until IS NULL OR d.leased_until <= moment) AND w.archived_at IS NULL
                  AND (d.by_hand OR d.channel <> 'webhook' OR e.paused_at IS NULL)) ranked
        WHERE ranked.place <= ranked.room ORDER BY ranked.due_at, ranked.id LIMIT least(most, 200) $$;
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0005_judged_on")]
    operations = [
        migrations.AddIndex(
            "delivery", models.Index(fields=["leased_until"], condition=models.Q(leased_until__isnull=False), name="delivery_in_hand")
        ),
        migrations.RunSQL(DUE, migrations.RunSQL.noop),
    ]
