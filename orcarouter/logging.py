"""One form of log line for every process: web, worker, `manage.py`, and `up`, which repeats what its children print.

A record is one flat object: ``time`` (RFC 3339), ``level``, ``process``, ``logger``, ``message`` and whatever else was said. On a
terminal it is a line for a person, elsewhere JSON. Whatever is shaped like one of our credentials is masked on the way out.
"""

import json
import logging
import logging.config
import os
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from workspaces.times import rfc3339

Record = MutableMapping[str, Any]

#: Enough of a credential to find it by, as the console masks it.
CREDENTIAL = re.compile(r"\b(sk-orca-|orca-pat-)([A-Za-z0-9]{4})[A-Za-z0-9]{8,}")

LEVEL_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
DIM, CYAN, RESET = "\x1b[2m", "\x1b[36m", "\x1b[0m"
PLACED = {"time", "level", "process", "logger", "message", "exception"}


def configure(options: Mapping[str, Any]) -> None:
    """Django's ``LOGGING_CONFIG``. ``options`` is the settings' ``LOGGING``: ``{"json": bool, "level": "INFO"}``."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _complete,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    render = _render_json if options["json"] else _render_line
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "record": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "record"}},
            "root": {"handlers": ["stderr"], "level": str(options["level"]).upper()},
            # Each start of a worker or a request would be a line; what goes wrong there is a warning or more.
            "loggers": {name: {"level": "WARNING"} for name in ("uvicorn", "celery", "kombu", "amqp", "asyncio", "django.server")},
        }
    )


def _complete(_logger: object, _method: str, event: Record) -> Record:
    event["message"] = event.pop("event", "")
    event.setdefault("time", _now())
    event.setdefault("process", os.environ.get("ORCA_PROCESS", "orcarouter"))
    return event


def _now() -> str:
    return rfc3339(datetime.now(UTC), timespec="milliseconds")


def _render_json(_logger: object, _method: str, event: Record) -> str:
    return as_json(event)


def _render_line(_logger: object, _method: str, event: Record) -> str:
    return as_line(event)


def mask(text: str) -> str:
    return CREDENTIAL.sub(r"\1\2****", text)


def as_json(record: Record) -> str:
    first = {name: record[name] for name in ("time", "level", "process", "logger", "message") if name in record}
    return mask(json.dumps({**first, **record}, default=str, ensure_ascii=False))


def as_line(record: Record, *, colour: bool | None = None) -> str:
    """A record as a person reads it: local time, process, message, the rest as ``name=value``."""
    if colour is None:
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    level = str(record.get("level", "info"))
    at = datetime.fromisoformat(str(record["time"])).astimezone().strftime("%H:%M:%S")
    process = f"{record.get('process', ''):<9}"
    message = " ".join(str(record.get("message", "")).split("\n")).strip()  # others' messages have lines; here one is a record
    rest = "".join(f" {name}={value}" for name, value in record.items() if name not in PLACED)
    if colour:
        tone = LEVEL_COLOURS.get(level, "")
        at, process, message, rest = (
            f"{DIM}{at}{RESET}",
            f"{CYAN}{process}{RESET}",
            f"{tone}{message}{RESET if tone else ''}",
            f"{DIM}{rest}{RESET}" if rest else "",
        )
    elif level in LEVEL_COLOURS:
        message = f"{level}: {message}"
    exception = f"\n{record['exception']}" if record.get("exception") else ""
    return mask(f"{at}  {process}  {message}{rest}{exception}")


class Relay:
    """Repeats what child processes print, in the same form as one's own records.

    A child of ours prints JSON records, which pass with their level; any other line is a record's message.
    """

    def __init__(self, *, as_json: bool, level: str = "INFO", stream: TextIO | None = None) -> None:
        self._as_json, self._stream = as_json, stream or sys.stderr
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._one_at_a_time = threading.Lock()

    def __call__(self, process: str, level: int, line: str) -> None:
        record = self._record(process, level, line)
        if logging.getLevelNamesMapping().get(str(record["level"]).upper(), logging.INFO) < self._level:
            return
        text = as_json(record) if self._as_json else as_line(record)
        with self._one_at_a_time:
            self._stream.write(text + "\n")
            self._stream.flush()

    @staticmethod
    def _record(process: str, level: int, line: str) -> Record:
        if line.startswith("{"):
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if isinstance(said, dict) and {"time", "level", "message"} <= said.keys():
                return said | {"process": process}
        return {"time": _now(), "level": logging.getLevelName(level).lower(), "process": process, "message": line}
