"""Find grouped events by the tools they name, through the GIN index that row-level security closes to the application.

Array operators are not leakproof, so under a row-level policy PostgreSQL never uses ``event_tools`` for ``orca_app``. These
functions run as the owner, read the workspace of the transaction and no other, and give back ids only: the rows
themselves are then read by the application, behind the policy.

The planner cannot tell a rare tool from a common one (elements that are not among the most common all count the same) and
walks back through all events to find it. So the ``near`` nearest events are walked, where a common tool fills a page at
once, and what lies beyond is looked up in the index.
"""

from django.db import migrations

ARGUMENTS = """
    names text[], patterns text[], verdicts text[], surfaces text[], run text, conversation text, request text, key bigint, env text,
    low uuid, high uuid, newest_first boolean, at_most integer, near integer
"""
MATCHES = """
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
     LIMIT greatest(least(at_most, 1000), 0)
"""
HEAD = "LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan"
GROUPED_EVENTS = f"""
    CREATE FUNCTION orca_grouped_events_by_index({ARGUMENTS}) RETURNS SETOF uuid
    {HEAD} SET enable_indexscan = off SET enable_seqscan = off AS $$
    #variable_conflict use_variable
    DECLARE place bigint := NULLIF(current_setting('orca.workspace_id', true), '')::bigint;
    BEGIN
        RETURN QUERY {MATCHES};
    END $$;

    CREATE FUNCTION orca_grouped_events({ARGUMENTS}) RETURNS SETOF uuid
    {HEAD} AS $$
    #variable_conflict use_variable
    DECLARE
        place bigint := NULLIF(current_setting('orca.workspace_id', true), '')::bigint;
        beyond_low uuid := low; beyond_high uuid := high; edge uuid; found_near integer;
    BEGIN
        IF names IS NOT NULL THEN
            IF newest_first THEN
                SELECT e.id INTO edge FROM firewall_event e
                 WHERE e.workspace_id = place AND e.id >= low AND e.id < high ORDER BY e.id DESC OFFSET near LIMIT 1;
                low := coalesce(edge, low);
                beyond_high := low;
            ELSE
                SELECT e.id INTO edge FROM firewall_event e
                 WHERE e.workspace_id = place AND e.id >= low AND e.id < high ORDER BY e.id OFFSET near LIMIT 1;
                high := coalesce(edge, high);
                beyond_low := high;
            END IF;
        END IF;
        RETURN QUERY {MATCHES};
        GET DIAGNOSTICS found_near = ROW_COUNT;
        IF edge IS NOT NULL AND found_near < at_most THEN
            RETURN QUERY SELECT orca_grouped_events_by_index(names, patterns, verdicts, surfaces, run, conversation, request, key, env,
                                                             beyond_low, beyond_high, newest_first, at_most - found_near, near);
        END IF;
    END $$;
    REVOKE ALL ON FUNCTION orca_grouped_events, orca_grouped_events_by_index FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_grouped_events TO orca_app;
"""


class Migration(migrations.Migration):
    dependencies = [("firewall", "0002_events")]
    operations = [migrations.RunSQL(GROUPED_EVENTS, "DROP FUNCTION orca_grouped_events, orca_grouped_events_by_index")]
