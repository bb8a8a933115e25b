"""Sums of what each rule decided. Tools are summed anew with them: both come out of one pass over the events."""

import django.db.models.deletion
from django.db import migrations, models

from workspaces import rls


class Migration(migrations.Migration):
    dependencies = [("firewall", "0008_judged_on")]

    operations = [
        migrations.CreateModel(
            "RuleDay",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("workspace", models.ForeignKey("workspaces.workspace", on_delete=django.db.models.deletion.CASCADE, related_name="rule_days")),
                ("day", models.DateField()),
                ("policy_id", models.BigIntegerField()),
                ("rule_id", models.BigIntegerField()),
                ("calls", models.BigIntegerField()),
                ("last_at", models.DateTimeField()),
            ],
            options={"constraints": [models.UniqueConstraint(fields=["workspace", "policy_id", "rule_id", "day"], name="rule_day_once")]},
        ),
        rls.protect("firewall_ruleday"),
        migrations.RunSQL("DELETE FROM firewall_toolday; DELETE FROM firewall_tooltally", migrations.RunSQL.noop),
    ]
