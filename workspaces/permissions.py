"""Who may do what: one table. A permission is a least role; console, API and templates all ask here.

Source: spec/decisions.md 2.
"""

import rules
from django.db import models


class Role(models.IntegerChoices):
    """Ordered: a higher role may do all that a lower one may."""

    MEMBER = 1, "Member"
    DEVELOPER = 2, "Developer"
    ADMIN = 3, "Admin"
    OWNER = 4, "Owner"


class LeastRole(rules.Predicate):
    """Holds for a membership of ``least_role`` or above, and for nobody without one."""

    def __init__(self, role: Role) -> None:
        # Always a bool: the package reads None as "skip me", and `&` then passes.
        super().__init__(lambda membership: membership is not None and membership.role >= role, name=f"at_least:{role.label}")
        self.least_role = role


def at_least(role: Role) -> LeastRole:
    return LeastRole(role)


PERMISSIONS = {
    # Workspace
    "workspaces.view": at_least(Role.MEMBER),
    "workspaces.change": at_least(Role.ADMIN),
    "workspaces.view_members": at_least(Role.MEMBER),
    "workspaces.change_members": at_least(Role.ADMIN),
    "workspaces.change_owners": at_least(Role.OWNER),
    "workspaces.view_audit": at_least(Role.DEVELOPER),
    "workspaces.view_whole_audit": at_least(Role.ADMIN),
    "workspaces.own_tokens": at_least(Role.MEMBER),
    # Firewall
    "firewall.view_policy": at_least(Role.MEMBER),
    "firewall.change_policy": at_least(Role.DEVELOPER),
    "firewall.view_settings": at_least(Role.MEMBER),
    "firewall.change_settings": at_least(Role.DEVELOPER),
    "firewall.change_guarded_settings": at_least(Role.ADMIN),
    "firewall.view_events": at_least(Role.DEVELOPER),
    "firewall.view_tools": at_least(Role.MEMBER),
    "firewall.test_policy": at_least(Role.DEVELOPER),
    "firewall.backtest_policy": at_least(Role.DEVELOPER),
    "firewall.view_shadow_report": at_least(Role.DEVELOPER),
    # Approvals
    "approvals.view_delivery": at_least(Role.DEVELOPER),
    "approvals.change_webhook": at_least(Role.ADMIN),
    # Keys
    "keys.view_key": at_least(Role.MEMBER),
    "keys.change_key": at_least(Role.DEVELOPER),
    "keys.export_key": at_least(Role.DEVELOPER),
    "keys.change_gateway_key": at_least(Role.ADMIN),
    "keys.reveal_key": at_least(Role.DEVELOPER),
    "keys.reveal_gateway_key": at_least(Role.ADMIN),
    "keys.view_budget": at_least(Role.ADMIN),
    "keys.change_budget": at_least(Role.ADMIN),
    "keys.view_price": at_least(Role.ADMIN),
    "keys.change_price": at_least(Role.ADMIN),
    "keys.view_provider": at_least(Role.ADMIN),
    "keys.change_provider": at_least(Role.ADMIN),
    # Approvals
    "approvals.view_hold": at_least(Role.DEVELOPER),
    "approvals.approve_hold": at_least(Role.DEVELOPER),
    # Activity across apps
    "activity.view_totals": at_least(Role.MEMBER),
    "activity.view_runs": at_least(Role.DEVELOPER),
    "activity.stop_run": at_least(Role.DEVELOPER),
    "activity.view_key_usage": at_least(Role.DEVELOPER),
    "activity.export_usage": at_least(Role.DEVELOPER),
}

for name, predicate in PERMISSIONS.items():
    rules.add_perm(name, predicate)


def scope_needed(permission: str, *, reads: bool) -> str:
    """The scope an access token must have to use a permission: ``reveal`` and ``approve`` are asked for by name."""
    if permission.rpartition(".")[2].startswith(("reveal_", "approve_")):
        return permission.rpartition(".")[2].partition("_")[0]
    if PERMISSIONS[permission].least_role >= Role.ADMIN:
        return "admin"
    return "read" if reads else "write"


def allowed(membership, permission: str) -> bool:
    """Whether this member may. ``KeyError`` for a permission that is not in the table: a typo must not pass."""
    return PERMISSIONS[permission].test(membership)
