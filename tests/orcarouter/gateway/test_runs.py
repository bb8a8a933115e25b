"""Which run a call belongs to: Valkey's rule and the ledger's are one, and no key or workspace enters another's run."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import given

from keys import money_selectors
from keys.engine.grant import Grant
from keys.engine.scope import Scope
from orcarouter.gateway import money, runs
from orcarouter.gateway.accounts import Settlement
from orcarouter.gateway.money import Claim
from orcarouter.gateway.rows import USAGE
from orcarouter.gateway.state import State
from tests.factories.workspaces import make_tenant
from tests.figures import stored
from workspaces import valkey
from workspaces.ids import moment_of, uuid7

_numbers = count()
_keys = count(1)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def state(committed, runner) -> Iterator[State]:
    made = State()
    runner.run(made.start())
    yield made
    runner.run(made.stop())


@pytest.fixture
def workspace_id(committed) -> int:
    return make_tenant(f"runs{next(_numbers)}").workspace.pk


def grant_of(workspace_id: int, key_id: int | None = None) -> Grant:
    return Grant(
        workspace_id=workspace_id,
        config_version=1,
        key_id=key_id or next(_keys),
        key_name="k",
        environment="",
        is_firewall_gateway=False,
        one_run_an_hour=False,
        scope=Scope(),
        key_policy=None,
        default_policy=None,
        observe_mode=True,
        run_gap_seconds=1800,
        models={},
    )


def lineage_of(messages: str, *, run_id: str | None = None) -> runs.Lineage:
    """A list of one-letter messages; those in capitals make the fingerprint (the first of them), as a first user message does."""
    prefixes = tuple(messages[: length + 1] for length in range(len(messages)))[::-1]
    first = next((letter for letter in messages if letter.isupper()), "")
    return runs.Lineage(run_id, f"run_{uuid7().hex}", f"task {first}", prefixes[: runs.MAX_PREFIXES])


def row_of(grant: Grant, lineage: runs.Lineage, run_id: str, cost: int | None) -> dict:
    row_id = uuid7()
    said = {"id": row_id, "workspace_id": grant.workspace_id, "occurred_at": moment_of(row_id), "request_id": "req_1", "key_id": grant.key_id}
    called = {"agent_run_id": run_id, "run_source": lineage.source, "context_digest": lineage.digests[0], "fingerprint": lineage.fingerprint}
    counts = {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0, "reasoning_tokens": 0, "latency_ms": 1, "cost_micro_usd": cost}
    other = {"token_name": "k", "environment": "", "status": 200, "outcome": "completed", "streamed": False, "usage_source": "provider"}
    return dict.fromkeys(USAGE.columns) | said | called | counts | other


def forget(workspace_id: int) -> None:
    """What Valkey knows of a workspace is gone, as after its restart."""
    client = valkey.client()
    for name in client.scan_iter(f"{runs.space(workspace_id)}*", count=1000):
        client.delete(name)


async def call(state: State, grant: Grant, lineage: runs.Lineage, *, cost: int | None = 7) -> runs.Admission:
    """One call from its admission to its settlement, with Valkey and the ledger asked for the same."""
    claim = Claim(uuid7().hex, 3, tracks_run=True)
    from_ledger = await state._ask_ledger(grant, lineage, claim)
    from_valkey = await state._ask_valkey(grant, lineage, claim, is_confirmed=True)
    account = money.run_account(grant.key_id, from_ledger.run_id)
    spent = (await state.read(partial(money_selectors.statement, at=datetime.now(UTC)), grant.workspace_id, account)).spent_micro_usd
    assert told(from_valkey) == (from_ledger.run_id, from_ledger.calls, spent)
    await settle(state, grant, lineage, from_valkey.run_id, cost, claim.id)
    return from_valkey


async def settle(state: State, grant: Grant, lineage: runs.Lineage, run_id: str, cost: int | None, request_id: str) -> None:
    entry = {"id": uuid7(), "workspace_id": grant.workspace_id, "occurred_at": datetime.now(UTC), "request_id": request_id, "kind": "settle"}
    entry |= {"cause": "completed", "key_id": grant.key_id, "agent_run_id": run_id, "held_micro_usd": 0, "spent_micro_usd": cost or 0}
    accounts = (money.run_account(grant.key_id, run_id).name,)
    await state.stands(
        state.submit(grant, [], [row_of(grant, lineage, run_id, cost)], [entry], Settlement(grant.workspace_id, request_id, cost or 0, accounts))
    )


def told(admission: runs.Admission) -> tuple:
    return admission.run_id, admission.calls, admission.held.run_spent_micro_usd


MESSAGES = st.text("abAB", min_size=1, max_size=5)
STEPS = st.one_of(
    MESSAGES,
    MESSAGES,
    st.tuples(st.sampled_from(["mine", "first", "last"]), MESSAGES),  # a run the caller names, be it one that was derived
    st.just(None),  # Valkey loses everything
)


@stored
@given(history=st.lists(st.tuples(st.integers(0, 1), STEPS), min_size=1, max_size=10), costs=st.lists(st.none() | st.integers(0, 9), min_size=10, max_size=10))
def test_valkey_and_the_ledger_derive_the_same_run_of_the_same_history(runner, state, workspace_id, history, costs):
    async def live() -> None:
        grants = [grant_of(workspace_id), grant_of(workspace_id)]
        seen: list[list[str]] = [[], []]
        for (which, step), cost in zip(history, costs, strict=False):
            if step is None:
                forget(workspace_id)
                continue
            name, messages = step if isinstance(step, tuple) else (None, step)
            named = {"first": seen[which][:1], "last": seen[which][-1:]}.get(name or "", [name] if name else [])
            admission = await call(state, grants[which], lineage_of(messages, run_id=named[0] if named else None), cost=cost)
            seen[which].append(admission.run_id)
            assert admission.run_id not in set(seen[1 - which]) - {"mine"}

    runner.run(live())


def test_a_conversation_that_grows_is_one_run_and_branches_join_it(runner, state, workspace_id):
    async def live() -> None:
        grant = grant_of(workspace_id)
        first = await call(state, grant, lineage_of("A"))
        grown = await call(state, grant, lineage_of("Aba"))
        branch = await call(state, grant, lineage_of("Abb"))
        other = await call(state, grant, lineage_of("B"))
        assert [grown.run_id, branch.run_id] == [first.run_id] * 2
        assert other.run_id != first.run_id
        assert [told(answer)[1:] for answer in (first, grown, branch, other)] == [(0, 0), (1, 7), (2, 14), (0, 0)]

    runner.run(live())


def test_other_keys_and_workspaces_have_runs_of_their_own(runner, state, workspace_id, committed):
    rival = make_tenant(f"runs{next(_numbers)}").workspace.pk

    async def live() -> None:
        grant = grant_of(workspace_id)
        ours = await call(state, grant, lineage_of("Aba"))
        for stranger in (grant_of(workspace_id), grant_of(rival, grant.key_id)):
            assert (await call(state, stranger, lineage_of("Aba"))).run_id != ours.run_id
            assert told(await call(state, stranger, lineage_of("Aba", run_id=ours.run_id)))[1:] == (0, 0)

    runner.run(live())


def test_a_pause_longer_than_the_gap_begins_a_new_run(runner, state, workspace_id):
    async def live() -> None:
        grant = replace(grant_of(workspace_id), run_gap_seconds=3)
        began = time.monotonic()
        first, again = [await call(state, grant, lineage_of("A")) for _ in range(2)]
        # Unless this machine itself paused so long.
        assert again.run_id == first.run_id or time.monotonic() - began > grant.run_gap_seconds
        # The ledger counts from a call's record, Valkey from its admission: long enough for both.
        await asyncio.sleep(6)
        assert (await call(state, grant, lineage_of("A"))).run_id != first.run_id

    runner.run(live())


def test_a_call_that_settles_after_valkey_lost_its_run_makes_no_run_of_cost_alone(runner, state, workspace_id):
    async def live() -> None:
        grant, lineage = grant_of(workspace_id), lineage_of("A", run_id="mine")
        await call(state, grant, lineage)
        forget(workspace_id)
        await settle(state, grant, lineage, "mine", 5, "another")
        await state.link.call("PING")
        assert valkey.client().exists(runs.run_key(workspace_id, grant.key_id, "mine")) == 0
        assert told(await call(state, grant, lineage))[1:] == (2, 12)

    runner.run(live())


def test_no_key_of_a_workspace_stays_in_valkey_for_ever(runner, state, workspace_id):
    async def live() -> None:
        grant = grant_of(workspace_id)
        for messages, run_id in (("A", None), ("Ab", None), ("A", "mine")):
            await call(state, grant, lineage_of(messages, run_id=run_id))
        forget(workspace_id)
        await call(state, grant, lineage_of("A"))

    runner.run(live())
    client: redis.Redis = valkey.client()
    names = [name for name in client.scan_iter(f"{runs.space(workspace_id)}*", count=1000) if not name.endswith(b"version")]
    assert len(names) >= 4
    assert all(client.pttl(name) > 0 for name in names)


@pytest.mark.parametrize(
    ("held", "stale"),
    [
        ((None, 0), True),  # Valkey was emptied
        ((5, 0), False),
        ((6, 0), True),  # somebody committed
        ((4, 0), True),  # Valkey came back with an old copy of its own
        ((5, 1), True),  # somebody is about to commit
    ],
)
def test_a_copy_of_the_configuration_is_believed_at_its_own_version_only(runner, state, workspace_id, held, stale):
    client, name, (known, dirty) = valkey.client(), valkey.version_key(workspace_id), held
    client.delete(name)
    client.hset(name, mapping={"dirty": dirty} | ({"v": known} if known else {}))
    grant = replace(grant_of(workspace_id), config_version=5)

    async def live() -> None:
        admission = await state._ask_valkey(grant, lineage_of("A"), None, is_confirmed=False)
        assert admission.is_stale is stale
        assert not (await state._ask_valkey(grant, lineage_of("A"), None, is_confirmed=True)).is_stale

    runner.run(live())
    assert int(client.hget(name, "v")) == max(known or 0, 5)


def test_seeding_does_not_undo_what_a_live_call_has_written(runner, state, workspace_id):
    async def live() -> None:
        grant = grant_of(workspace_id)
        now = time.time_ns() // 1_000_000
        await call(state, grant, lineage_of("A", run_id="mine"))
        seeds = runs.seeds(grant.key_id, 1800, [("mine", 90, now)])
        await state._script(runs.SEED, valkey.version_key(workspace_id), *seeds)
        assert told(await call(state, grant, lineage_of("A", run_id="mine")))[1:] == (1, 7)

    runner.run(live())
