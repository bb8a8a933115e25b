"""Calls that follow one another, on the relay and together with the hook; with Valkey emptied, away, and back."""

import asyncio
from collections.abc import Iterator
from itertools import count

import httpx2 as httpx
import pytest
import redis
from django.conf import settings
from django.utils import timezone

import firewall.services
import keys.services
from firewall.engine import afterwards
from firewall.engine.decide import decide
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from firewall.selectors.runs import calls_of_run
from orcarouter.gateway import runs
from orcarouter.gateway.link import Away
from orcarouter.gateway.rows import EVENT
from orcarouter.gateway.state import State
from tests.factories.workspaces import make_tenant
from tests.orcarouter.gateway.conftest import Agent, make_agent
from tests.orcarouter.gateway.test_relay import say, tool
from tests.orcarouter.gateway.test_runs import grant_of
from workspaces import tenancy, valkey
from workspaces.ids import moment_of, uuid7
from workspaces.permissions import Role

_numbers = count()

STEPS = [{"match": "db.*", "min_count": 2}, {"match": "mail.send"}]
LEAK = {"verdict": "deny", "label": "leak", "sequence": {"window_seconds": 300, "steps": STEPS, "enforce": "inline"}}
AFTERWARDS = LEAK | {"sequence": {"window_seconds": 300, "steps": STEPS}}


def call(agent: Agent, *names: str, run: str = "r", stream: bool = False) -> list[str]:
    """The names of the calls that the agent got, of those that its model made."""
    request = {"model": "demo-small", "messages": say(" ".join(f"call {name} {{}}" for name in names)), "tools": [tool(name) for name in names]}
    headers = {"X-OrcaRouter-Run-Id": run} if run else {}
    answer = agent.sdk().chat.completions.create(**request, stream=stream, extra_headers=headers)
    if not stream:
        return [made.function.name for made in answer.choices[0].message.tool_calls or []]
    deltas = [made for chunk in answer for choice in chunk.choices for made in choice.delta.tool_calls or []]
    return [made.function.name for made in deltas if made.function.name]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shadow", [False, True])
