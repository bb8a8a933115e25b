"""docs/approvals.md: its examples, as they stand, against the running product and a real receiver."""

import threading
import time

import httpx2 as httpx
import openai
import pytest
from standardwebhooks import WebhookVerificationError

from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, PAY, chat, held
from tests.receiver import SECRET
from tests.test_docs import ROOT, blocks
from workspaces.permissions import Role

pytestmark = pytest.mark.stack
PAGE = ROOT / "docs" / "approvals.md"
TOOLS = [{"type": "function", "function": {"name": "payments.transfer"}}]


def example(name: str):
    """A function of the page."""
    found: dict = {}
    (block,) = [block for block in blocks(PAGE) if block.language == "py" and f"def {name}(" in block.text]
    exec(block.text, found)
    return found[name]


@pytest.fixture
def agent(stack, committed, receiver):
    made = make_agent(stack)
    made.policy(default_verdict="allow", rules=[HOLDS])
    headers = {"Authorization": f"Bearer {made.tenant.token(Role.ADMIN)}"}
    changes = {"approval_webhook_url": receiver.url, "approval_webhook_secret": SECRET}
    assert httpx.put(f"{stack.url}/api/workspace/firewall/settings", json=changes, headers=headers, timeout=60).status_code == 200
    return made


def test_the_helper_waits_for_the_decision_and_gives_the_approved_call(agent, receiver):
    answers: list = []
    request = {"model": "demo-small", "messages": [{"role": "user", "content": PAY}], "tools": TOOLS}
    waiting = threading.Thread(target=lambda: answers.append(example("complete")(agent.sdk(), **request)))
    waiting.start()
    told = example("read_with_library")(SECRET, receiver.wait_for(1)[0].headers, receiver.received[0].body)
    assert example("decide")(agent.stack.url, SECRET, told["data"]["approval_id"], "approved")["state"] == "approved"
    waiting.join(60)
    (call,) = answers[0].choices[0].message.tool_calls
    assert (call.function.name, "4180" in call.function.arguments) == ("payments.transfer", True)


def test_the_helper_says_when_nobody_decides_or_somebody_refuses(agent, receiver):
    request = {"model": "demo-small", "messages": [{"role": "user", "content": PAY}], "tools": TOOLS}
    approval_id = held(chat(agent, tools=("payments.transfer",)))["approval_id"]
    example("decide")(agent.stack.url, SECRET, approval_id, "rejected", "not this payee")
    complete = example("complete")
    failed: list = []

    def run() -> None:
        try:
            complete(agent.sdk(), **request)
        except openai.BadRequestError as error:
            failed.append(error.code)

    waiting = threading.Thread(target=run)
    waiting.start()
    deadline = time.monotonic() + 60
    while not (new := {got.json["data"]["approval_id"] for got in receiver.received} - {approval_id}) and time.monotonic() < deadline:
        time.sleep(0.05)
    example("decide")(agent.stack.url, SECRET, new.pop(), "rejected")
    waiting.join(60)
    assert failed == ["firewall_approval_invalid"]
    with pytest.raises(TimeoutError):
        complete(agent.sdk(), patience_seconds=0, **request | {"messages": [{"role": "user", "content": PAY.replace("4180", "1")}]})


def test_both_ways_of_reading_a_message_refuse_a_forged_one(agent, receiver):
    held(chat(agent))
    got = receiver.wait_for(1)[0]
    for name, refusal in (("read_with_library", WebhookVerificationError), ("read_by_hand", ValueError)):
        read = example(name)
        assert read(SECRET, got.headers, got.body)["event"] == "firewall.approval.pending"
        with pytest.raises(refusal):
            read(SECRET, got.headers, got.body.replace(b"payments", b"Payments"))
        with pytest.raises(refusal):
            read("another-secret-of-24-characters", got.headers, got.body)
