"""Servers that outlived whoever started them."""

import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)


def find(folder: Path, program: str) -> list[int]:
    """Processes of ``program`` that work in ``folder``: a server enters its own folder first of all.

    Asked of the kernel and not of a pid file, whose number may belong to anybody after a crash or a reboot.
    """
    found = []
    for entry in Path("/proc").iterdir():
        # Others' processes can't be looked into, and need not be; any process may end meanwhile.
        with suppress(OSError):
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(folder) and Path(os.readlink(entry / "exe")).name == program:
                found.append(int(entry.name))
    return found


def stop(folder: Path, program: str, number: signal.Signals, *, grace: float = 20) -> None:
    """Wait until no ``program`` works in ``folder`` any more; ask them to stop, and kill them after ``grace`` seconds."""
    if not (left := find(folder, program)):
        return
    logger.warning("An earlier run left %s behind: waiting for it to stop.", program)
    deadline = time.monotonic() + grace
    _send(left, number)
    while left := find(folder, program):
        if time.monotonic() > deadline:
            _send(left, signal.SIGKILL)
        time.sleep(0.05)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
