"""Who waits for decisions is bounded, and leaves room for calls."""

import asyncio

import pytest

from orcarouter.gateway.poll import MAX_WAITING, MAX_WAITING_IN_ALL, Waiters
from orcarouter.gateway.state import State
from workspaces import errors


def test_a_process_lets_so_many_wait_and_says_so_to_the_next(committed):
    async def run() -> None:
        waiters = Waiters(State())
        keys = range(MAX_WAITING_IN_ALL // MAX_WAITING)
        waiting = [asyncio.create_task(waiters.wait(key, "0" * 24, 30)) for key in keys for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(errors.RateLimited) as of_all:
            await waiters.wait(-1, "0" * 24, 30)
        with pytest.raises(errors.RateLimited) as of_key:
            await waiters.wait(0, "0" * 24, 30)
        assert (of_all.value.headers, of_key.value.headers) == ({"Retry-After": "1"},) * 2
        assert ("ask without `wait`" in of_all.value.message, "A key waits" in of_key.value.message) == (True, True)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        # One went away, and there is room for another.
        await waiters.wait(-1, "0" * 24, 0.01)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await waiters.stop()

    asyncio.run(run())
