"""Whatever is killed: what was answered is recorded, what cannot be recorded is not answered, and service comes back."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
import redis
from django.conf import settings
from django.db import connection, connections

from tests.environment import DATA_DIR
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.stack import Stack

WAIT_SECONDS = 40


@pytest.fixture
def victim(stack, committed) -> Iterator[Stack]:
    """A web process of one's own to kill, over the shared servers."""
    made = Stack(DATA_DIR)
    made.run("web")
    made.wait_until_ready("/healthz")
    yield made
    made.stop()


def body(text: str, *, stream: bool = False) -> dict:
    tools = [{"type": "function", "function": {"name": "web.search"}}]
    return {"model": "demo-small", "stream": stream, "messages": [{"role": "user", "content": text}], "tools": tools}


def ask(url: str, agent: Agent, text: str, *, stream: bool = False) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", headers={"Authorization": f"Bearer {agent.token}"}, json=body(text, stream=stream), timeout=60)


class Crowd:
    """Clients that ask without pause and remember what was answered whole."""

    def __init__(self, stack: Stack, agent: Agent, clients: int = 8) -> None:
        self.answered: list[str] = []
        self.refused: list[int] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(stack, agent, number)) for number in range(clients)]

    def _ask(self, stack: Stack, agent: Agent, number: int) -> None:
        turn = 0
        while not self._over.is_set():
            turn += 1
            stream = turn % 2 == 0
            try:
                answer = ask(stack.url, agent, f"client {number} turn {turn} call web.search {{}}", stream=stream)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.status_code != 200:
                self.refused.append(answer.status_code)
                time.sleep(0.05)
            elif not stream or (answer.text.endswith("data: [DONE]\n\n") and '"error"' not in answer.text):
                self.answered.append(answer.headers["x-orca-request-id"])

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        goal, deadline = len(self.answered) + answers, time.monotonic() + WAIT_SECONDS
        while len(self.answered) < goal:
            assert time.monotonic() < deadline, f"only {len(self.answered)} answers; refusals: {self.refused[-5:]}"
            time.sleep(0.02)


def every_answer_is_recorded(crowd: Crowd, agent: Agent) -> None:
    assert crowd.answered
    used = {row.request_id for row in agent.usage()}
    judged = {event.request_id for event in agent.events(surface="response")}
    assert set(crowd.answered) - used == set()
    assert set(crowd.answered) - judged == set()


def test_a_killed_web_process_loses_nothing_that_was_answered(victim, stack):
    agent = make_agent(stack)
    agent.policy(default_verdict="audit")
    for _ in range(3):
        with Crowd(victim, agent) as crowd:
            crowd.wait_for(30)
            victim.kill("web")
        every_answer_is_recorded(crowd, agent)
        victim.run("web")
        victim.wait_until_ready("/healthz")
    assert ask(victim.url, agent, "still there").status_code == 200


def test_a_killed_valkey_stops_no_call_and_loses_no_run(stack, committed, valkey_server):
    agent = make_agent(stack)
    agent.policy(default_verdict="audit")
    with Crowd(stack, agent, clients=4) as crowd:
        crowd.wait_for(20)
        os.kill(redis.Redis.from_url(settings.REDIS_URL).info("server")["process_id"], signal.SIGKILL)
        crowd.wait_for(20)
        valkey_server.start()
        crowd.wait_for(20)
    every_answer_is_recorded(crowd, agent)
    assert crowd.refused == []
    # The conversation that began before Valkey was lost goes on as the same run, out of the ledger.
    again = ask(stack.url, agent, "client 0 turn 1 call web.search {}").headers["x-orca-request-id"]
    same = {row.agent_run_id for row in agent.usage(context_digest=agent.usage(request_id=again)[0].context_digest)}
    assert len(same) == 1
    assert len(agent.usage(agent_run_id=same.pop())) > 1


def test_an_emptied_valkey_serves_no_stale_configuration(stack, committed):
    agent = make_agent(stack)
    assert ask(stack.url, agent, "hello").status_code == 200
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    agent.policy(default_verdict="deny")
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    assert ask(stack.url, agent, "hello").status_code == 400


def test_a_crash_of_postgresql_answers_nothing_unrecorded_and_recovers(stack, committed):
    agent = make_agent(stack)
    agent.policy(default_verdict="audit")
    with Crowd(stack, agent, clients=4) as crowd:
        crowd.wait_for(20)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = cursor.fetchone()[0]
        # A killed backend makes PostgreSQL restart all of them, as after a crash.
        os.kill(backend, signal.SIGKILL)
        connections.close_all()
        crowd.wait_for(20)
    wait_for_postgres()
    every_answer_is_recorded(crowd, agent)
    assert set(crowd.refused) <= {503}


def test_a_stopped_postgresql_is_503_with_the_one_body(stack, committed, postgres_pid):
    agent = make_agent(stack)
    agent.policy(default_verdict="audit")
    wait_until_served(stack, agent)
    connections.close_all()
    pids = [postgres_pid, *children_of(postgres_pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = ask(stack.url, agent, "while it hangs")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"]
    wait_for_postgres()
    wait_until_served(stack, agent)


def test_a_killed_worker_costs_no_answer_and_readiness_says_so(stack, committed):
    agent = make_agent(stack)
    agent.policy(default_verdict="audit")
    with Crowd(stack, agent, clients=4) as crowd:
        crowd.wait_for(10)
        stack.kill("worker")
        crowd.wait_for(20)
    every_answer_is_recorded(crowd, agent)
    assert crowd.refused == []
    stack.run("worker")
    stack.wait_until_ready()


def wait_until_served(stack: Stack, agent: Agent) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while ask(stack.url, agent, "are you there").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def wait_for_postgres() -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connections.close_all()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


@pytest.fixture
def valkey_server(servers):
    return next(child for child in servers.children if "valkey" in child.name)


@pytest.fixture
def postgres_pid(committed) -> int:
    return int((DATA_DIR / "postgres" / "postmaster.pid").read_text().split()[0])
