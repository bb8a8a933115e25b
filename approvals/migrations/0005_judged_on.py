"""Events of holds keep what their judgement rested on, as all events do."""

import re
from importlib import import_module

from django.db import migrations

FORMER = import_module("approvals.migrations.0003_holds").EVENTS
FUNCTION = FORMER[FORMER.index("CREATE FUNCTION orca_record_approval_events") : FORMER.index("CREATE FUNCTION orca_due_approvals")]
REPLACED = (
    re.sub("^CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", FUNCTION)
    .replace("args_summary, args_hash, approval_id)", "args_summary, args_hash, approval_id, judged_on)")
    .replace("r.args_summary, r.args_hash, r.approval_id", "r.args_summary, r.args_hash, r.approval_id, r.judged_on")
)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_callback"), ("firewall", "0008_judged_on")]
    operations = [migrations.RunSQL(REPLACED, migrations.RunSQL.noop)]
