"""Grants, row-level security and the lookups that come before a workspace is known."""

from django.db import migrations

from workspaces import rls

GRANTS = """
    GRANT USAGE ON SCHEMA public TO orca_app, orca_recorder;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO orca_app;
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO orca_app;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO orca_app;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO orca_app;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM orca_app;
    CREATE TABLE django_cache (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
    CREATE INDEX django_cache_expires ON django_cache (expires);
"""

LOOKUPS = """
    CREATE FUNCTION orca_access_token(hash text) RETURNS TABLE (id bigint, workspace_id bigint, user_id bigint, scopes text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    #variable_conflict use_column
    BEGIN
        -- Noted once a minute at most: a busy script must not make every request a write.
        UPDATE workspaces_accesstoken SET last_used_at = now()
         WHERE token_hash = hash AND revoked_at IS NULL AND expires_at > now()
           AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');
        RETURN QUERY SELECT t.id, t.workspace_id, t.user_id,
                            coalesce((SELECT string_agg(s, ' ') FROM jsonb_array_elements_text(t.scopes) AS s), '')
                       FROM workspaces_accesstoken t
                      WHERE t.token_hash = hash AND t.revoked_at IS NULL AND t.expires_at > now();
    END $$;

    CREATE FUNCTION orca_invitation(hash text) RETURNS TABLE (id bigint, workspace_id bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT i.id, i.workspace_id FROM workspaces_invitation i WHERE i.token_hash = hash $$;

    CREATE FUNCTION orca_config_versions() RETURNS TABLE (id bigint, config_version bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT w.id, w.config_version FROM workspaces_workspace w WHERE w.archived_at IS NULL $$;

    CREATE FUNCTION orca_workspace_ids() RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT w.id FROM workspaces_workspace w WHERE w.archived_at IS NULL ORDER BY w.id $$;

    CREATE FUNCTION orca_forget_idempotency_records(hours integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ DELETE FROM workspaces_idempotencyrecord WHERE created_at < now() - make_interval(hours => greatest(hours, 1)) $$;

    REVOKE ALL ON FUNCTION orca_access_token, orca_invitation, orca_config_versions, orca_workspace_ids, orca_forget_idempotency_records FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_access_token, orca_invitation, orca_config_versions, orca_workspace_ids, orca_forget_idempotency_records TO orca_app;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]
    operations = [
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
        rls.protect(
            "workspaces_workspace",
            column="id",
            also_visible_if="EXISTS (SELECT 1 FROM workspaces_membership m WHERE m.workspace_id = workspaces_workspace.id AND m.user_id = {person})",
        ),
        rls.protect("workspaces_membership", also_visible_if="user_id = {person}"),
        rls.protect("workspaces_invitation"),
        rls.protect("workspaces_accesstoken"),
        rls.protect("workspaces_auditentry"),
        rls.protect("workspaces_idempotencyrecord"),
        rls.append_only("workspaces_auditentry"),
        migrations.RunSQL(LOOKUPS, migrations.RunSQL.noop),
    ]
