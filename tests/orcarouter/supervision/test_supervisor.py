"""Start, death, stop and being killed, with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orcarouter.supervision.child import began
from orcarouter.supervision.supervisor import Supervisor

PROJECT = Path(__file__).parents[3]
STACK = Path(__file__).with_name("stack.py")


class Stack:
    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        (folder / "up").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, str(STACK), str(folder), *names],
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_up(self) -> "Stack":
        wait_until((self.folder / "up").exists)
        return self

    def pid(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text().split()[0])

    def session(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text().split()[1])

    def story(self) -> list[str]:
        return (self.folder / "story").read_text().splitlines()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(*names: str) -> Stack:
        made.append(Stack(tmp_path, *names))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.communicate()
    for file in tmp_path.glob("*.pid"):
        pid, session = map(int, file.read_text().split())
        if began(pid) is not None and session == pid:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_children_one_after_the_other_the_last_one_first(stack: Callable[..., Stack], number: signal.Signals) -> None:
    running = stack("database", "worker", "web").wait_up()
    running.process.send_signal(number)
    assert running.process.wait(120) == 0
    started = ["database started", "worker started", "web started"]
    assert running.story() == [*started, "web told", "web stopped", "worker told", "worker stopped", "database told", "database stopped"]
    assert not (running.folder / "children.json").exists()


def test_a_terminals_ctrl_c_reaches_the_supervisor_alone(stack: Callable[..., Stack]) -> None:
    running = stack("database", "web").wait_up()
    # What a terminal does: the signal goes to the whole foreground group.
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.process.wait(120) == 0
    assert running.story()[2:] == ["web told", "web stopped", "database told", "database stopped"]
    assert {running.session(name) for name in ("database", "web")} == {running.pid("database"), running.pid("web")}


def test_a_second_signal_does_not_wait_for_a_child_that_takes_its_time(stack: Callable[..., Stack]) -> None:
    running = stack("database", "deaf").wait_up()
    running.process.terminate()
    wait_until(lambda: "deaf told" in running.story())
    assert running.process.poll() is None
    running.process.terminate()
    assert running.process.wait(120) == 0
    assert began(running.pid("deaf")) is None


def test_a_child_that_dies_is_started_again_and_said(stack: Callable[..., Stack]) -> None:
    running = stack("database", "web").wait_up()
    dead = running.pid("web")
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: running.pid("web") != dead)
    running.process.terminate()
    _, said = running.process.communicate(timeout=120)
    assert "web was ended by SIGKILL: starting it again in 0.5 s." in said
    assert running.story() == ["database started", "web started", "web started", "web told", "web stopped", "database told", "database stopped"]


def test_a_child_that_never_answers_ends_the_start_and_what_had_started(stack: Callable[..., Stack]) -> None:
    running = stack("database", "broken", "web")
    said, _ = running.process.communicate(timeout=120)
    assert "broken ended with status 1 before it was ready" in said
    assert running.story() == ["database started", "database told", "database stopped"]


def test_children_end_with_a_killed_supervisor_and_the_next_start_ends_those_that_do_not(stack: Callable[..., Stack]) -> None:
    first = stack("deaf", "web").wait_up()
    deaf, web = first.pid("deaf"), first.pid("web")
    first.process.kill()
    wait_until(lambda: began(web) is None)
    wait_until(lambda: "deaf told" in first.story())
    assert began(deaf) is not None
    second = stack("web").wait_up()
    assert began(deaf) is None
    second.process.terminate()
    _, said = second.process.communicate(timeout=120)
    assert "ending what it left behind (deaf)" in said


def test_a_signal_is_heard_whatever_the_watch_is_doing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that waited for what the interrupted thread holds would never return, and Ctrl-C would be lost."""
    monkeypatch.setattr("orcarouter.supervision.supervisor.LOOK_EVERY", 1e-5)
    watching = Supervisor(tmp_path / "children.json")
    old = signal.signal(signal.SIGALRM, watching._told)
    try:
        for _ in range(3000):
            watching._signals = 0
            signal.setitimer(signal.ITIMER_REAL, 2e-4)
            watching.watch()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
