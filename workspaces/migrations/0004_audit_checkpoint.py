"""Signed checkpoints of the audit log: walled and append-only as the log itself."""

import django.db.models.deletion
from django.db import migrations, models

from workspaces import rls


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0003_an_owner_stays")]
    operations = [
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("count", models.BigIntegerField()),
                ("head", models.CharField(max_length=64)),
                ("signature", models.CharField(max_length=128)),
                (
                    "workspace",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="audit_checkpoints", to="workspaces.workspace"),
                ),
            ],
        ),
        rls.protect("workspaces_auditcheckpoint"),
        rls.append_only("workspaces_auditcheckpoint"),
    ]
