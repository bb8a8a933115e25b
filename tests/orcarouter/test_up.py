"""`manage.py up`, whole: what it refuses, what it shows and to whom, and how it ends."""

import base64
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.orcarouter.embedded.ways import hold
from tests.stack import free_port

PROJECT = Path(__file__).parents[2]


class Up:
    """A running `manage.py up`; on a terminal if ``terminal``. ``text`` is all that it has printed."""

    def __init__(self, data: Path, *, terminal: bool = False, **environment: str) -> None:
        self.data, self.text = data, ""
        self.port = int(environment.get("PORT") or free_port())
        clean = {name: value for name, value in os.environ.items() if name not in {"ORCA_LOG", "LOG_LEVEL"}}
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=PROJECT,
            env=clean | {"ORCAROUTER_DATA": str(data), "PORT": str(self.port)} | environment,
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._output = ours

    def read(self, until: Callable[[], bool], *, seconds: float = 240) -> "Up":
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.text
            if select.select([self._output], [], [], 0.05)[0]:
                self.text += self._chunk()
        return self

    def _chunk(self) -> str:
        try:
            return os.read(self._output, 65536).decode()
        except OSError:  # a terminal that nobody holds any more
            return ""

    def wait_ready(self) -> "Up":
        return self.read(lambda: self.process.poll() is not None or self.get("/readyz") == 200)

    def wait_said(self, text: str) -> "Up":
        return self.read(lambda: text in self.text)

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def end(self) -> int:
        self.read(lambda: self.process.poll() is not None)
        while chunk := self._chunk():
            self.text += chunk
        return self.process.returncode

    def stop(self) -> int:
        self.process.terminate()
        return self.end()

    def descendants(self) -> dict[str, psutil.Process]:
        """The supervised processes, by what they are."""
        marks = {"bin/postgres": "postgres", "valkey-server": "valkey", " serve ": "web", " worker ": "worker", "demo_provider": "demo"}
        found = psutil.Process(self.process.pid).children()
        return {name: process for process in found for mark, name in marks.items() if mark in " ".join(process.cmdline())}

    def close(self) -> None:
        with suppress(psutil.NoSuchProcess):
            if self.process.poll() is None:
                self.stop()
        os.close(self._output)


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orca", ignore_cleanup_errors=True) as parent:
        yield Path(parent) / "data"


