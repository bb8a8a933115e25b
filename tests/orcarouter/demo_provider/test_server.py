"""The demo provider as a process, met by the official SDK and by raw sockets."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

ROOT = Path(__file__).resolve().parents[3]
SECRET = "demo-secret"
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("web__search", "kb__read")]


def started(*arguments: str, **environment: str) -> tuple[subprocess.Popen, dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "orcarouter.demo_provider", *arguments], cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def stopped(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(60)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    process, where = started("--port", "0", ORCA_DEMO_SECRET=SECRET)
    yield where["port"]
    stopped(process)


@pytest.fixture
def client(port) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=SECRET, max_retries=0, timeout=60) as found:
        yield found


def asked(port: int, method: str, path: str, body: Any = None, *, secret: str = SECRET) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=json.dumps(body) if body is not None else None, headers={"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "demo-small", "messages": [{"role": "user", "content": text}], **more}


def test_the_official_sdk_reads_the_same_answer_as_json_and_as_a_stream(client):
    plain = client.chat.completions.create(**chat("call web__search {} call kb__read {}", tools=TOOLS))
    with client.chat.completions.stream(**chat("call web__search {} call kb__read {}", tools=TOOLS)) as stream:
        streamed = stream.get_final_completion()
    calls = plain.choices[0].message.tool_calls
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        (call.id, call.function.name, call.function.arguments) for call in streamed.choices[0].message.tool_calls
    ]
    assert plain.choices[0].finish_reason == streamed.choices[0].finish_reason == "tool_calls"
    assert plain.system_fingerprint == "demo"


def test_text_streams_whole_with_choices_and_usage(client):
    plain = client.chat.completions.create(**chat("Grüße 🐋", n=2))
    chunks = list(client.chat.completions.create(**chat("Grüße 🐋", n=2), stream=True, stream_options={"include_usage": True}))
    for index, choice in enumerate(plain.choices):
        parts = [part for chunk in chunks for part in chunk.choices if part.index == index]
        assert "".join(part.delta.content or "" for part in parts) == choice.message.content
        assert parts[-1].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == plain.usage
    assert all(chunk.usage is None for chunk in client.chat.completions.create(**chat("x"), stream=True))


def test_an_answer_ends_at_its_limit(client):
    answer = client.chat.completions.create(**chat("count to 50", max_tokens=10))
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "1 2 3 4 5 6 7 8 9 10 "
    assert answer.usage.completion_tokens == 10


def test_a_stream_is_cut_inside_events_and_inside_characters(port):
    body = json.dumps(chat("🐋" * 50, stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        raw.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    chunks, rest = [], answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    assert b"".join(chunks).endswith(b"data: [DONE]\n\n")
    assert sum(not chunk.endswith(b"\n\n") for chunk in chunks) > len(chunks) // 2
    with pytest.raises(UnicodeDecodeError):
        [chunk.decode() for chunk in chunks]


def test_what_arrived_is_accounted_for(port, client):
    asked(port, "DELETE", "/__demo/requests")
    assert json.loads(asked(port, "GET", "/__demo/requests")[1]) == {"count": 0, "requests": []}
    client.chat.completions.create(**chat("remember me"))
    account = json.loads(asked(port, "GET", "/__demo/requests")[1])
    assert account["count"] == 1
    assert json.loads(account["requests"][0]["body"])["messages"][0]["content"] == "remember me"
    assert SECRET not in json.dumps(account)


def test_a_wrong_secret_is_refused_and_models_are_listed(port, client):
    assert asked(port, "GET", "/v1/models", secret="wrong")[0] == 401
    assert [model.id for model in client.models.list()] == ["demo-small", "demo-large"]
    assert asked(port, "GET", "/v1/nothing")[0] == 404
    assert asked(port, "POST", "/v1/chat/completions", [1])[0] == 400


@pytest.mark.parametrize(("model", "status", "has_body"), [("demo-error-500", 500, True), ("demo-error-401", 401, True), ("demo-empty-503", 503, False)])
def test_models_fail_as_their_names_say(port, model, status, has_body):
    found, body = asked(port, "POST", "/v1/chat/completions", chat("x") | {"model": model})
    assert (found, bool(body)) == (status, has_body)


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_answer_breaks_off(port, stream):
    with pytest.raises(http.client.IncompleteRead):
        asked(port, "POST", "/v1/chat/completions", chat("x" * 500, stream=stream) | {"model": "demo-cut"})


def test_bad_json_and_errors_inside_a_stream(port):
    with pytest.raises(ValueError):
        json.loads(asked(port, "POST", "/v1/chat/completions", chat("x") | {"model": "demo-bad-json"})[1])
    _, body = asked(port, "POST", "/v1/chat/completions", chat("x", stream=True) | {"model": "demo-stream-error"})
    assert json.loads(body.split(b"data: ")[-1])["error"]["code"] == "server_error"


def test_a_client_that_hangs_up_is_noticed(port):
    asked(port, "DELETE", "/__demo/requests")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", body=json.dumps(chat("x") | {"model": "demo-hang"}), headers={"Authorization": f"Bearer {SECRET}"})
    deadline = time.monotonic() + 60

    def seen() -> list[dict[str, Any]]:
        return json.loads(asked(port, "GET", "/__demo/requests")[1])["requests"]

    while not seen() and time.monotonic() < deadline:
        time.sleep(0.02)
    connection.close()
    while not seen()[0]["hung_up"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seen()[0]["hung_up"]


def test_it_serves_a_unix_socket_of_its_owner_alone_and_stops_when_told(tmp_path):
    path = tmp_path / "demo.sock"
    process, where = started("--uds", str(path))
    try:
        assert where == {"uds": str(path)}
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(path))
            raw.sendall(b"GET /v1/models HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
            assert b"demo-small" in b"".join(iter(lambda: raw.recv(4096), b""))
    finally:
        assert stopped(process) in (0, -signal.SIGTERM)
