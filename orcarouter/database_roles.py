"""A start under a role that row-level security does not bind is refused: the second wall would stand beside the road."""

import psycopg
from django.conf import settings

from orcarouter.supervision import StartRefused

#: What a role may not be, as PostgreSQL knows it. The recorder may not even read.
_QUESTION = """
    SELECT current_user, rolsuper, rolbypassrls,
           EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'public' AND pg_has_role(current_user, c.relowner, 'MEMBER')),
           has_table_privilege('firewall_event', 'SELECT')
      FROM pg_roles WHERE rolname = current_user
"""


def refuse_privileged() -> None:
    """Raise ``StartRefused``, naming the setting, if the application's or the recorder's role is more than it should be."""
    for name, may_read in (("DATABASE_URL", True), ("DATABASE_RECORDER_URL", False)):
        if not getattr(settings, name):
            raise StartRefused(f"{name} is missing: the record is written under a role of its own. See docs/operation.md.")
        try:
            with psycopg.connect(getattr(settings, name), connect_timeout=10) as connection:
                found = connection.execute(_QUESTION).fetchone()
        except psycopg.Error as error:
            # libpq's text may hold the address, never the password; the first line is enough.
            raise StartRefused(f"{name}: PostgreSQL refused: {str(error).strip().splitlines()[0]}") from error
        assert found is not None
        role, is_super, bypasses, owns, reads = found
        faults = [
            fault for fault, holds in (("a superuser", is_super), ("exempt from row-level security", bypasses), ("an owner of the tables", owns)) if holds
        ]
        if not may_read and reads:
            faults.append("allowed to read events")
        if faults:
            raise StartRefused(
                f"{name} names the role {role}, which is {' and '.join(faults)}. Use orca_{'app' if may_read else 'recorder'}; see docs/operation.md."
            )
