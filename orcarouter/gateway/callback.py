"""The one gateway route without a key: a hold is decided by a signed callback."""

from datetime import UTC, datetime

import orjson
from django.db import DatabaseError

from approvals import callback
from orcarouter.gateway.request import Request
from orcarouter.gateway.state import State
from workspaces import errors


async def receive(state: State, request: Request, approval_id: str) -> None:
    """Check, decide and say how the hold stands. Raises ``OrcaError``; PostgreSQL away: ``StoreUnavailable``, nothing is decided."""
    body = await request.read_body(callback.MAX_BODY_BYTES)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
    try:
        approval = await state.change(_decide, approval_id, headers, body)
    except (DatabaseError, TimeoutError) as error:
        raise errors.StoreUnavailable("The database does not answer.") from error
    told = {"approval_id": approval.pk, "state": approval.state, "resolved_at": approval.resolved_at}
    await request.answer(200, orjson.dumps(told, option=orjson.OPT_UTC_Z))


def _decide(approval_id: str, headers: dict[str, str], body: bytes):
    return callback.receive(approval_id, headers, body, at=datetime.now(UTC))
