"""Events cost less to write: the key serves the feed, no index of a time that the id tells, and tools are gathered before they are indexed.

Of ``event_grouped_tools`` a search reads what waits beside it, 256 kB at most: some thousand events.
"""

from django.db import migrations

from workspaces import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("firewall", "0010_backtests")]
    operations = [
        indexes.primary_key("firewall_event", "workspace_id, id", instead_of="event_feed"),
        indexes.index(
            "event_grouped_tools", "firewall_event", "USING gin (tools) WITH (fastupdate = on, gin_pending_list_limit = 256) WHERE tool_name IS NULL"
        ),
        migrations.RunSQL("DROP INDEX IF EXISTS event_tools, event_time", migrations.RunSQL.noop),
    ]
