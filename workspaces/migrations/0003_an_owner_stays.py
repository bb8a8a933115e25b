"""The last-owner rule as a constraint: checked at commit, under the workspace's row lock, whoever writes."""

from django.db import migrations

OWNER_STAYS = """
    CREATE FUNCTION orca_keep_an_owner() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    BEGIN
        -- Two that leave at once: the second waits here, and then sees that the first is gone.
        PERFORM 1 FROM workspaces_workspace WHERE id = OLD.workspace_id FOR NO KEY UPDATE;
        IF FOUND AND NOT EXISTS (SELECT 1 FROM workspaces_membership WHERE workspace_id = OLD.workspace_id AND role = 4) THEN
            RAISE EXCEPTION 'workspace % would have no owner', OLD.workspace_id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER an_owner_stays AFTER UPDATE OR DELETE ON workspaces_membership
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.role = 4) EXECUTE FUNCTION orca_keep_an_owner();
"""
UNDO = "DROP TRIGGER an_owner_stays ON workspaces_membership; DROP FUNCTION orca_keep_an_owner();"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0002_tenancy")]
    operations = [migrations.RunSQL(OWNER_STAYS, UNDO)]
