"""One form of log line, and no credential in it."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orcarouter.logging import Relay

PROJECT = Path(__file__).parents[2]
KEY = "sk-orca-" + "Ab3" * 16
SPEAK = """
import logging, structlog, sys
from orcarouter.logging import configure
configure({"json": sys.argv[1] == "json", "level": "info"})
logging.getLogger("django.request").warning("refused %s", sys.argv[2], extra={"status": 403})
structlog.get_logger("keys").info("made", label=sys.argv[2])
logging.getLogger("quiet").debug("not said")
try:
    raise ValueError(sys.argv[2])
except ValueError:
    logging.getLogger("orcarouter").exception("failed")
"""


def speak(form: str) -> str:
    environment = os.environ | {"ORCA_PROCESS": "web"}
    return subprocess.run([sys.executable, "-c", SPEAK, form, KEY], check=True, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True).stderr


def test_every_record_is_one_flat_object_whoever_writes_it() -> None:
    refused, made, failed = map(json.loads, speak("json").splitlines())
    assert {key: refused[key] for key in ("level", "process", "logger", "message", "status")} == {
        "level": "warning",
        "process": "web",
        "logger": "django.request",
        "message": "refused sk-orca-Ab3A****",
        "status": 403,
    }
    assert (made["message"], made["label"], made["logger"]) == ("made", "sk-orca-Ab3A****", "keys")
    assert "ValueError" in failed["exception"]
    assert refused["time"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "terminal"])
def test_no_form_shows_a_key(form: str) -> None:
    said = speak(form)
    assert "sk-orca-Ab3A****" in said
    assert KEY not in said


def test_a_childs_records_keep_their_level_and_its_other_lines_get_one() -> None:
    out = io.StringIO()
    relay = Relay(as_json=True, level="INFO", stream=out)
    relay("web", logging.INFO, json.dumps({"time": "2026-01-01T00:00:00Z", "level": "error", "message": "late", "process": "else"}))
    relay("web", logging.INFO, json.dumps({"time": "2026-01-01T00:00:00Z", "level": "debug", "message": "too fine"}))
    relay("postgres", logging.WARNING, "disk is slow")
    relay("web", logging.INFO, "{not a record} " + KEY)
    late, slow, loose = map(json.loads, out.getvalue().splitlines())
    assert (late["level"], late["process"], late["message"]) == ("error", "web", "late")
    assert (slow["level"], slow["process"], slow["message"]) == ("warning", "postgres", "disk is slow")
    assert (loose["level"], loose["message"]) == ("info", "{not a record} sk-orca-Ab3A****")


def test_on_a_terminal_a_record_is_a_line_for_a_person() -> None:
    out = io.StringIO()
    Relay(as_json=False, stream=out)(
        "web", logging.INFO, json.dumps({"time": "2026-01-01T10:00:00Z", "level": "info", "message": "answers", "address": "here"})
    )
    assert out.getvalue().endswith("  web        answers address=here\n")


def test_on_a_terminal_a_message_of_several_lines_is_one() -> None:
    out = io.StringIO()
    Relay(as_json=False, stream=out)("worker", logging.INFO, json.dumps({"time": "2026-01-01T10:00:00Z", "level": "info", "message": "Lost.\nAgain in 2 s.\n"}))
    assert out.getvalue().endswith("  worker     Lost. Again in 2 s.\n")
