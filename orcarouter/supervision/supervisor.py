"""All processes of one start: started in order, started again when they die, stopped in the reverse order."""

import json
import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import Child, began

logger = logging.getLogger(__name__)

#: Seconds before a dead child is started again, by how often it died in a row; a minute of life makes it anew.
DELAYS = (0.5, 1, 2, 4, 8, 16, 30)
LIVES_WELL_AFTER = 60
LOOK_EVERY = 0.25


@dataclass
class _Watched:
    child: Child
    since: float
    recorded: bool = True
    deaths: int = 0
    #: When it is to be started again; None while it runs.
    due: float | None = None


class Supervisor:
    """``record`` is a file that names the running children, for the next start to end those that outlived a killed supervisor."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._watched: list[_Watched] = []
        self._signals = 0

    # --- Being told to stop -------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """From here on SIGINT, SIGTERM and a closed terminal stop everything in order; once more, and it is done in haste."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._told)

    def _told(self, number: int, _frame: object) -> None:
        # A handler runs amid whatever the main thread does: it takes no lock, for the thread may hold it.
        self._signals += 1

    def stopping(self) -> bool:
        return self._signals > 0

    def hurried(self) -> bool:
        return self._signals > 1

    # --- Starting -----------------------------------------------------------------------------------------------------

    def start(self, *children: Child) -> None:
        """Start children together and wait until they all answer, or until told to stop. Raises `StartRefused`."""
        for child in children:
            if not self.stopping():
                child.start()
                self._watched.append(_Watched(child, since=time.monotonic()))
                self._write_record()
        for child in children:
            child.wait_ready(self.stopping)

    def adopt(self, child: Child) -> None:
        """Watch, and in the end stop, a child that runs already, and that whoever started it clears up after a crash."""
        self._watched.append(_Watched(child, since=time.monotonic(), recorded=False))

    def run(self, child: Child) -> int | None:
        """Run a child to its end: its exit status, or None when told to stop meanwhile."""
        if self.stopping():
            return None
        child.start()
        status = child.wait(cancelled=self.stopping)
        child.stop(self.hurried)
        return status

    # --- Watching -----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Start again what dies, until told to stop."""
        while not self.stopping():
            for watched in self._watched:
                self._look_after(watched, time.monotonic())
            time.sleep(LOOK_EVERY)

    def _look_after(self, watched: _Watched, now: float) -> None:
        child = watched.child
        if watched.due is None and not child.alive:
            if now - watched.since > LIVES_WELL_AFTER:
                watched.deaths = 0
            delay = DELAYS[min(watched.deaths, len(DELAYS) - 1)]
            logger.warning("%s %s: starting it again in %g s.", child.name, child.ending, delay)
            watched.deaths, watched.due = watched.deaths + 1, now + delay
        elif watched.due is not None and now >= watched.due:
            try:
                # What the dead one had started itself goes first.
                child.stop()
                child.start()
            except (OSError, StartRefused) as error:
                logger.error("%s can't be started: %s", child.name, error)
            watched.since, watched.due = time.monotonic(), None
            self._write_record()

    # --- Stopping -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop all children, the last one started first."""
        while self._watched:
            self._watched[-1].child.stop(self.hurried)
            self._watched.pop()
        self._record.unlink(missing_ok=True)

    # --- What a killed supervisor leaves ------------------------------------------------------------------------------

    def _write_record(self) -> None:
        running = [(w.child.name, w.child.process.pid, began(w.child.process.pid)) for w in self._watched if w.recorded and w.child.process]
        unfinished = self._record.with_suffix(".new")
        unfinished.write_text(json.dumps(running))
        unfinished.replace(self._record)

    def end_leftovers(self, grace: float = 15) -> None:
        """End the recorded children of an earlier supervisor, the last one started first."""
        try:
            recorded = [tuple(entry) for entry in json.loads(self._record.read_text())]
        except (FileNotFoundError, ValueError):
            return
        left = [entry for entry in reversed(recorded) if entry[2] is not None and began(entry[1]) == entry[2]]
        if left:
            logger.warning("An earlier run was killed: ending what it left behind (%s).", ", ".join(name for name, _, _ in left))
        for _, pid, start in left:
            _end(pid, start, grace)
        self._record.unlink(missing_ok=True)


def _end(pid: int, start: int, grace: float) -> None:
    deadline = time.monotonic() + grace
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while began(pid) == start:
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)
