"""Events of held calls, which stand with their approval: nobody writes them once more."""

import time
from uuid import uuid4

import psycopg
from django.conf import settings

from approvals.engine.binding import State
from tests.orcarouter.gateway.conftest import make_agent
from tests.orcarouter.gateway.test_holds import HOLDS, chat, decide, evaluate, held


def postgres_said(caplog) -> str:
    """What PostgreSQL has logged up to now."""
    marker = f"marker {uuid4()}"
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as connection:
        connection.execute(f"DO $$ BEGIN RAISE WARNING '{marker}'; END $$")
    until = time.monotonic() + 60
    while marker not in caplog.text and time.monotonic() < until:
        time.sleep(0.02)
    assert marker in caplog.text
    return caplog.text


def test_what_a_hold_and_its_approval_wrote_is_not_sent_again(stack, committed, caplog):
    agent, gateway = make_agent(stack), make_agent(stack, is_firewall_gateway=True)
    agent.policy(default_verdict="allow", rules=[HOLDS])
    gateway.policy(default_verdict="allow", rules=[HOLDS])
    for stream in (False, True):
        text = f'call payments.transfer {{"amount": {stream:d}, "to": "Marlow"}}'
        told = held(chat(agent, text, run="r1", stream=stream))
        decide(agent, told["approval_id"])
        assert chat(agent, text, told["approval_id"], run="r1", stream=stream).status_code == 200
    first = evaluate(gateway, {"amount": 1}).json()
    decide(gateway, first["approval_id"])
    assert evaluate(gateway, {"amount": 1}, first["approval_id"]).json()["verdict"] == "allow"
    # One that is held already leaves an event of its own.
    again = evaluate(gateway, {"amount": 2}).json()
    assert evaluate(gateway, {"amount": 2}).json()["approval_id"] == again["approval_id"]
    assert "duplicate key" not in postgres_said(caplog)
    for asked, holds, consumed in ((agent, 2, 2), (gateway, 3, 1)):
        codes = [(event.verdict, event.reason_code) for event in asked.events() if event.approval_id and event.tool_name == "payments.transfer"]
        assert sum(verdict == "pending_approval" for verdict, _ in codes) == holds
        assert sum(code == f"approval_{State.CONSUMED}" for _, code in codes) == consumed


def test_an_offer_that_is_held_and_then_goes_on_is_recorded_once(stack, committed, caplog):
    agent = make_agent(stack)
    agent.policy(default_verdict="allow", rules=[HOLDS | {"stage": "inbound"}])
    told = held(chat(agent, "hello", run="r1"))
    decide(agent, told["approval_id"])
    assert chat(agent, "hello", told["approval_id"], run="r1").status_code == 200
    assert "duplicate key" not in postgres_said(caplog)
    assert len([event for event in agent.events() if event.reason_code == "approval_consumed"]) == 1
