"""A key's limits on the relay, in the documented order, and in force on the very next call."""

from collections.abc import Iterator
from datetime import timedelta

import httpx2 as httpx
import pytest
from django.utils import timezone

import keys.services
from tests.environment import DATA_DIR
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.stack import Stack
from workspaces import tenancy
from workspaces.permissions import Role


def ask(agent: Agent, stack: Stack, *, model: str = "demo-small", forwarded: str | None = None) -> tuple[int, str, str]:
    headers = {"Authorization": f"Bearer {agent.token}"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    answer = httpx.post(f"{stack.url}/v1/chat/completions", headers=headers, json={"model": model, "messages": [{"role": "user", "content": "hi"}]}, timeout=30)
    error = answer.json().get("error", {})
    return answer.status_code, error.get("code", ""), error.get("message", "")


def change(agent: Agent, **changes: object) -> None:
    with tenancy.scope(agent.workspace.pk):
        keys.services.change_key(agent.key(), changes=changes, actor=agent.tenant.person(Role.OWNER), at=timezone.now())


@pytest.mark.parametrize(
    ("off", "on"),
    [
        ({"is_disabled": True}, {"is_disabled": False}),
        ({"expires_at": timezone.now() - timedelta(days=1)}, {"expires_at": timezone.now() + timedelta(days=1)}),
    ],
)
def test_a_key_that_is_not_valid_is_401_at_once_and_works_again_at_once(agent, off, on):
    wording = set()
    for _ in range(5):
        assert ask(agent, agent.stack)[0] == 200
        change(agent, **off)
        status, code, message = ask(agent, agent.stack)
        wording.add(message)
        assert (status, code) == (401, "invalid_api_key")
        change(agent, **on)
    unknown = Agent(agent.stack, agent.tenant, 0, "sk-orca-" + "x" * 48)
    assert wording == {ask(unknown, agent.stack)[2]}


def test_a_deleted_key_is_401_on_the_next_call(agent):
    assert ask(agent, agent.stack)[0] == 200
    with tenancy.scope(agent.workspace.pk):
        keys.services.delete_keys(agent.workspace, keys=[agent.key()], actor=agent.tenant.person(Role.OWNER), at=timezone.now())
    assert ask(agent, agent.stack)[:2] == (401, "invalid_api_key")


def test_the_address_is_judged_before_the_model_and_the_model_before_whether_it_exists(stack, committed):
    agent = make_agent(stack, allow_ips=["203.0.113.7"], model_limits_enabled=True, model_limits=["demo-large"])
    assert ask(agent, stack) == (403, "access_denied", "This token has no access from this address.")
    change(agent, allow_ips=["127.0.0.0/8"])
    assert ask(agent, stack) == (403, "access_denied", "This token has no access to model demo-small")
    assert ask(agent, stack, model="no-such") == (403, "access_denied", "This token has no access to model no-such")
    change(agent, model_limits=[])
    assert ask(agent, stack) == (403, "access_denied", "This token has no access to any models.")
    change(agent, model_limits=["demo-large", "no-*", "no-such"])
    assert ask(agent, stack, model="no-such")[:2] == (404, "model_not_found")
    assert ask(agent, stack, model="demo-large")[0] == 200
    assert [row.status for row in agent.usage()] == [200]


def test_a_forwarded_address_is_not_believed_from_just_anybody(stack, committed):
    agent = make_agent(stack, allow_ips=["203.0.113.7"])
    assert ask(agent, stack, forwarded="203.0.113.7")[:2] == (403, "access_denied")


@pytest.fixture
def behind_a_proxy(stack, committed) -> Iterator[Stack]:
    made = Stack(DATA_DIR, TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8")
    made.run("web")
    made.wait_until_ready("/healthz")
    yield made
    made.stop()


def test_behind_a_trusted_proxy_the_right_most_untrusted_hop_is_the_client(behind_a_proxy, stack):
    agent = make_agent(stack, allow_ips=["203.0.113.7", "2001:db8::/32"])
    for forwarded, status in (
        ("203.0.113.7", 200),
        ("203.0.113.7, 10.1.2.3", 200),
        ("198.51.100.1, 203.0.113.7", 200),
        ("203.0.113.7, 198.51.100.1", 403),
        ("[2001:db8::1]:443", 200),
        ("::ffff:203.0.113.7", 200),
        ("nonsense", 403),
        ("203.0.113.7,", 403),
        (None, 403),
    ):
        assert (forwarded, ask(agent, behind_a_proxy, forwarded=forwarded)[0]) == (forwarded, status)
