"""Readiness is asked without a key: many who ask at once share one look, and none gets an old one."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx


def test_many_who_ask_at_once_are_all_answered(stack, committed):
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: httpx.get(f"{stack.url}/readyz", timeout=30), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["checks"] == {"postgres": True, "valkey": True, "migrations": True, "worker": True}


def test_a_loss_is_told_by_the_next_look(stack, committed):
    stack.kill("worker")
    try:
        for _ in range(240):
            answer = httpx.get(f"{stack.url}/readyz", timeout=30)
            if answer.status_code == 503:
                break
            time.sleep(0.25)
        assert answer.json()["checks"] == {"postgres": True, "valkey": True, "migrations": True, "worker": False}
    finally:
        stack.run("worker")
        stack.wait_until_ready()
