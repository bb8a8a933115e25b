"""``Idempotency-Key`` on management writes: the same request again gets the first one's answer, and changes nothing.

The answer is stored in the transaction of the change, so there is never one without the other; a request that failed
changed nothing, left no answer, and may be sent again. Source: spec/decisions.md 3.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import connection
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from workspaces import tokens
from workspaces.errors import IdempotencyKeyReused, PayloadTooLarge, ValidationFailed

if TYPE_CHECKING:
    from workspaces.api_base import ApiRequest, WorkspaceViewSet

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
#: Fields of an answer that may be a secret shown once: what is stored of them is the mask.
SECRET_FIELDS = frozenset({"key", "token", "secret", "link", "password"})


def around(view: "WorkspaceViewSet", request: "ApiRequest", handler: Callable[[], Response]) -> Response:
    """Answer from the record, or run ``handler`` and record its answer.

    Runs inside the request's transaction and workspace. Two at once: the second waits for the first. Raises
    ``IdempotencyKeyReused`` when the key came with another body before.
    """
    key = request.headers.get(HEADER)
    if key is None or request.method in ("GET", "HEAD", "OPTIONS") or not view.keeps_answers:
        return handler()
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ValidationFailed("An idempotency key is 1 to 255 printable ASCII characters.", param=HEADER)
    scope_hash = _digest("\0".join((request.auth.id, str(request.method), request.path, key)).encode())
    body_hash = _digest(_body(request))
    _wait_for_twin(view.workspace.pk, scope_hash)
    records = view.workspace.idempotency_records.filter(scope_hash=scope_hash)
    earlier = records.first()
    if earlier and earlier.created_at > timezone.now() - KEPT:
        if earlier.body_hash != body_hash:
            raise IdempotencyKeyReused("This idempotency key was used with another body.", param=HEADER)
        return Response(earlier.answer, status=earlier.status, headers={"Idempotency-Replayed": "true"})
    response = handler()
    records.delete()
    view.workspace.idempotency_records.create(
        scope_hash=scope_hash, body_hash=body_hash, status=response.status_code, answer=_storable(_as_sent(response.data))
    )
    return response


def _body(request: "ApiRequest") -> bytes:
    try:
        return request._request.body
    except RequestDataTooBig as error:
        raise PayloadTooLarge("The body is larger than 1 MiB.") from error


def _digest(value: bytes) -> str:
    # Keyed: a body may hold a secret short enough to be guessed from a bare hash.
    return hmac.digest(settings.KEY_PEPPER.encode(), value, hashlib.sha256).hex()


def _wait_for_twin(workspace_id: int, scope_hash: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [scope_hash, workspace_id])


def _as_sent(answer: object) -> object:
    """The answer as the client reads it: times, amounts and ids as JSON writes them."""
    return json.loads(json.dumps(answer, cls=JSONEncoder))


def _storable(answer: object) -> object:
    match answer:
        case dict():
            return {name: _masked(value) if name in SECRET_FIELDS else _storable(value) for name, value in answer.items()}
        case list() | tuple():
            return [_storable(item) for item in answer]
    return answer


def _masked(value: object) -> object:
    return value if value is None or value == "" else tokens.masked(str(value))
