"""Keep every version of a policy. What a policy is now is the first that is known of it."""

from django.db import migrations, models
from django.db.models.deletion import PROTECT
from django.utils import timezone

from workspaces import rls

POLICY_FIELDS = (
    *("name", "enabled", "is_default", "default_verdict", "shadow_mode"),
    *("block_notice", "refuse_unknown_fields", "max_runs_per_key_per_hour"),
)
RULE_FIELDS = (
    *("id", "priority", "label", "notes", "stage", "tool_name_glob", "skill_name_glob", "verdict", "enabled"),
    *("args_match", "egress", "sanitize", "sequence", "cap_cost_cents"),
)


def keep_what_is(apps, schema_editor):
    database = schema_editor.connection.alias
    versions, policies = (apps.get_model("firewall", name).objects.using(database) for name in ("PolicyVersion", "Policy"))
    for policy in policies.prefetch_related("rules").iterator(chunk_size=200):
        rules = sorted(policy.rules.all(), key=lambda rule: (rule.priority, rule.id))
        snapshot = {name: getattr(policy, name) for name in POLICY_FIELDS} | {"rules": [{name: getattr(rule, name) for name in RULE_FIELDS} for rule in rules]}
        versions.create(
            workspace_id=policy.workspace_id, policy_id=policy.id, version=policy.version, snapshot=snapshot,
            summary="As it was when versions began to be kept.", saved_at=timezone.now(),
        )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("firewall", "0005_rule_language"), ("workspaces", "0004_audit_checkpoint")]

    operations = [
        migrations.CreateModel(
            "PolicyVersion",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("policy_id", models.BigIntegerField()),
                ("version", models.PositiveIntegerField()),
                ("snapshot", models.JSONField()),
                ("summary", models.CharField(max_length=1200)),
                ("saved_at", models.DateTimeField()),
                ("author_id", models.BigIntegerField(null=True)),
                ("author_label", models.CharField(blank=True, max_length=254)),
                ("workspace", models.ForeignKey(on_delete=PROTECT, related_name="policy_versions", to="workspaces.workspace")),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [models.UniqueConstraint(fields=["workspace", "policy_id", "version"], name="policy_version_once")],
            },
        ),
        migrations.RunPython(keep_what_is, migrations.RunPython.noop),
        rls.protect("firewall_policyversion"),
        rls.append_only("firewall_policyversion"),
    ]
