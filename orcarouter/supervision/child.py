"""One supervised process."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from orcarouter.supervision import StartRefused

#: Called with a child's name, a level of `logging` and a message.
OnLine = Callable[[str, int, str], None]

#: Seconds between two looks at a process that is awaited.
LOOK_EVERY = 0.02


def log_line(name: str, level: int, line: str) -> None:
    """Where a child's output goes when nobody else asked for it."""
    logging.getLogger(f"orcarouter.child.{name}").log(level, line)


def plain(line: str) -> tuple[int, str]:
    """The level of a line that does not tell one."""
    return logging.INFO, line


def began(pid: int) -> int | None:
    """Clock ticks from the machine's start to the process's; None where there is no such process, or only its zombie."""
    try:
        # The command's name may hold spaces and parentheses: what follows the last one is regular.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


@dataclass
class Child:
    """A process in a session of its own, so that a terminal's Ctrl-C reaches its supervisor alone.

    It is told to stop when the thread that started it ends, however that ends: start children from the main thread.
    ``prefix`` is a command that changes who runs ``argv`` (``unshare ... --``).
    """

    name: str
    argv: Sequence[str]
    prefix: Sequence[str] = ()
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: Sent when the stop is hastened.
    hasty_signal: signal.Signals = signal.SIGKILL
    #: Seconds that a stop may take before the process is killed.
    grace: float = 15
    #: Runs before each start: clears what an earlier process left behind.
    before: Callable[[], None] = lambda: None
    #: Whether it answers, and the seconds it may take until it does.
    ready: Callable[[], bool] = lambda: True
    ready_within: float = 60
    #: The level and the message of a line of output.
    parse: Callable[[str], tuple[int, str]] = plain
    on_line: OnLine = log_line
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _reader: threading.Thread | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        self.before()
        # Asked for after ``prefix``: the kernel forgets the request when a process changes its credentials.
        tied = ["setpriv", "--pdeathsig", self.stop_signal.name.removeprefix("SIG"), "--"]
        self.process = subprocess.Popen(
            [*self.prefix, *tied, *self.argv],
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._relay, args=(self.process,), name=f"output-{self.name}", daemon=True)
        self._reader.start()

    def _relay(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        with process.stdout as output:
            for line in output:
                if text := line.decode(errors="replace").rstrip():
                    level, message = self.parse(text)
                    self.on_line(self.name, level, message)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ending(self) -> str:
        """How the last process ended, for a person."""
        code = self.process.poll() if self.process else None
        if code is None:
            return "is running" if self.process else "never started"
        return f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    def wait_ready(self, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the process answers; False when ``cancelled()`` first.

        Raises `StartRefused` if it ends before that, or takes longer than ``ready_within``.
        """
        deadline = time.monotonic() + self.ready_within
        while not cancelled():
            if not self.alive:
                self._drain()
                raise StartRefused(f"{self.name} {self.ending} before it was ready: the lines above say why.")
            if self.ready():
                return True
            if time.monotonic() > deadline:
                raise StartRefused(f"{self.name} was not ready after {self.ready_within:.0f} seconds.")
            time.sleep(LOOK_EVERY)
        return False

    def wait(self, *, cancelled: Callable[[], bool] = lambda: False) -> int | None:
        """The exit status of a process that ends by itself; None when ``cancelled()`` first."""
        while self.alive:
            if cancelled():
                return None
            time.sleep(LOOK_EVERY)
        self._drain()
        return self.process.returncode if self.process else None

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Ask the process to stop, wait for it, kill it after its grace; once ``hurried()`` it gets `hasty_signal`."""
        if self.process is None:
            return
        self._signal(self.stop_signal)
        deadline, hastened = time.monotonic() + self.grace, False
        while self.alive:
            if hurried() and not hastened:
                hastened = True
                self._signal(self.hasty_signal)
            if time.monotonic() > deadline:
                self.on_line(self.name, logging.WARNING, f"did not stop within {self.grace:.0f} seconds and is killed")
                self._signal(signal.SIGKILL)
                self.process.wait()
            time.sleep(LOOK_EVERY)
        # What it had started itself, and would leave behind.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._drain()
        self.process = None

    def _signal(self, number: signal.Signals) -> None:
        if self.alive and self.process:
            self.process.send_signal(number)

    def _drain(self) -> None:
        if self._reader and self._reader is not threading.current_thread():
            self._reader.join(timeout=1)


def python(*arguments: str) -> list[str]:
    """The command line of a Python program under this very interpreter."""
    return [sys.executable, "-u", *arguments]
