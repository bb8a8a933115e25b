"""``manage.py audit verify``: walk the audit chains and name the first entry that does not hold."""

import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from workspaces import audit, selectors, tenancy


class Command(BaseCommand):
    help = "Verify the hash chains of the audit log. Exits 1 and names the first bad entry of each broken chain."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verify = parser.add_subparsers(dest="what", required=True).add_parser("verify", help="walk every chain, or one")
        verify.add_argument("--workspace", type=int, help="the number of one workspace")

    def handle(self, *args: object, workspace: int | None = None, **options: object) -> None:
        broken = [number for number in ([workspace] if workspace is not None else selectors.workspace_ids()) if not self._holds(number)]
        if broken:
            sys.exit(1)

    def _holds(self, workspace_id: int) -> bool:
        with tenancy.scope(workspace_id):
            workspace = selectors.workspace(workspace_id)
            if workspace is None:
                raise CommandError(f"There is no workspace {workspace_id}.")
            bad = audit.verify(workspace)
            if bad:
                self.stdout.write(self.style.ERROR(f"workspace {workspace_id}: entry {bad.sequence} {bad.reason}"))
            else:
                self.stdout.write(f"workspace {workspace_id}: {workspace.audit_entries.count()} entries, the chain holds")
        return bad is None
