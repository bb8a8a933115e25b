"""The clock of an event loop, in the hands of a test: hours pass at once, and how busy the machine is does not count."""

import asyncio


class LoopClock:
    """Of the running loop. It goes on as ever; ``shift`` moves it, and what waited for so long is over."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time, self._ahead = loop.time, 0.0
        loop.time = self  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self._time() + self._ahead

    async def shift(self, seconds: float) -> None:
        """First whoever has something to read reads it, then so many seconds are over."""
        await asyncio.sleep(0.02)
        self._ahead += seconds
        await asyncio.sleep(0.02)
