"""Who calls: the key of a request, what it grants, and why not. Source: spec/platform.md 1.5; spec/decisions.md 4."""

import logging
from datetime import UTC, datetime

from django.conf import settings

from keys.engine import scope
from keys.engine.grant import Grant
from keys.engine.token import is_well_formed
from orcarouter.gateway.request import Request
from orcarouter.gateway.state import State
from workspaces import errors, vault
from workspaces.engine import client_address

logger = logging.getLogger(__name__)


async def authenticate(state: State, request: Request) -> tuple[str, Grant]:
    """The key of a request and what it grants: validity, then source address. Raises ``InvalidApiKey``, ``AccessDenied``."""
    token = _token(request)
    if not is_well_formed(token):
        # What cannot be a key is not looked up: guessing costs PostgreSQL nothing.
        require(request, None, None)
    token_hash = vault.lookup_hash(token)
    grant = await state.grant(token_hash)
    if grant is not None and scope_refusal(request, grant, None) is not None:
        # Refused by what may be an old copy: a key that was just revived must work.
        grant = await state.fresh(token_hash, grant)
    require(request, grant, None)
    assert grant is not None
    return token_hash, grant


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise errors.InvalidApiKey(scope.INVALID_KEY if scheme else "Send a key as `Authorization: Bearer sk-orca-...`.")
    return token.strip()[:512].decode("latin-1")


def require(request: Request, grant: Grant | None, model: str | None) -> None:
    """Raise ``InvalidApiKey`` or ``AccessDenied`` where a key (None: there is no such) may not ask this."""
    refusal = scope_refusal(request, grant, model) if grant is not None else None
    if grant is None or (refusal is not None and refusal.code == errors.InvalidApiKey.code):
        logger.info("key_refused", extra={"request_id": request.id, "reason": refusal.reason.value if refusal else "unknown", "key_id": grant and grant.key_id})
        raise errors.InvalidApiKey(scope.INVALID_KEY)
    if refusal is not None:
        raise errors.AccessDenied(refusal.message)


def scope_refusal(request: Request, grant: Grant, model: str | None) -> scope.Refusal | None:
    """Why this key may not ask this, from where it asks, just now; None where it may."""
    if grant.scope.is_open:
        return None
    address = client_address.client_address(request.peer, request.forwarded_for, settings.TRUSTED_PROXIES) if grant.scope.networks else None
    return scope.admits(grant.scope, model=model, address=address, at=datetime.now(UTC))


def listed_models(request: Request, grant: Grant) -> dict[str, bool]:
    """The models this key may ask for, each with whether the demo provider answers to it."""
    return {name: routes[0].is_demo for name, routes in sorted(grant.models.items()) if scope_refusal(request, grant, name) is None}
