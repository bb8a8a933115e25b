"""The ground floor: who is who, and what every other app stands on.

Here live people, workspaces, memberships, access tokens and the audit log, and the few things that all apps share:
errors, money, permissions, tenancy (row-level security), the vault for secrets, ids. Nothing here knows of a
policy, a key or a call.
"""
