"""Find grouped events by tool in a time that does not grow with what is kept.

A name is looked up in the index some days at a time, the nearest first, until a page is full: before, a tool that is neither common nor rare
had all its events read. A pattern becomes the names that it means, which the sums of tools know; only what is not summed yet is walked.
What the functions give is as it was: ids of the transaction's workspace.
"""

from django.db import migrations

ARGUMENTS = """
    names text[], patterns text[], verdicts text[], surfaces text[], run text, conversation text, request text, key bigint, env text,
    low uuid, high uuid, newest_first boolean, at_most integer, near integer
"""
OTHERS = "verdicts, surfaces, run, conversation, request, key, env"
HEAD = "LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan"
FUNCTIONS = f"""
    -- The question that orca_grouped_events_by_index asks too; here the planner may choose.
    CREATE FUNCTION orca_grouped_events_walked({ARGUMENTS}) RETURNS SETOF uuid
    {HEAD} AS $$
    #variable_conflict use_variable
    DECLARE place bigint := NULLIF(current_setting('orca.workspace_id', true), '')::bigint;
    BEGIN
        RETURN QUERY
        SELECT e.id FROM firewall_event e
         WHERE e.workspace_id = place AND e.tool_name IS NULL AND e.id >= low AND e.id < high
           AND (names IS NULL OR e.tools && names)
           AND (patterns IS NULL OR EXISTS (SELECT 1 FROM unnest(e.tools) AS t WHERE t LIKE ANY (patterns)))
           AND (verdicts IS NULL OR e.verdict = ANY (verdicts))
           AND (surfaces IS NULL OR e.surface = ANY (surfaces))
           AND (run IS NULL OR e.agent_run_id = run)
           AND (conversation IS NULL OR e.conversation_id = conversation)
           AND (request IS NULL OR e.request_id = request)
           AND (key IS NULL OR e.key_id = key)
           AND (env IS NULL OR e.environment = env)
         ORDER BY CASE WHEN newest_first THEN e.id END DESC, CASE WHEN NOT newest_first THEN e.id END
         LIMIT greatest(least(at_most, 1000), 0);
    END $$;

    -- The moment of an id in milliseconds since 1970, and the smallest id of a moment.
    CREATE FUNCTION orca_ms_of(id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint $$;
    CREATE FUNCTION orca_id_at(ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT (lpad(to_hex(greatest(ms, 0)), 12, '0') || repeat('0', 20))::uuid $$;

    -- By the index, through stretches of one, three, nine and twenty-seven days and then all the rest.
    CREATE FUNCTION orca_grouped_events_by_stretch({ARGUMENTS}) RETURNS SETOF uuid
    {HEAD} AS $$
    #variable_conflict use_variable
    DECLARE
        place bigint := NULLIF(current_setting('orca.workspace_id', true), '')::bigint;
        days integer := 1; first uuid; beyond uuid; meant text[] := names; found integer := 0; more integer;
    BEGIN
        WHILE low < high AND found < at_most LOOP
            first := low;
            beyond := high;
            IF days <= 27 AND newest_first THEN
                first := greatest(low, orca_id_at(orca_ms_of(high) - days * 86400000::bigint));
            ELSIF days <= 27 THEN
                beyond := least(high, orca_id_at(orca_ms_of(low) + days * 86400000::bigint));
            END IF;
            IF names IS NULL THEN
                -- From a day before: an event gets its id a moment after it was decided.
                meant := ARRAY(SELECT DISTINCT d.tool_name FROM firewall_toolday d
                                WHERE d.workspace_id = place AND d.tool_name LIKE ANY (patterns)
                                  AND d.day BETWEEN (to_timestamp(orca_ms_of(first) / 1000) AT TIME ZONE 'UTC')::date - 1
                                                AND (to_timestamp(orca_ms_of(beyond) / 1000) AT TIME ZONE 'UTC')::date);
            END IF;
            IF cardinality(meant) > 2000 THEN
                -- So many names are met soon on any walk.
                RETURN QUERY SELECT orca_grouped_events_walked(names, patterns, {OTHERS}, first, beyond, newest_first, at_most - found, near);
            ELSE
                RETURN QUERY SELECT orca_grouped_events_by_index(meant, NULL, {OTHERS}, first, beyond, newest_first, at_most - found, near);
            END IF;
            GET DIAGNOSTICS more = ROW_COUNT;
            found := found + more;
            days := days * 3;
            IF newest_first THEN high := first; ELSE low := beyond; END IF;
        END LOOP;
    END $$;

    CREATE OR REPLACE FUNCTION orca_grouped_events({ARGUMENTS}) RETURNS SETOF uuid
    {HEAD} AS $$
    #variable_conflict use_variable
    DECLARE
        place bigint := NULLIF(current_setting('orca.workspace_id', true), '')::bigint;
        edge uuid; found integer; more integer; summed uuid := high;
    BEGIN
        -- The nearest are walked, where a common tool fills a page at once.
        IF newest_first THEN
            SELECT e.id INTO edge FROM firewall_event e
             WHERE e.workspace_id = place AND e.id >= low AND e.id < high ORDER BY e.id DESC OFFSET near LIMIT 1;
            RETURN QUERY SELECT orca_grouped_events_walked(names, patterns, {OTHERS}, coalesce(edge, low), high, true, at_most, near);
        ELSE
            SELECT e.id INTO edge FROM firewall_event e
             WHERE e.workspace_id = place AND e.id >= low AND e.id < high ORDER BY e.id OFFSET near LIMIT 1;
            RETURN QUERY SELECT orca_grouped_events_walked(names, patterns, {OTHERS}, low, coalesce(edge, high), false, at_most, near);
        END IF;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF edge IS NULL OR found >= at_most THEN
            RETURN;
        END IF;
        IF newest_first THEN high := edge; ELSE low := edge; END IF;
        IF names IS NULL THEN
            summed := coalesce((SELECT t.through FROM firewall_tooltally t WHERE t.workspace_id = place), low);
        END IF;
        summed := least(greatest(summed, low), high);
        IF newest_first THEN
            IF summed < high THEN
                RETURN QUERY SELECT orca_grouped_events_walked(names, patterns, {OTHERS}, summed, high, true, at_most - found, near);
                GET DIAGNOSTICS more = ROW_COUNT;
                found := found + more;
            END IF;
            RETURN QUERY SELECT orca_grouped_events_by_stretch(names, patterns, {OTHERS}, low, summed, true, at_most - found, near);
        ELSE
            RETURN QUERY SELECT orca_grouped_events_by_stretch(names, patterns, {OTHERS}, low, summed, false, at_most - found, near);
            GET DIAGNOSTICS more = ROW_COUNT;
            found := found + more;
            IF summed < high AND found < at_most THEN
                RETURN QUERY SELECT orca_grouped_events_walked(names, patterns, {OTHERS}, summed, high, false, at_most - found, near);
            END IF;
        END IF;
    END $$;
    REVOKE ALL ON FUNCTION orca_grouped_events_walked, orca_grouped_events_by_stretch, orca_ms_of, orca_id_at FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("firewall", "0011_fewer_indexes")]
    operations = [migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop)]
