"""The embedded servers, real ones, through whatever may befall them."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from orcarouter import embedded
from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import began
from tests.orcarouter.embedded.ways import WAYS, Holder, hold


@pytest.fixture
def data() -> Iterator[Path]:
    # Not pytest's own folder: nobody else may enter that, and its path is long.
    with tempfile.TemporaryDirectory(prefix="orca", ignore_cleanup_errors=True) as parent:
        Path(parent).chmod(0o755)
        yield Path(parent) / "data"


@pytest.fixture
def holding() -> Iterator[Callable[..., Holder]]:
    held: list[Holder] = []

    def start(data_dir: Path, **options: str) -> Holder:
        held.append(hold(data_dir, **options))
        return held[-1]

    yield start
    for holder in held:
        if holder.process.poll() is None:
            holder.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def write_row(servers_urls: dict[str, str]) -> None:
    with psycopg.connect(servers_urls["owner"]) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")


def rows(data_dir: Path) -> list[tuple[int]]:
    with embedded.start(data_dir) as servers, psycopg.connect(servers.urls.owner_url) as connection:
        return connection.execute("SELECT n FROM kept").fetchall()


@pytest.mark.parametrize("way", WAYS)
def test_whoever_starts_them_the_servers_answer_on_closed_sockets_and_keep_what_was_written(data: Path, holding: Callable[..., Holder], way: str) -> None:
    for start in range(2):
        holder = holding(data, way=way)
        urls = holder.said["urls"]
        if start == 0:
            write_row(urls)
        with psycopg.connect(urls["owner"]) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert [connection.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit")] == [("on",)] * 2
        assert redis.Redis.from_url(urls["redis"]).config_get("port") == {"port": "0"}
        for folder in (data / "run", data / "postgres", data / "valkey"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for server in ("postgres", "valkey"):
            assert Path(f"/proc/{holder.pid(server)}").stat().st_uid == (data / "postgres").stat().st_uid
        assert holder.stop() == 0
        assert began(holder.pid("postgres")) is None


def test_the_application_owns_nothing_and_no_role_passes_the_walls(data: Path) -> None:
    with embedded.start(data) as servers:
        with psycopg.connect(servers.urls.database_url) as connection:
            roles = connection.execute("SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname LIKE 'orca%'")
            assert sorted(roles.fetchall()) == [("orca_app", False), ("orca_owner", False), ("orca_recorder", False)]
        for url in (servers.urls.database_url, servers.urls.recorder_url):
            with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE mine (n int)")
        with psycopg.connect(servers.urls.owner_url) as connection:
            connection.execute("CREATE TABLE mine (n int)")


def test_every_server_killed_at_once_loses_nothing_that_was_committed(data: Path, holding: Callable[..., Holder]) -> None:
    holder = holding(data)
    write_row(holder.said["urls"])
    holder.kill("postgres", "valkey")
    assert (data / "postgres" / "postmaster.pid").exists()
    assert rows(data) == [(7,)]


def test_servers_end_with_whoever_holds_them_and_the_next_start_need_not_wait(data: Path, holding: Callable[..., Holder]) -> None:
    holder = holding(data)
    write_row(holder.said["urls"])
    holder.kill()
    assert rows(data) == [(7,)]
    wait_until(lambda: began(holder.pid("postgres")) is None and began(holder.pid("valkey")) is None)


def test_a_pid_file_that_names_a_stranger_is_no_hindrance(data: Path, holding: Callable[..., Holder]) -> None:
    holder = holding(data)
    write_row(holder.said["urls"])
    holder.kill("postgres", "valkey")
    # A process of the same user, as after a reboot; and not our own, which PostgreSQL would see through.
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for file in (data / "postgres" / "postmaster.pid", data / "run" / ".s.PGSQL.5432.lock"):
            _, *rest = file.read_text().splitlines(keepends=True)
            file.write_text("".join([f"{stranger.pid}\n", *rest]))
        assert rows(data) == [(7,)]
    finally:
        stranger.kill()
        stranger.wait()


def test_an_empty_pid_file_is_no_hindrance(data: Path, holding: Callable[..., Holder]) -> None:
    holder = holding(data)
    write_row(holder.said["urls"])
    holder.kill("postgres", "valkey")
    (data / "postgres" / "postmaster.pid").write_text("")
    (data / "run" / ".s.PGSQL.5432.lock").write_text("")
    assert rows(data) == [(7,)]


def test_a_server_that_died_can_be_started_again(data: Path) -> None:
    with embedded.start(data) as servers:
        write_row({"owner": servers.urls.owner_url})
        for child in servers.children:
            assert child.process
            os.kill(child.process.pid, signal.SIGKILL)
            child.process.wait(120)
            assert child.ending == "was ended by SIGKILL"
            child.start()
            assert child.wait_ready()
        with psycopg.connect(servers.urls.owner_url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_a_second_start_on_the_same_folder_is_refused_in_one_line(data: Path, holding: Callable[..., Holder]) -> None:
    first = holding(data)
    with pytest.raises(StartRefused) as refused:
        embedded.start(data)
    assert str(data) in str(refused.value)
    assert str(first.process.pid) in str(refused.value)
    assert "\n" not in str(refused.value)
    with psycopg.connect(first.said["urls"]["owner"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_database_that_was_begun_and_not_finished_is_begun_anew(data: Path) -> None:
    (data / "postgres.new" / "base").mkdir(parents=True)
    with embedded.start(data) as servers:
        assert servers.first_start
    assert not (data / "postgres.new").exists()


def test_another_users_folder_is_refused_by_its_owners_name(data: Path) -> None:
    if os.geteuid() == 0:
        data.mkdir()
        os.chown(data, 65534, 65534)
        theirs, owner = data, "nobody"
    else:
        theirs, owner = Path("/usr/share"), "root"
    with pytest.raises(StartRefused, match=f"belongs to {owner}.*start as {owner}"):
        embedded.start(theirs)


def test_a_path_too_long_for_a_socket_moves_the_sockets_to_a_closed_temp_folder(data: Path) -> None:
    deep = data / ("x" * 90) / "data"
    for _ in range(2):
        with embedded.start(deep) as servers:
            sockets = servers.urls.sockets
            assert sockets == embedded.urls(deep).sockets == Path((deep / "sockets-folder").read_text())
            assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
            assert not sockets.is_relative_to(data)
            with psycopg.connect(servers.urls.database_url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert redis.Redis.from_url(servers.urls.redis_url).ping()
        # As a reboot does.
        shutil.rmtree(sockets)


def test_a_temp_folder_that_another_made_first_is_not_used(data: Path) -> None:
    deep = data / ("x" * 90) / "data"
    expected = embedded.urls(deep).sockets
    elsewhere = data.parent / "elsewhere"
    elsewhere.mkdir()
    expected.symlink_to(elsewhere)
    try:
        with embedded.start(deep) as servers:
            assert servers.urls.sockets not in (expected, elsewhere)
            assert embedded.urls(deep) == servers.urls
            assert list(elsewhere.iterdir()) == []
    finally:
        expected.unlink()
        shutil.rmtree(servers.urls.sockets)


def test_addresses_are_known_without_django_and_without_starting_anything(data: Path) -> None:
    program = (
        "import sys, pathlib; from orcarouter import embedded; "
        f"print(embedded.urls(pathlib.Path({str(data)!r})).redis_url, 'django' in sys.modules, 'psycopg' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert said == [f"unix://{data}/run/valkey.sock?db=0", "False", "False"]
    assert not data.exists()
