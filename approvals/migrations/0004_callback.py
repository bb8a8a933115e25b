"""A callback finds its workspace by the hold's id; and who set the secret before this one counts as long as it is valid."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

LOOKUP = """
    CREATE FUNCTION orca_approval_workspace(approval text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT a.workspace_id FROM approvals_approval a JOIN workspaces_workspace w ON w.id = a.workspace_id
        WHERE a.id = approval AND w.archived_at IS NULL $$;
    REVOKE ALL ON FUNCTION orca_approval_workspace FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION orca_approval_workspace TO orca_app;
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0003_holds"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.AddField(
            "webhookendpoint",
            "former_secret_set_by",
            models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL),
        ),
        migrations.RunSQL(LOOKUP, migrations.RunSQL.noop),
    ]
