"""Keep with an event what its judgement rested on beside the call: what a replay needs."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("firewall", "0007_discovered_tools")]
    operations = [
        migrations.RunSQL("ALTER TABLE firewall_event ADD COLUMN judged_on jsonb", "ALTER TABLE firewall_event DROP COLUMN judged_on"),
    ]
