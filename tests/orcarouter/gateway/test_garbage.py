"""What a call keeps in memory is freed when it ends: what is left to the collector comes back as pauses of other calls."""

import asyncio
import gc
from collections import Counter
from typing import Any

import httpx2 as httpx
import pytest

from orcarouter.gateway.app import Gateway
from tests.orcarouter.test_http_protocol import serving

MESSAGES = [{"role": "user", "content": 'call mail.send {"to": "a@example.com"}'}]
RULES = [
    {"priority": 1, "tool_name_glob": "shell.*", "verdict": "deny"},
    {"priority": 2, "tool_name_glob": "mail.*", "verdict": "deny", "args_match": {"clauses": [{"path": "$.to", "op": "contains", "value": "@"}]}},
]
CALLS = 4


def ours() -> Counter[type]:
    """How many objects of each class of the gateway there are."""
    return Counter(type(each) for each in gc.get_objects() if str(type(each).__module__).startswith(("orcarouter.gateway", "orcarouter.http_protocol")))


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


@pytest.fixture
def governed(agent):
    agent.policy(rules=RULES)
    return agent


async def test_no_call_of_any_kind_is_left_to_the_collector(governed):
    gateway = Gateway()
    await gateway.start()
    body: dict[str, Any] = {"model": "demo-small", "messages": MESSAGES, "tools": [tool("mail.send")]}
    kinds = {
        "whole": (200, body),
        "stream": (200, body | {"stream": True}),
        "refused": (400, body | {"tools": [tool("shell.exec")]}),
        "failed": (500, body | {"model": "demo-error-500"}),
        "no JSON": (400, {}),
    }
    try:
        async with serving(gateway) as port, httpx.AsyncClient(headers={"Authorization": f"Bearer {governed.token}"}, timeout=30) as client:

            async def ask(kind: str) -> None:
                status, sent = kinds[kind]
                answer = await client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=sent)
                assert answer.status_code == status, answer.text

            for kind in kinds:
                await ask(kind)
            for kind in kinds:
                gc.collect()
                gc.disable()
                try:
                    before = ours()
                    for _ in range(CALLS):
                        await ask(kind)
                    # What follows an answer: its settlement, the connection to the provider.
                    await asyncio.sleep(0.2)
                    more = ours() - before
                finally:
                    gc.enable()
                assert all(count < CALLS for count in more.values()), f"{kind}: {more}"
    finally:
        await gateway.stop()
