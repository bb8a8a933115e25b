"""Providers that break the rules: whatever they send, it is judged or refused, told without secrets, and recorded once."""

import contextlib
import gzip
import json
import re
import socketserver
import threading
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from keys import selectors
from tests.environment import DATA_DIR
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.stack import Stack
from workspaces import tenancy, vault
from workspaces.services import touch_config

SECRET = "our own pass-phrase"
CALL = {"id": "c1", "type": "function", "function": {"name": "shell.exec", "arguments": "{}"}}


def head(kind: str, status: str = "200 OK", *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *more, "", ""]).encode()


def completion(message: dict, **more) -> bytes:
    return json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}).encode()


def event(delta: dict, finish: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"


#: What follows comes when the client has read what was before it.
LATER = b"<later>"
JSON, SSE = "application/json", "text/event-stream"
PLAIN = completion({"role": "assistant", "content": "hello"}, usage={"prompt_tokens": 3, "completion_tokens": 2})
CALLING = completion({"role": "assistant", "content": None, "tool_calls": [CALL]})
STREAM = event({"content": "hello"}) + event({}, "stop") + b"data: [DONE]\n\n"
#: More than all sockets on its way hold.
LONG_STREAM = event({"content": "x" * 200_000}) * 200 + STREAM
CALLING_STREAM = event({"tool_calls": [{"index": 0, **CALL}]}) + event({}, "tool_calls") + b"data: [DONE]\n\n"
TOLD = json.dumps({"error": {"message": f"Incorrect API key provided: {SECRET}"}}).encode()

#: What the provider answers, by the model that is asked for.
ANSWERS = {
    "plain": head(JSON) + PLAIN,
    "calling": head(JSON) + CALLING,
    "calling-twice": head(JSON) + CALLING.replace(b'"tool_calls": ', b'"tool_calls": null, "tool_calls": '),
    "stream": head(SSE) + STREAM,
    "long-stream": head(SSE) + LONG_STREAM,
    "calling-stream": head(SSE) + CALLING_STREAM,
    "stream-as-text": head("text/plain") + CALLING_STREAM,
    "json-as-stream": head(SSE) + CALLING,
    "trailing": head(JSON) + PLAIN + CALLING,
    "error-200": head(JSON) + TOLD,
    "error-400": head(JSON, "400 Bad Request") + TOLD,
    "error-no-json": head("text/html", "403 Forbidden") + f"<h1>{SECRET}</h1>".encode(),
    "status-799": head(JSON, "799 Odd") + b"{}",
    "status-204": head(JSON, "204 No Content"),
    "status-206": head(JSON, "206 Partial Content") + PLAIN,
    "redirect": head(JSON, "302 Found", "Location: http://169.254.169.254/") + b"{}",
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head(JSON) + PLAIN,
    "packed": head(JSON, "200 OK", "Content-Encoding: gzip") + gzip.compress(CALLING),
    "packed-badly": head(JSON, "200 OK", "Content-Encoding: gzip") + b"this is no gzip",
    "packed-badly-stream": head(SSE, "200 OK", "Content-Encoding: gzip") + b"this is no gzip",
    "chunked-badly": head(JSON, "200 OK", "Transfer-Encoding: chunked") + b"zz\r\n" + PLAIN,
    "chunked-badly-later": head(SSE, "200 OK", "Transfer-Encoding: chunked")
    + b"%x\r\n" % len(event({"content": "x"}))
    + event({"content": "x"})
    + b"\r\n"
    + LATER
    + b"zz\r\n",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "huge-head": head(JSON, "200 OK", "X-Long: " + "x" * 100_000) + PLAIN,
    "huge-counts": head(JSON) + completion({"content": "x"}, usage={"prompt_tokens": 10**12, "completion_tokens": 2}),
    "endless-counts": head(JSON) + completion({"content": "x"}, usage={"prompt_tokens": 10**30, "completion_tokens": 2}),
    "no-counts": head(JSON) + completion({"content": "x"}, usage={"prompt_tokens": -5, "completion_tokens": 1.5}),
    "error-in-stream": head(SSE) + event({"content": "x"}) + b"data: " + TOLD + b"\n\n",
}


class Misbehaving(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        seen = b""
        while (end := seen.find(b"\r\n\r\n")) < 0:
            seen += self.request.recv(65536)
        length = int(re.search(rb"(?i)content-length: *(\d+)", seen)[1])
        while len(seen) < end + 4 + length:
            seen += self.request.recv(65536)
        model = json.loads(seen[end + 4 :])["model"]
        self.server.asked.append(model)
        first, cut, rest = ANSWERS[model].rpartition(LATER)
        with contextlib.suppress(ConnectionError):
            if cut:
                self.request.sendall(first)
                assert self.server.is_read.wait(30)
            for at in range(0, len(rest), 1 << 18):
                self.request.sendall(rest[at : at + (1 << 18)])
                self.server.sent += 1 << 18


class Provider(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent = 0
        self.is_read = threading.Event()
        super().__init__(("127.0.0.1", 0), Misbehaving)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def gateway(django_db_setup, provider) -> Iterator[Stack]:
    """A web process that may call the provider."""
    made = Stack(DATA_DIR, ALLOWED_PRIVATE_HOSTS=f"127.0.0.1:{provider.server_address[1]}")
    made.run("web")
    made.wait_until_ready("/healthz")
    yield made
    made.stop()


@pytest.fixture
def agent(gateway, committed, provider) -> Agent:
    made = make_agent(gateway)
    made.policy(default_verdict="deny", rules=[])
    with tenancy.scope(made.workspace.pk):
        row = made.workspace.providers.create(name="Bad", base_url=f"http://127.0.0.1:{provider.server_address[1]}/v1", order=2)
        row.secret_sealed = vault.seal(SECRET, workspace_id=made.workspace.pk, purpose=selectors.provider_seal(row.pk))
        row.save()
        for name in ANSWERS:
            row.models.create(workspace=made.workspace, name=name)
        touch_config(made.workspace)
    return made


def ask(agent: Agent, model: str, *, stream: bool = False) -> httpx.Response:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(f"{agent.stack.url}/v1/chat/completions", headers={"Authorization": f"Bearer {agent.token}"}, json=body, timeout=30)


def recorded(agent: Agent) -> list[tuple]:
    return [(row.outcome, row.status, row.error_code) for row in agent.usage()]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["calling", "packed"])
def test_a_json_answer_is_judged_whether_or_not_a_stream_was_asked_for(agent, model, stream):
    answer = ask(agent, model, stream=stream)
    assert answer.status_code == 200
    assert "tool_calls" not in answer.text
    assert recorded(agent) == [("completed", 200, None)]
    assert [event.verdict for event in agent.events()] == ["deny"]


@pytest.mark.parametrize(
    ("model", "stream", "status"),
    [
        ("stream", False, 502),
        ("calling-stream", False, 502),
        ("stream-as-text", True, 502),
        ("stream-as-text", False, 502),
        ("trailing", False, 502),
        ("calling-twice", False, 502),
        ("error-200", False, 502),
        ("error-200", True, 502),
        ("error-400", False, 400),
        ("error-no-json", False, 502),
        ("status-799", False, 502),
        ("status-204", False, 502),
        ("status-206", False, 502),
        ("redirect", False, 502),
        ("packed-badly", False, 502),
        ("packed-badly-stream", True, 502),
        ("chunked-badly", False, 502),
        ("no-http", False, 502),
        ("nothing", False, 502),
        ("huge-head", False, 502),
    ],
)
def test_what_is_no_answer_is_an_upstream_error_recorded_once_and_without_the_secret(agent, model, stream, status):
    answer = ask(agent, model, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["type"]) == (status, "upstream_error", "upstream_error")
    assert SECRET not in answer.text
    assert recorded(agent) == [("failed", status, "upstream_error")]


@pytest.mark.parametrize("model", ["error-in-stream", "chunked-badly-later"])
def test_a_stream_that_fails_ends_with_an_error_and_is_recorded_once(agent, provider, model):
    provider.is_read.clear()
    with begun(agent, model) as (pieces, first):
        provider.is_read.set()
        text = (first + b"".join(pieces)).decode()
    assert text.endswith("data: [DONE]\n\n")
    assert '"code":"upstream_error"' in text
    assert SECRET not in text
    assert recorded(agent) == [("failed", 200, "upstream_error")]


@contextlib.contextmanager
def begun(agent: Agent, model: str) -> Iterator[tuple[Iterator[bytes], bytes]]:
    """A stream of which the client has read the first piece."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.stream("POST", f"{agent.stack.url}/v1/chat/completions", headers={"Authorization": f"Bearer {agent.token}"}, json=body, timeout=30) as answer:
        pieces = answer.iter_raw()
        yield pieces, next(pieces)


def test_a_client_that_reads_slowly_holds_the_provider_back_and_loses_nothing(agent, provider):
    began, before = provider.sent, -1
    with begun(agent, "long-stream") as (pieces, first):
        while before != provider.sent:
            before = provider.sent
            time.sleep(0.4)
        assert provider.sent - began < len(LONG_STREAM)
        assert first + b"".join(pieces) == LONG_STREAM
    assert recorded(agent) == [("completed", 200, None)]


def test_a_client_that_leaves_in_the_middle_of_a_stream_ends_the_providers_call(agent, provider):
    began = provider.sent
    with begun(agent, "long-stream"):
        pass
    deadline = time.monotonic() + 60
    while not recorded(agent) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert recorded(agent) == [("hung_up", 499, None)]
    assert provider.sent - began < len(LONG_STREAM)


def test_no_part_of_a_denied_call_leaves_in_any_dress(agent):
    for model in ("calling-stream", "json-as-stream"):
        answer = ask(agent, model, stream=True)
        assert "shell.exec" not in re.sub(r'tool \\"shell.exec\\" blocked', "", answer.text)
        assert "arguments" not in answer.text
    assert len(recorded(agent)) == 2


@pytest.mark.parametrize("model", ["huge-counts", "endless-counts", "no-counts"])
def test_counts_that_cannot_be_are_no_reason_to_withhold_an_answer(agent, model):
    assert ask(agent, model).status_code == 200
    row = agent.usage()[0]
    assert row.outcome == "completed"
    assert 0 <= row.prompt_tokens < 2**31
    assert row.cost_micro_usd is None


def test_a_hint_before_the_answer_is_passed_over(agent):
    assert ask(agent, "early-hints").json()["choices"][0]["message"]["content"] == "hello"


def test_a_connection_that_says_nothing_is_tried_once_more_and_an_error_is_not(agent, provider):
    for model, attempts in (("nothing", 2), ("error-400", 1), ("redirect", 1), ("packed-badly", 1)):
        before = provider.asked.count(model)
        ask(agent, model)
        assert provider.asked.count(model) - before == attempts


def test_the_secret_is_in_no_log_line(gateway):
    assert SECRET not in gateway.log("web").read_text()
