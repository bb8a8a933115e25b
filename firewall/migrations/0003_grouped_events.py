"""Find grouped events by the tools they name, through the GIN index that row-level security closes to the application.

Array operators are not leakproof, so under a row-level policy PostgreSQL never uses ``event_tools`` for ``orca_app``. This
function runs as the owner, reads the workspace of the transaction and no other, and gives back ids only: the rows
themselves are then read by the application, behind the policy.
"""

from django.db import migrations

GROUPED_EVENTS = """
    CREATE FUNCTION orca_grouped_events(
        names text[], patterns text[], verdicts text[], surfaces text[], run text, conversation text, request text, key bigint, env text,
        low uuid, high uuid, newest_first boolean, at_most integer
    ) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
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
         LIMIT least(at_most, 1000);
    END $$;
    REVOKE ALL ON FUNCTION orca_grouped_events FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_grouped_events TO orca_app;
"""


class Migration(migrations.Migration):
    dependencies = [("firewall", "0002_events")]
    operations = [migrations.RunSQL(GROUPED_EVENTS, "DROP FUNCTION orca_grouped_events")]
