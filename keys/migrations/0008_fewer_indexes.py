"""Usage and the ledger cost less to write: their keys serve a workspace's rows in order, and one index a key's and a run's money."""

from django.db import migrations

from workspaces import indexes

ROLL = """
    CREATE OR REPLACE FUNCTION orca_roll_ledger() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE today date := (now() AT TIME ZONE 'UTC')::date; done date;
    BEGIN
        SELECT before INTO done FROM keys_ledgerrolled FOR UPDATE;
        WHILE done < today - 1 LOOP
            EXIT WHEN EXISTS (
                SELECT 1 FROM keys_ledgerentry r WHERE r.id >= orca_lowest_id(done) AND r.id < orca_lowest_id(done + 1) AND r.kind = 'reserve'
                   AND NOT EXISTS (SELECT 1 FROM keys_ledgerentry s WHERE s.workspace_id = r.workspace_id AND s.id = orca_settle_id(r.id)));
            INSERT INTO keys_ledgerday AS d (workspace_id, day, key_id, member_id, spent_micro_usd)
            SELECT e.workspace_id, done, e.key_id, COALESCE(e.member_id, 0), sum(e.spent_micro_usd) FROM keys_ledgerentry e
              JOIN workspaces_workspace w ON w.id = e.workspace_id
             WHERE e.id >= orca_lowest_id(done) AND e.id < orca_lowest_id(done + 1) GROUP BY 1, 3, 4 HAVING sum(e.spent_micro_usd) <> 0
            ON CONFLICT (workspace_id, key_id, day, member_id) DO UPDATE SET spent_micro_usd = d.spent_micro_usd + excluded.spent_micro_usd;
            done := done + 1;
            UPDATE keys_ledgerrolled SET before = done;
        END LOOP;
    END $$;
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("keys", "0007_tool_prices")]
    operations = [
        migrations.RunSQL(ROLL, migrations.RunSQL.noop),
        indexes.primary_key("keys_usage", "workspace_id, id", instead_of="usage_feed"),
        indexes.primary_key("keys_ledgerentry", "workspace_id, id", instead_of="ledger_feed"),
        indexes.index("ledger_of_run", "keys_ledgerentry", "(workspace_id, key_id, agent_run_id, id)"),
        migrations.RunSQL("DROP INDEX IF EXISTS ledger_key, ledger_run", migrations.RunSQL.noop),
    ]