@pytest.fixture
def up(data: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def start(*, terminal: bool = False, **environment: str) -> Up:
        made.append(Up(data, terminal=terminal, **environment))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    """One that several tests look at, and leave running."""
    with tempfile.TemporaryDirectory(prefix="orca", ignore_cleanup_errors=True) as parent:
        one = Up(Path(parent) / "data").wait_ready()
        yield one
        one.close()


def production(urls: dict[str, str]) -> dict[str, str]:
    """The environment of an installation that has a database and a Valkey of its own."""
    key = base64.b64encode(b"k" * 32).decode()
    secrets = {"SECRET_KEY": "s" * 50, "KEY_PEPPER": "p" * 50, "ENCRYPTION_KEY": key, "SIGNING_KEY": key}
    roles = {"DATABASE_URL": "orca_app", "DATABASE_OWNER_URL": "orca_owner", "DATABASE_RECORDER_URL": "orca_recorder"}
    return secrets | {name: urls["owner"].replace("orca_owner", role) for name, role in roles.items()} | {"REDIS_URL": urls["redis"]}


def test_a_taken_port_is_said_in_one_line_before_anything_starts(up: Callable[..., Up], data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        refused = up(PORT=str(number))
        assert refused.end() == 1
    (line,) = refused.text.splitlines()
    assert json.loads(line)["message"].startswith(f"PORT={number} on 127.0.0.1 can't be used")
    assert not (data / "postgres").exists()


def test_a_port_that_is_none_is_said_in_one_line() -> None:
    environment = os.environ | {"PORT": "http"}
    refused = subprocess.run([sys.executable, "manage.py", "up"], check=False, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)
    assert (refused.returncode, refused.stderr) == (1, "PORT=http is no port: take one from 1 to 65535.\n")


def test_a_missing_secret_is_said_in_one_line(up: Callable[..., Up]) -> None:
    environment = production({"owner": "postgres://orca_owner@127.0.0.1:1/none", "redis": "redis://127.0.0.1:1/0"})
    del environment["KEY_PEPPER"]
    refused = up(**environment)
    assert refused.end() == 1
    (line,) = refused.text.splitlines()
    assert line.startswith("KEY_PEPPER is not set")


def test_databases_of_ones_own_are_used_and_none_is_embedded(up: Callable[..., Up], data: Path) -> None:
    theirs = hold(data.parent / "theirs")
    try:
        environment = production(theirs.said["urls"])
        owner = environment.pop("DATABASE_OWNER_URL")
        lacking = up(**environment)
        assert lacking.end() == 1
        assert "lacks migrations" in json.loads(lacking.text.splitlines()[-1])["message"]
        running = up(**environment, DATABASE_OWNER_URL=owner).wait_ready()
        assert set(running.descendants()) == {"web", "worker"}
        assert running.stop() == 0
        # Nothing is missing now, and nobody needs the owner's address.
        assert up(**environment).wait_ready().stop() == 0
        assert not {"secrets.json", "postgres", "valkey", "bootstrap.json"} & {file.name for file in data.iterdir()}
    finally:
        theirs.stop()


def test_everything_runs_and_stops_and_goes_on_with_the_same_data_and_no_log_holds_a_credential(up: Callable[..., Up], data: Path) -> None:
    first = up(LOG_LEVEL="DEBUG").wait_ready()
    children = first.descendants()
    assert set(children) == {"postgres", "valkey", "demo", "worker", "web"}
    # Each in a group of its own, so that only the supervisor hears a terminal.
    assert {os.getpgid(process.pid) for process in children.values()} == {process.pid for process in children.values()}
    credentials = json.loads((data / "bootstrap.json").read_text())
    everyone = psutil.Process(first.process.pid).children(recursive=True)
    assert first.stop() == 0
    assert psutil.wait_procs(everyone, timeout=30)[1] == []
    second = up().wait_ready()
    assert json.loads((data / "bootstrap.json").read_text()) | {"base_url": ""} == credentials | {"base_url": ""}
    assert second.stop() == 0
    said = first.text + second.text
    records = [json.loads(line) for line in said.splitlines()]
    assert all({"time", "level", "process", "message"} <= record.keys() for record in records)
    for secret in [credentials[name] for name in ("owner_password", "access_token", "relay_key", "gateway_key")]:
        assert secret not in said
    for secret in json.loads((data / "secrets.json").read_text()).values():
        assert secret not in said


def test_a_killed_web_process_and_a_killed_database_come_back(running: Up) -> None:
    for name in ("web", "postgres", "valkey"):
        dead = running.descendants()[name]
        dead.kill()
        running.wait_said(f"{name} was ended by SIGKILL")
        # Whoever depends on it may have been found ready a moment before the loss was seen.
        deadline = time.monotonic() + 120
        while (again := running.descendants().get(name)) is None or again.pid == dead.pid:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.wait_ready()


def test_a_second_one_on_the_same_data_is_refused_and_the_first_goes_on(running: Up) -> None:
    second = Up(running.data)
    try:
        assert second.end() == 1
    finally:
        second.close()
    (line,) = second.text.splitlines()
    assert "already runs" in json.loads(line)["message"]
    assert running.wait_ready().process.poll() is None


def test_a_terminal_shows_how_to_begin_and_the_password_the_first_time_only_also_after_a_kill(up: Callable[..., Up], data: Path) -> None:
    first = up(terminal=True).wait_said('"messages"').wait_ready()
    everyone = psutil.Process(first.process.pid).children(recursive=True)
    first.process.kill()
    later = up(terminal=True, PORT=str(first.port)).wait_said('"messages"').wait_ready()
    assert later.process.poll() is None
    assert psutil.wait_procs(everyone, timeout=30)[1] == []
    os.killpg(later.process.pid, signal.SIGINT)  # Ctrl-C
    assert later.end() == 0
    made = json.loads((data / "bootstrap.json").read_text())
    assert made["owner_password"] in first.text
    assert made["owner_password"] not in later.text
    for running in (first, later):
        assert f"http://127.0.0.1:{running.port}/v1/chat/completions" in running.text
        assert made["owner_email"] in running.text
        assert f"Bearer {made['relay_key']}" in running.text
        assert str(data / "bootstrap.json") in running.text
        assert made["access_token"] not in running.text
        assert '{"time"' not in running.text
