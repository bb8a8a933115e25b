"""Sums of the tools that were seen, and an index of what shadow mode let go on."""

import django.db.models.deletion
from django.db import migrations, models

from workspaces import rls


def workspace(related_name: str, kind: type[models.ForeignKey], **options: object) -> models.ForeignKey:
    return kind("workspaces.workspace", on_delete=django.db.models.deletion.CASCADE, related_name=related_name, **options)


class Migration(migrations.Migration):
    dependencies = [("firewall", "0006_policy_versions")]

    operations = [
        migrations.CreateModel(
            "ToolDay",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("workspace", workspace("tool_days", models.ForeignKey)),
                ("day", models.DateField()),
                ("tool_name", models.TextField()),
                ("surface", models.CharField(max_length=8)),
                ("key_id", models.BigIntegerField()),
                ("calls", models.BigIntegerField()),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
            ],
            options={"constraints": [models.UniqueConstraint(fields=["workspace", "day", "tool_name", "surface", "key_id"], name="tool_day_once")]},
        ),
        migrations.CreateModel(
            "ToolTally",
            [
                ("workspace", workspace("tool_tally", models.OneToOneField, primary_key=True, serialize=False)),
                ("through", models.UUIDField()),
            ],
        ),
        rls.protect("firewall_toolday"),
        rls.protect("firewall_tooltally"),
        migrations.RunSQL(
            "CREATE INDEX event_shadow ON firewall_event (workspace_id, policy_id, id) WHERE shadow",
            "DROP INDEX event_shadow",
        ),
    ]
