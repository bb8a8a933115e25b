"""A payment that waits for a person: held, looked at in the console, and then exactly that payment, once."""

import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import openai
from django.urls import reverse

from orcarouter.demo.installation import SECONDS, Installation, opener
from orcarouter.demo.screen import BOLD, DIM, Screen
from orcarouter.demo.stories import MODEL

SLUG = "payment"
TOOL = "payments__transfer"
TRANSFER = {"amount_usd": 4180, "payee": "Marlow Freight BV", "reference": "INV-2026-1088"}
TASK = f"Pay the freight invoice: call {TOOL} {json.dumps(TRANSFER)}"
HEADER = "X-OrcaRouter-Firewall-Approval"
#: One long poll; the gateway takes at most 30.
POLL_SECONDS = 20


def play(*, installation: Installation, key: Mapping, screen: Screen, wait_seconds: int) -> list[str]:
    """Tell the story; what did not end as it should. That nobody decides in time is an ending as well: nothing ran."""
    payment = _Payment(installation, key, f"demo-{SLUG}-{uuid4().hex[:12]}")
    screen.gap()
    screen.says("person", TASK)
    try:
        calls = payment.ask()
    except openai.BadRequestError as error:
        told: Any = error.body if isinstance(error.body, dict) else {}
        if told.get("code") != "firewall_approval_pending":
            return [f"The call was refused instead of held: {error.message}"]
        held: str = told["metadata"]["approval_id"]
        screen.says("gateway", told["message"], word="held")
    else:
        return [f"The payment was not held: {calls}"]
    screen.says("agent", "waits; nothing has run. Decide about it here:")
    screen.says("", f"{installation.url}{reverse('console:approval', args=[held])}", whole=True)
    state = payment.wait(held, wait_seconds)
    if state != "approved":
        word = "Nobody has decided yet" if state == "pending" else f"It was {state}"
        screen.says("ending", f"{word}: the payment did not run. With `--wait 120` the demo waits for you.", style=BOLD)
        return []
    screen.says("person", "approved it in the console")
    calls = payment.ask(held)
    for name, arguments in calls:
        screen.says("agent", f"runs {name} {arguments}")
    problems = [] if [(name, json.loads(arguments)) for name, arguments in calls] == [(TOOL, TRANSFER)] else [f"Another call came than was approved: {calls}"]
    try:
        payment.ask(held)
    except openai.BadRequestError as error:
        screen.says("gateway", f"a second time: {error.message}", style=DIM)
    else:
        problems.append("The approval was good for a second payment.")
    screen.outcome(problems, "A person read the very call, and that call ran, once.")
    return problems


class _Payment:
    """The agent of this story: it asks, and knows how to wait."""

    def __init__(self, installation: Installation, key: Mapping, run_id: str) -> None:
        self._installation, self._key, self._run_id = installation, key, run_id

    def ask(self, *approvals: str) -> list[tuple[str, str]]:
        """The calls (name, arguments) of the model's answer. Raises ``openai.BadRequestError``."""
        parameters = {"type": "object", "properties": {name: {} for name in TRANSFER}}
        tool: Any = {"type": "function", "function": {"name": TOOL, "description": "Transfer money.", "parameters": parameters}}
        headers = {"X-OrcaRouter-Run-Id": self._run_id} | ({HEADER: ",".join(approvals)} if approvals else {})
        with openai.OpenAI(base_url=f"{self._installation.url}/v1", api_key=self._key["key"], http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
            answer: Any = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": TASK}], tools=[tool], extra_headers=headers)
        return [(call.function.name, call.function.arguments) for call in answer.choices[0].message.tool_calls or ()]

    def wait(self, approval_id: str, seconds: int) -> str:
        """The state of the hold once somebody has decided, or when the time is over."""
        end = time.monotonic() + seconds
        while True:
            left = max(0, min(POLL_SECONDS, int(end - time.monotonic())))
            address = f"{self._installation.url}/api/v1/firewall/approvals/{approval_id}?wait={left}"
            request = urllib.request.Request(address, headers={"Authorization": f"Bearer {self._key['key']}"})  # noqa: S310 - an address of our own
            with opener.open(request, timeout=SECONDS + left) as answer:
                state: str = json.loads(answer.read())["state"]
            if state != "pending" or left == 0:
                return state
