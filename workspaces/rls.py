"""Row-level security as migration operations. Three roles, by name:

``orca_owner`` migrates and owns the tables; ``orca_app`` is what the product runs as, owns nothing and sees one workspace
a transaction; ``orca_recorder`` may insert into the record tables and read nothing. FORCE binds the owner to policies too.
"""

from django.db.migrations.operations import RunSQL

_WORKSPACE = "NULLIF(current_setting('orca.workspace_id', true), '')::bigint"
_PERSON = "NULLIF(current_setting('orca.user_id', true), '')::bigint"


def protect(table: str, *, column: str = "workspace_id", also_visible_if: str = "false") -> RunSQL:
    """Rows of a workspace are seen and written only inside its scope; ``also_visible_if`` widens reading alone."""
    return RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY owner_all ON {table} TO orca_owner USING (true) WITH CHECK (true);
        CREATE POLICY in_scope ON {table} TO orca_app USING ({column} = {_WORKSPACE}) WITH CHECK ({column} = {_WORKSPACE});
        CREATE POLICY widened ON {table} FOR SELECT TO orca_app USING ({also_visible_if.format(person=_PERSON)});
        """,
        RunSQL.noop,
    )


def append_only(table: str) -> RunSQL:
    """Rows are never changed or removed, whoever asks; TRUNCATE is refused too."""
    return RunSQL(
        f"""
        CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END $$;
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_refuse();
        CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse();
        REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM orca_app;
        """,
        RunSQL.noop,
    )


def recorded(table: str) -> RunSQL:
    """A record table partitioned by day: the recorder inserts, the application reads, nobody changes."""
    return RunSQL(
        f"""
        REVOKE ALL ON {table} FROM orca_app;
        GRANT SELECT ON {table} TO orca_app;
        GRANT INSERT ON {table} TO orca_recorder;
        CREATE POLICY recorder_inserts ON {table} FOR INSERT TO orca_recorder WITH CHECK (true);
        """,
        RunSQL.noop,
    )
