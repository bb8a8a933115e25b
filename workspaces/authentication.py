"""Who is asking: a browser session, or a personal access token. A relay key means nothing here."""

from dataclasses import dataclass
from datetime import datetime

from allauth.account.authentication import get_authentication_records
from django.db import connection
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication

from workspaces import errors, vault
from workspaces.models import Membership, User

TOKEN_PREFIX = "orca-pat-"  # noqa: S105 - what every token begins with
#: What shows a secret again asks for a sign-in that is at most this old.
SIGN_IN_IS_RECENT_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request was authenticated with. ``scopes`` is None for a session: a person at the console has them all."""

    id: str
    workspace_id: int | None = None
    scopes: frozenset[str] | None = None

    @property
    def is_session(self) -> bool:
        return self.scopes is None


class AccessTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer orca-pat-...``"""

    def authenticate(self, request):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not token.startswith(TOKEN_PREFIX) or not token.isascii():
            raise errors.AuthenticationRequired("The management API takes a personal access token (orca-pat-...) or a browser session.")
        with connection.cursor() as cursor:
            # Before a workspace is known: a function that sees the one row, and notes the use.
            cursor.execute("SELECT id, workspace_id, user_id, scopes FROM orca_access_token(%s)", [vault.lookup_hash(token.strip())])
            row = cursor.fetchone()
        user = row and User.objects.filter(pk=row[2], is_active=True).first()
        if not user:
            raise errors.AuthenticationRequired("This access token is unknown, expired or revoked.")
        return user, Credential(f"token:{row[0]}", workspace_id=row[1], scopes=frozenset(row[3].split()))

    def authenticate_header(self, request) -> str:
        return "Bearer"


class BrowserSession(SessionAuthentication):
    """The console's session, with its CSRF check."""

    def authenticate(self, request):
        found = super().authenticate(request)
        return found and (found[0], Credential(f"session:{found[0].pk}"))

    def authenticate_header(self, request) -> str:
        return "Bearer"


def signed_in_lately(request: HttpRequest, at: datetime) -> bool:
    """Whether this session's person proved who they are within 15 minutes, by signing in or by doing it again."""
    proofs = [record["at"] for record in get_authentication_records(request, request.user)]
    signed_in_at = max(proofs, default=request.session.get("started_at", 0))
    return at.timestamp() - signed_in_at <= SIGN_IN_IS_RECENT_SECONDS


def chosen_membership(request: HttpRequest, user: User, credential: Credential) -> Membership:
    """The membership a request acts under: ``X-Workspace-Id``, else the session's workspace, else the token's.

    Raises ``NotFound`` for a workspace the person does not belong to, exactly as for one that does not exist. Needs a
    transaction narrowed to the person (``tenancy.enter``).
    """
    wanted = request.headers.get("X-Workspace-Id")
    if wanted is not None and not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 18):
        raise errors.ValidationFailed("X-Workspace-Id must be a workspace's number.", param="X-Workspace-Id")
    memberships = user.memberships.filter(workspace__archived_at=None).select_related("workspace")
    if credential.workspace_id is not None:
        # A token belongs to one workspace; naming another one finds nothing.
        memberships = memberships.filter(workspace_id=credential.workspace_id)
    if wanted is not None:
        memberships = memberships.filter(workspace_id=int(wanted))
    elif credential.is_session:
        active = memberships.filter(workspace_id=request.session.get("workspace_id") or 0).first()
        if active:
            return active
    membership = memberships.order_by("workspace_id").first()
    if membership is None:
        raise errors.NotFound("No such workspace.")
    return membership