def test_the_call_that_would_complete_a_sequence_is_taken_out(agent, stream, shadow):
    agent.policy(default_verdict="allow", rules=[LEAK], shadow_mode=shadow)
    assert call(agent, "mail.send", stream=stream) == ["mail.send"]
    assert call(agent, "db.read", stream=stream) == ["db.read"]
    assert call(agent, "db.read", "web.search", stream=stream) == ["db.read", "web.search"]
    assert call(agent, "mail.send", stream=stream) == (["mail.send"] if shadow else [])
    assert call(agent, "mail.send", run="another", stream=stream) == ["mail.send"]
    stopped = [event for event in agent.events(surface="response") if event.reason_code == "sequence"]
    assert [(event.verdict, event.shadow, event.tool_name, event.rule_label) for event in stopped] == [
        ("audit" if shadow else "deny", shadow, "mail.send", "leak")
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_the_calls_of_one_answer_follow_one_another(agent, stream):
    agent.policy(default_verdict="allow", rules=[LEAK])
    assert call(agent, "mail.send", "db.read", "db.write", "mail.send", "kb.read", stream=stream) == ["mail.send", "db.read", "db.write", "kb.read"]


def test_a_sequence_that_is_matched_afterwards_is_told_and_stops_nothing(agent):
    agent.policy(default_verdict="allow", rules=[AFTERWARDS])
    assert call(agent, "db.read", "db.read", "mail.send") == ["db.read", "db.read", "mail.send"]
    *_, made, finding = agent.events(surface="response")
    assert (made.verdict, made.reason_code, made.tool_name) == ("allow", None, "mail.send")
    assert (finding.verdict, finding.reason_code, finding.rule_label, finding.tool_name) == ("audit", "sequence", "leak", "mail.send")
    # A finding is no call: counted once more, db.read would be complete with the next.
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    assert call(agent, "mail.send") == ["mail.send"]
    assert sum(event.reason_code == "sequence" for event in agent.events(surface="response")) == 2


def test_a_call_that_was_denied_was_not_made(agent):
    agent.policy(default_verdict="allow", rules=[{"priority": 1, "verdict": "deny", "stage": "response", "tool_name_glob": "db.write"}, LEAK])
    assert call(agent, "db.write", "db.read", "mail.send") == ["db.read", "mail.send"]


def test_the_messages_repeat_calls_and_make_none(agent):
    agent.policy(default_verdict="allow", rules=[LEAK])
    made = {"id": "c1", "type": "function", "function": {"name": "db.read", "arguments": "{}"}}
    history = [*say("begin"), {"role": "assistant", "tool_calls": [made]}, {"role": "tool", "tool_call_id": "c1", "content": "42"}]
    assert call(agent, "db.read") == ["db.read"]
    for _ in range(2):
        request = {"model": "demo-small", "messages": [*history, *say("call mail.send {}")], "tools": [tool("db.read"), tool("mail.send")]}
        answer = agent.sdk().chat.completions.create(**request, extra_headers={"X-OrcaRouter-Run-Id": "r"})
        assert [each.function.name for each in answer.choices[0].message.tool_calls] == ["mail.send"]


def test_an_agent_that_names_no_run_is_followed_too(agent):
    agent.policy(default_verdict="allow", rules=[LEAK])
    messages: list[dict] = say("call db.read {} call db.write {}")
    tools = [tool(name) for name in ("db.read", "db.write", "mail.send")]
    answer = agent.sdk().chat.completions.create(model="demo-small", messages=messages, tools=tools)
    assert len(answer.choices[0].message.tool_calls) == 2
    messages += [{"role": "assistant", "content": "done"}, *say("call mail.send {}")]
    answer = agent.sdk().chat.completions.create(model="demo-small", messages=messages, tools=tools)
    assert not answer.choices[0].message.tool_calls


def test_what_valkey_lost_is_counted_from_the_events(agent):
    agent.policy(default_verdict="allow", rules=[LEAK])
    for name in ("db.read", "db.read", "mail.send"):
        redis.Redis.from_url(settings.REDIS_URL).flushall()
        made = call(agent, name)
    assert made == []
    assert call(agent, "mail.send") == []


def test_a_sequence_that_is_written_while_a_run_goes_on_knows_what_the_run_has_done(agent):
    agent.policy(default_verdict="allow")
    assert call(agent, "db.read", "db.read") == ["db.read", "db.read"]
    agent.policy(name="stricter", default_verdict="allow", rules=[LEAK])
    assert call(agent, "mail.send") == []


def test_the_relay_and_the_hook_follow_one_run(stack, committed):
    hook = make_agent(stack, is_firewall_gateway=True)
    hook.policy(default_verdict="allow", rules=[LEAK])
    assert call(hook, "db.read") == ["db.read"]

    def ask(name: str) -> str:
        headers = {"Authorization": f"Bearer {hook.token}"}
        return httpx.post(f"{stack.url}/api/v1/firewall/evaluate", json={"tool_name": name, "agent_run_id": "r"}, headers=headers, timeout=30).json()["verdict"]

    assert ask("db.read") == "allow"
    assert call(hook, "mail.send") == []
    assert ask("mail.send") == "deny"


def test_a_key_is_followed_through_calls_that_another_asked_about(stack, committed):
    hook = make_agent(stack, is_firewall_gateway=True)
    with tenancy.scope(hook.workspace.pk):
        at, owner = timezone.now(), hook.tenant.person(Role.OWNER)
        key, token = keys.services.create_key(hook.workspace, fields={"name": "worker"}, actor=owner, at=at)
        worker = Agent(stack, hook.tenant, key.pk, token)
        leak = firewall.services.create_policy(hook.workspace, fields={"name": "leak", "default_verdict": "allow"}, rules=[LEAK], actor=owner, at=at)
        keys.services.change_key(worker.key(), changes={"firewall_policy": leak}, actor=owner, at=at)
    hook.policy(default_verdict="allow")
    assert call(worker, "db.read") == ["db.read"]
    body = {"tool_name": "db.read", "agent_run_id": "r", "key_id": worker.key_id}
    httpx.post(f"{stack.url}/api/v1/firewall/evaluate", json=body, headers={"Authorization": f"Bearer {hook.token}"}, timeout=30)
    assert call(worker, "mail.send") == []


# --- The state itself -------------------------------------------------------------------------------------------------
CHAIN = Chain(300, (Step("db.*", 3),), is_inline=True)
POLICY = Policy(1, "p", 1, Verdict.ALLOW, False, (Rule(1, 1, "", None, "", Verdict.DENY, sequence=CHAIN),))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def states(committed, runner) -> Iterator[tuple[State, State]]:
    """Two processes' worth."""
    made = (State(), State())
    for state in made:
        runner.run(state.start())
    yield made
    for state in made:
        runner.run(state.stop())


@pytest.fixture
def run(committed, states) -> runs.Owned:
    """A run that Valkey knows of, as after its admission."""
    made = runs.Owned(make_tenant(f"sequences{next(_numbers)}").workspace.pk, 7, f"run_{uuid7().hex}")
    valkey.client().hset(runs.run_key(*made), "last", 1)
    return made


async def keep(state: State, run: runs.Owned, **fields: object) -> None:
    row_id = uuid7()
    of_run = {"id": row_id, "workspace_id": run.workspace_id, "occurred_at": moment_of(row_id), "key_id": run.key_id, "agent_run_id": run.run_id}
    blank = {"tools": [], "factors": [], "reason": "", "environment": "", "risk_score": 0, "shadow": False, "gap": False, "quarantine": False}
    said = {"verdict": "allow", "source": "relay", "request_id": "req_1"} | fields
    await state.recorder.submit([dict.fromkeys(EVENT.columns) | blank | of_run | said], [])


async def make(state: State, run: runs.Owned, told: bytes | None, name: str = "db.read") -> bool:
    """Make a call, with its event if it goes on; whether it does."""
    called = ToolCall(Surface.RESPONSE, name, "{}")

    async def judge(before: RunState) -> tuple[bool, RunState]:
        await asyncio.sleep(0)  # others may come in between
        (judged,), after = afterwards.in_order(POLICY, [called], before, lambda call, run: decide(POLICY, call, run))
        return not judged.decision.blocks, after

    goes_on = await state.sequences.judge(grant_of(run.workspace_id, run.key_id), POLICY, run, told, RunState(calls=1), judge)
    if goes_on:
        await keep(state, run, surface="response", tool_name=name, args_summary="{}")
    return goes_on


def test_of_calls_at_once_in_two_processes_no_more_go_on_than_one_after_the_other(runner, states, run):
    async def live() -> list[bool]:
        return await asyncio.gather(*(make(states[number % 2], run, b"") for number in range(40)))

    assert sum(runner.run(live())) == 2


def test_without_valkey_the_events_decide_and_when_it_is_back_nothing_is_forgotten(runner, states, run):
    first, second = states

    async def live() -> None:
        stale = valkey.client().hget(runs.run_key(*run), "chains") or b""
        assert await make(first, run, None)
        first.link.call, call = _away, first.link.call
        assert await make(first, run, stale)
        assert not await make(first, run, stale)
        first.link.call = call
        assert first.sequences._telling
        await first.sequences._telling
        assert valkey.client().hget(runs.run_key(*run), "chains") == runs.LOST
        assert not await make(second, run, runs.LOST)

    runner.run(live())


async def _away(*_: object) -> None:
    raise Away("for now")


def test_where_a_call_went_is_read_from_its_event_or_assumed(states, run, runner):
    """A cut summary does not say where the call went; what its maker said is kept beside it."""
    told = {"{}": False, '{"url": "https://example.org"}': True, '{"text": "cut off': True}

    async def live() -> None:
        for summary in told:
            await keep(states[0], run, surface="mcp", tool_name="t", args_summary=summary)
        await keep(states[0], run, surface="mcp", tool_name="t", args_summary="{}", judged_on={"to": [["example.org", None, None, False]]})

    runner.run(live())
    assert [past.is_egress for past in calls_of_run(*run, None)] == [*told.values(), True]


def test_the_hooks_runs_are_found_in_the_events_when_valkey_does_not_know_them(states, run, runner):
    grant = grant_of(run.workspace_id, run.key_id)
    fingerprints = {name: runs.hook_fingerprint(run.key_id, name, secret=settings.KEY_PEPPER.encode()) for name in ("talk", None, "other")}

    def lineage(conversation: str | None) -> runs.Lineage:
        return runs.Lineage(None, "run_new", fingerprints[conversation], (fingerprints[conversation],), conversation=(conversation,))

    async def live() -> None:
        asked = {"source": "evaluate", "run_source": "derived", "surface": "mcp", "tool_name": "t"}
        await keep(states[0], run, **asked, conversation_id="talk")
        await keep(states[0], run._replace(run_id="run_quiet"), **asked)
        for which, expected in (("talk", (run.run_id, 1)), (None, ("run_quiet", 1)), ("other", ("run_new", 0))):
            for answer in (
                await states[0]._ask_ledger(grant, lineage(which), None),
                await states[0]._ask_valkey(grant, lineage(which), None, is_confirmed=True),
            ):
                assert (answer.run_id, answer.calls) == expected

    valkey.client().delete(runs.run_key(*run))
    runner.run(live())
