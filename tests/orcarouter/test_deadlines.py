"""Deadlines of one length: who is late, in which order, and who is not."""

import asyncio
from functools import partial

from orcarouter.deadlines import Deadlines
from tests.loop_clock import LoopClock


async def test_who_has_ended_is_not_late_and_the_others_are_in_their_order():
    late: list[str] = []
    clock, deadlines = LoopClock(), Deadlines(600)
    for name in "abcd":
        deadlines.begin(name, partial(late.append, name))
    deadlines.end("b")
    deadlines.end("nobody")
    await clock.shift(400)
    deadlines.begin("a", partial(late.append, "a again"))
    deadlines.begin("e", partial(late.append, "e"))
    deadlines.end("e")
    await clock.shift(300)
    assert late == ["c", "d"]
    await clock.shift(400)
    assert late == ["c", "d", "a again"]


async def test_one_may_begin_another_when_it_is_late():
    late: list[int] = []
    deadlines = Deadlines(0.01)

    def again() -> None:
        late.append(len(late))
        if len(late) < 3:
            deadlines.begin("a", again)

    deadlines.begin("a", again)
    async with asyncio.timeout(20):
        while len(late) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert late == [0, 1, 2]
