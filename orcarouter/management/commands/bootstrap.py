"""`manage.py bootstrap`: the first owner, workspace, token and keys; once, and safe to repeat."""

import json
import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.utils import timezone

import keys.services
import workspaces.services
from keys.provider_services import ModelSpec, create_demo_provider
from orcarouter.demo_provider import PRICES
from workspaces import tenancy
from workspaces.models import AccessToken, User, Workspace

OWNER_EMAIL = "owner@orcarouter.local"
TOKEN_NAME, RELAY_NAME, GATEWAY_NAME = "bootstrap", "first-agent", "bootstrap-gateway"
#: Replacements are for a person who lost the file: they last long enough to make proper ones.
REPLACEMENT_LIFE = timedelta(days=30)


class Command(BaseCommand):
    help = "Make the first owner, workspace, access token and keys. Prints one line of JSON last; repeats it as long as bootstrap.json is there."

    def add_arguments(self, parser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as the last line of standard output")
        parser.add_argument("--email", default=OWNER_EMAIL, help="the owner's address, on the first run")

    def handle(self, *args, **options) -> None:
        found = bootstrap(settings.DATA_DIR / "bootstrap.json", email=options["email"], at=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(found))
        else:
            self.stdout.write(f"Workspace {found['workspace_id']} is ready. Credentials: {settings.DATA_DIR / 'bootstrap.json'}")


def bootstrap(kept: Path, *, email: str, at: datetime) -> dict:
    """The credentials of the bootstrap workspace: those in ``kept``, else new ones. Never two workspaces."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two bootstraps at once make one workspace.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('orca bootstrap'))")
            cursor.execute("SELECT min(id) FROM orca_workspace_ids() AS id")
            workspace_id = cursor.fetchone()[0]
        if workspace_id is not None and kept.exists():
            return json.loads(kept.read_text()) | {"base_url": settings.BASE_URL}
        found = _first(email, at) if workspace_id is None else _replacements(workspace_id, at)
        found = {"base_url": settings.BASE_URL} | found
        # Before the commit: credentials that nobody was told would be lost; a file without rows is simply written again.
        _write(kept, found)
    return found


def _first(email: str, at: datetime) -> dict:
    password = secrets.token_urlsafe(15)
    owner = User.objects.filter(email__iexact=email).first() or User(email=email.lower(), name="Owner", created_at=at)
    owner.set_password(password)
    owner.save()
    workspace = workspaces.services.create_workspace(name="My workspace", owner=owner, at=at, has_demo=settings.EMBEDDED_DATABASE)
    with tenancy.scope(workspace.pk):
        if workspace.has_demo:
            _add_demo_provider(workspace, at)
        return _described(workspace, owner, password) | _credentials(workspace, owner, at, life=timedelta(days=365), key_expiry=None)


def _replacements(workspace_id: int, at: datetime) -> dict:
    """A new token and new keys; the last ones stop working. The password stays with its owner."""
    with tenancy.scope(workspace_id):
        workspace = Workspace.objects.get(pk=workspace_id)
        owner = workspace.memberships.order_by("-role", "id").select_related("user")[0].user
        for token in workspace.access_tokens.filter(name=TOKEN_NAME, revoked_at=None):
            workspaces.services.revoke_access_token(token, actor=None, at=at)
        keys.services.disable_keys(list(workspace.api_keys.filter(name__in=[RELAY_NAME, GATEWAY_NAME], is_disabled=False)), actor=None, at=at)
        return _described(workspace, owner, None) | _credentials(workspace, owner, at, life=REPLACEMENT_LIFE, key_expiry=at + REPLACEMENT_LIFE)


def _described(workspace: Workspace, owner: User, password: str | None) -> dict:
    found = {"workspace_id": workspace.pk, "owner_email": owner.email}
    return found | ({"owner_password": password} if password is not None else {})


def _credentials(workspace: Workspace, owner: User, at: datetime, *, life: timedelta, key_expiry: datetime | None) -> dict:
    scopes = list(AccessToken.Scope.values)
    _, access_token = workspaces.services.create_access_token(workspace, user=owner, name=TOKEN_NAME, scopes=scopes, expires_at=at + life, at=at)
    made = {}
    for field, name, is_gateway in (("relay_key", RELAY_NAME, False), ("gateway_key", GATEWAY_NAME, True)):
        fields = {"name": name, "is_firewall_gateway": is_gateway, "expires_at": key_expiry}
        _, made[field] = keys.services.create_key(workspace, fields=fields, actor=owner, at=at)
    return {"access_token": access_token} | made


def _add_demo_provider(workspace: Workspace, at: datetime) -> None:
    """The built-in demo provider, reached over its socket; the address is only shown."""
    models = [ModelSpec(name, "", input_price, output_price) for name, (input_price, output_price) in PRICES.items()]
    create_demo_provider(workspace, models=models, at=at)


def _write(path: Path, found: dict) -> None:
    """Atomically, readable by nobody else."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(found, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
