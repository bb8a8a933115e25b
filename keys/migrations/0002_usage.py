"""The usage table, partitioned like events; partitions are made and dropped by two functions of the owner's."""

from django.db import migrations

from workspaces import rls

USAGE = """
    CREATE TABLE keys_usage (
        id uuid NOT NULL, workspace_id bigint NOT NULL, occurred_at timestamptz NOT NULL, request_id text NOT NULL,
        key_id bigint NOT NULL, token_name text NOT NULL, environment text NOT NULL DEFAULT '', model_name text,
        provider_id bigint, provider_name text,
        conversation_id text, agent_run_id text, run_source text, step_id text, parent_step_id text,
        status smallint NOT NULL, error_code text, outcome text NOT NULL, streamed boolean NOT NULL DEFAULT false,
        prompt_tokens integer, completion_tokens integer, cached_tokens integer, reasoning_tokens integer,
        usage_source text NOT NULL, cost_micro_usd bigint, latency_ms integer NOT NULL, first_byte_ms integer,
        context_digest text, fingerprint text,
        PRIMARY KEY (id)
    ) PARTITION BY RANGE (id);
    CREATE TABLE keys_usage_default PARTITION OF keys_usage DEFAULT;
    REVOKE ALL ON keys_usage_default FROM orca_app, orca_recorder;
    CREATE INDEX usage_feed ON keys_usage (workspace_id, id);
    CREATE INDEX usage_key ON keys_usage (workspace_id, key_id, id);
    CREATE INDEX usage_run ON keys_usage (workspace_id, agent_run_id, id) WHERE agent_run_id IS NOT NULL;
    CREATE INDEX usage_request ON keys_usage (workspace_id, request_id);
"""

PARTITIONS = """
    CREATE FUNCTION orca_make_partitions(days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE parent text; day date; name text;
    BEGIN
        FOREACH parent IN ARRAY ARRAY['firewall_event', 'keys_usage'] LOOP
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

    CREATE FUNCTION orca_drop_partitions(keep_days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE i.inhparent IN ('firewall_event'::regclass, 'keys_usage'::regclass) AND c.relname ~ '_[0-9]{8}$'
                       AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - greatest(keep_days, 7) LOOP
            EXECUTE format('DROP TABLE %I', name);
        END LOOP;
    END $$;

    -- The smallest UUIDv7 of a day (UTC): its first 48 bits are milliseconds since 1970.
    CREATE FUNCTION orca_lowest_id(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex((extract(epoch FROM day::timestamp) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

    CREATE FUNCTION orca_key_workspace(hash text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT k.workspace_id FROM keys_apikey k JOIN workspaces_workspace w ON w.id = k.workspace_id
        WHERE k.token_hash = hash AND w.archived_at IS NULL $$;

    REVOKE ALL ON FUNCTION orca_make_partitions, orca_drop_partitions, orca_key_workspace FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_make_partitions, orca_drop_partitions, orca_key_workspace TO orca_app;
    SELECT orca_make_partitions(7);
"""


class Migration(migrations.Migration):
    dependencies = [("keys", "0001_initial"), ("firewall", "0002_events")]
    operations = [
        migrations.RunSQL(USAGE, migrations.RunSQL.noop),
        rls.protect("keys_apikey"),
        rls.protect("keys_providercredential"),
        rls.protect("keys_providermodel"),
        rls.protect("keys_usage"),
        rls.recorded("keys_usage"),
        migrations.RunSQL(PARTITIONS, migrations.RunSQL.noop),
    ]
