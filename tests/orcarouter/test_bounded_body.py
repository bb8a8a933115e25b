"""A body without end is refused while it comes, before anything of it is kept."""

import json
from itertools import count

from orcarouter.asgi import application

SCOPE = {"type": "http", "method": "POST", "path": "/api/token/", "raw_path": b"/api/token/", "query_string": b"", "headers": [(b"host", b"localhost")]}
CHUNK = b"x" * 65_536


async def test_a_body_without_end_is_refused_before_it_ends():
    pieces, sent = count(), []

    async def receive():
        assert next(pieces) < 20, "a piece is taken that nobody will read"
        return {"type": "http.request", "body": CHUNK, "more_body": True}

    async def send(message):
        sent.append(message)

    await application(SCOPE, receive, send)
    start, body = sent
    assert (start["status"], json.loads(body["body"])["error"]["code"]) == (413, "payload_too_large")


async def test_a_policys_file_may_be_larger_and_has_an_end_too():
    path, pieces, sent = "/api/workspace/firewall/policies/import", count(), []

    async def receive():
        assert next(pieces) < 300, "a piece is taken that nobody will read"
        return {"type": "http.request", "body": CHUNK, "more_body": True}

    async def send(message):
        sent.append(message)

    await application(SCOPE | {"path": path, "raw_path": path.encode()}, receive, send)
    assert sent[0]["status"] == 413
    assert next(pieces) > 250
