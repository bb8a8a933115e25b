"""The ledger, partitioned like usage; what outlives its partitions; and which gateway processes live."""

from django.db import migrations

from workspaces import rls

LEDGER = """
    CREATE TABLE keys_ledgerentry (
        id uuid NOT NULL, workspace_id bigint NOT NULL, occurred_at timestamptz NOT NULL, request_id text NOT NULL,
        kind text NOT NULL, cause text NOT NULL, key_id bigint NOT NULL, member_id bigint, agent_run_id text,
        held_micro_usd bigint NOT NULL DEFAULT 0, spent_micro_usd bigint NOT NULL DEFAULT 0, streamed_micro_usd bigint,
        process_id uuid, deadline_at timestamptz, call jsonb,
        PRIMARY KEY (id)
    ) PARTITION BY RANGE (id);
    CREATE TABLE keys_ledgerentry_default PARTITION OF keys_ledgerentry DEFAULT;
    REVOKE ALL ON keys_ledgerentry_default FROM orca_app, orca_recorder;
    CREATE INDEX ledger_feed ON keys_ledgerentry (workspace_id, id);
    CREATE INDEX ledger_key ON keys_ledgerentry (workspace_id, key_id, id);
    CREATE INDEX ledger_run ON keys_ledgerentry (workspace_id, agent_run_id, id) WHERE agent_run_id IS NOT NULL;

    -- Of the installation, not of a workspace: nothing in it is anybody's.
    CREATE TABLE keys_gatewayprocess (
        id uuid PRIMARY KEY, seen_at timestamptz NOT NULL, doubted_at timestamptz, swept_at timestamptz
    );
    -- Every day before it is summed in keys_ledgerday.
    CREATE TABLE keys_ledgerrolled (before date NOT NULL);
    REVOKE INSERT, UPDATE, DELETE ON keys_ledgerrolled FROM orca_app;
    INSERT INTO keys_ledgerrolled VALUES ((now() AT TIME ZONE 'UTC')::date);
    -- What was spent before there was a ledger.
    INSERT INTO keys_ledgerday (workspace_id, day, key_id, member_id, spent_micro_usd)
    SELECT u.workspace_id, (u.occurred_at AT TIME ZONE 'UTC')::date, u.key_id, COALESCE(k.created_by_id, 0), sum(u.cost_micro_usd)
      FROM keys_usage u JOIN workspaces_workspace w ON w.id = u.workspace_id LEFT JOIN keys_apikey k ON k.id = u.key_id
     WHERE u.cost_micro_usd > 0 GROUP BY 1, 2, 3, 4;
"""

FUNCTIONS = """
    CREATE OR REPLACE FUNCTION orca_make_partitions(days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE parent text; day date; name text;
    BEGIN
        FOREACH parent IN ARRAY ARRAY['firewall_event', 'keys_usage', 'keys_ledgerentry'] LOOP
            FOR day IN SELECT (now() AT TIME ZONE 'UTC')::date + n FROM generate_series(0, least(days, 60)) AS n LOOP
                name := parent || '_' || to_char(day, 'YYYYMMDD');
                IF to_regclass(name) IS NULL THEN
                    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                                   name, parent, orca_lowest_id(day), orca_lowest_id(day + 1));
                    EXECUTE format('REVOKE ALL ON %I FROM orca_app, orca_recorder', name);
                END IF;
            END LOOP;
        END LOOP;
    EXCEPTION WHEN check_violation OR duplicate_table THEN
        -- Rows of that day are in the DEFAULT partition already, or another worker was first: nothing is lost.
        RAISE WARNING 'partition %: %', name, SQLERRM;
    END $$;

    CREATE OR REPLACE FUNCTION orca_drop_partitions(keep_days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE i.inhparent IN ('firewall_event'::regclass, 'keys_usage'::regclass, 'keys_ledgerentry'::regclass)
                       AND c.relname ~ '_[0-9]{8}$'
                       AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - greatest(keep_days, 7)
                       -- Money is summed before its entries go.
                       AND (i.inhparent <> 'keys_ledgerentry'::regclass
                            OR to_date(right(c.relname, 8), 'YYYYMMDD') < (SELECT before FROM keys_ledgerrolled)) LOOP
            EXECUTE format('DROP TABLE %I', name);
        END LOOP;
    END $$;

    -- Sums the ledger's days, oldest first, up to the first that is not over for a day or has a call still open.
    CREATE FUNCTION orca_roll_ledger() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE today date := (now() AT TIME ZONE 'UTC')::date; done date;
    BEGIN
        SELECT before INTO done FROM keys_ledgerrolled FOR UPDATE;
        WHILE done < today - 1 LOOP
            EXIT WHEN EXISTS (
                SELECT 1 FROM keys_ledgerentry r WHERE r.id >= orca_lowest_id(done) AND r.id < orca_lowest_id(done + 1) AND r.kind = 'reserve'
                   AND NOT EXISTS (SELECT 1 FROM keys_ledgerentry s WHERE s.id = orca_settle_id(r.id)));
            INSERT INTO keys_ledgerday AS d (workspace_id, day, key_id, member_id, spent_micro_usd)
            SELECT e.workspace_id, done, e.key_id, COALESCE(e.member_id, 0), sum(e.spent_micro_usd) FROM keys_ledgerentry e
              JOIN workspaces_workspace w ON w.id = e.workspace_id
             WHERE e.id >= orca_lowest_id(done) AND e.id < orca_lowest_id(done + 1) GROUP BY 1, 3, 4 HAVING sum(e.spent_micro_usd) <> 0
            ON CONFLICT (workspace_id, key_id, day, member_id) DO UPDATE SET spent_micro_usd = d.spent_micro_usd + excluded.spent_micro_usd;
            done := done + 1;
            UPDATE keys_ledgerrolled SET before = done;
        END LOOP;
    END $$;

    -- The id of the entry that settles a reservation: the same with its last bit turned.
    CREATE FUNCTION orca_settle_id(id uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT (left(id::text, 35) || to_hex((('x' || right(id::text, 1))::bit(4) # B'0001')::integer))::uuid $$;

    REVOKE ALL ON FUNCTION orca_roll_ledger, orca_settle_id FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_roll_ledger, orca_settle_id, orca_lowest_id TO orca_app;
    SELECT orca_make_partitions(7);
"""


class Migration(migrations.Migration):
    dependencies = [("keys", "0003_money")]
    operations = [
        migrations.RunSQL(LEDGER, migrations.RunSQL.noop),
        rls.protect("keys_ledgerentry"),
        rls.recorded("keys_ledgerentry"),
        rls.protect("keys_budget"),
        rls.protect("keys_priceoverride"),
        rls.protect("keys_stoppedrun"),
        rls.protect("keys_ledgerday"),
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),
    ]
