from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("firewall", "0003_grouped_events")]

    operations = [
        migrations.AddField("policy", "max_runs_per_key_per_hour", models.PositiveIntegerField(null=True)),
        # With a default of the database's: rules are still written by processes that do not know the column.
        migrations.AddField("rule", "skill_name_glob", models.CharField(blank=True, db_default="", default="", max_length=128)),
        migrations.AddField("rule", "args_match", models.JSONField(null=True)),
        migrations.AddField("rule", "egress", models.JSONField(null=True)),
        migrations.AddField("rule", "sanitize", models.JSONField(null=True)),
        migrations.AddField("rule", "sequence", models.JSONField(null=True)),
        migrations.AddField("rule", "cap_cost_cents", models.PositiveIntegerField(null=True)),
        migrations.AlterField(
            "rule",
            "verdict",
            models.CharField(
                choices=[
                    ("allow", "Allow"),
                    ("audit", "Audit"),
                    ("deny", "Deny"),
                    ("sanitize", "Sanitize"),
                    ("pending_approval", "Pending Approval"),
                    ("cap_cost", "Cap Cost"),
                ],
                max_length=16,
            ),
        ),
    ]
