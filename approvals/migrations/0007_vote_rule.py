"""A word on a hold counts for the rule under which it was given."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0006_in_hand")]
    operations = [migrations.AddField("vote", "rule_hash", models.CharField(blank=True, default="", max_length=64))]
