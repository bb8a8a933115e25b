"""Where the four secrets come from, and what becomes of a start without one."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
GOOD = {
    "SECRET_KEY": "s" * 50,
    "KEY_PEPPER": "p" * 50,
    "ENCRYPTION_KEY": base64.b64encode(b"e" * 32).decode(),
    "SIGNING_KEY": base64.b64encode(b"k" * 32).decode(),
}
READ = "import json; from orcarouter.secrets_file import NAMES, secret; print(json.dumps({name: secret(name) for name in NAMES}))"


def popen(**environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in GOOD and name != "DATABASE_URL"}
    return subprocess.Popen([sys.executable, "-c", READ], env=clean | environment, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read(**environment: str) -> tuple[dict[str, str], str]:
    """The four secrets as a new process reads them, and what it said on standard error."""
    out, err = popen(**environment).communicate(timeout=30)
    return json.loads(out or "{}"), err


def test_the_embedded_database_gets_secrets_of_its_own_that_only_their_owner_may_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made, err = read(ORCAROUTER_DATA=str(data))
    assert err == ""
    assert len(set(made.values())) == 4
    assert {len(base64.b64decode(made[name])) for name in ("ENCRYPTION_KEY", "SIGNING_KEY")} == {32}
    assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert read(ORCAROUTER_DATA=str(data)) == (made, "")


def test_processes_that_start_together_agree_on_the_secrets(tmp_path: Path) -> None:
    together = [popen(ORCAROUTER_DATA=str(tmp_path)) for _ in range(6)]
    assert len({process.communicate(timeout=60)[0] for process in together}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("missing", GOOD)
def test_with_a_database_of_ones_own_a_missing_secret_stops_the_start_with_its_name(tmp_path: Path, missing: str) -> None:
    given = GOOD | {"DATABASE_URL": "postgres://db/orcarouter", "ORCAROUTER_DATA": str(tmp_path)}
    assert read(**given) == (GOOD, "")
    del given[missing]
    made, err = read(**given)
    assert made == {}
    assert err.startswith(f"{missing} is not set")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_secret_may_lie_in_a_file_and_one_that_all_may_read_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "pepper"
    file.write_text("q" * 40 + "\n")
    given = GOOD | {"DATABASE_URL": "postgres://db/orcarouter", "KEY_PEPPER_FILE": str(file)}
    del given["KEY_PEPPER"]
    file.chmod(0o600)
    assert read(**given) == (GOOD | {"KEY_PEPPER": "q" * 40}, "")
    file.chmod(0o644)
    made, err = read(**given)
    assert made["KEY_PEPPER"] == "q" * 40
    assert "KEY_PEPPER_FILE may be read by every user" in err
    file.unlink()
    made, err = read(**given)
    assert made == {}
    assert "KEY_PEPPER_FILE" in err


@pytest.mark.parametrize(("name", "value"), [("ENCRYPTION_KEY", base64.b64encode(b"short").decode()), ("SIGNING_KEY", "not base64!"), ("SECRET_KEY", "short")])
def test_a_malformed_secret_stops_the_start_with_its_name_and_without_its_value(name: str, value: str) -> None:
    made, err = read(**GOOD | {name: value})
    assert made == {}
    assert err.startswith(name)
    assert value not in err


def test_damaged_secrets_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    made, err = read(ORCAROUTER_DATA=str(tmp_path))
    assert made == {}
    assert "secrets.json is damaged" in err
    assert (tmp_path / "secrets.json").read_text() == "{"
