"""Exports: CSV or JSON that leaves as it is read, in bounded memory, whatever its length."""

import csv
import json
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from io import StringIO

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from workspaces import tenancy
from workspaces.errors import ValidationFailed
from workspaces.times import rfc3339

KINDS = ("csv", "json")
#: A cell that begins so is run as a formula by spreadsheets.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
#: Bytes gathered before they are sent.
PIECE = 32 * 1024


def csv_cell(value: object) -> str:
    """A value as a spreadsheet may have it: a text that would be a formula is quoted with ``'``. Source: spec/decisions.md 3."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return rfc3339(value)
        case int() | float() | Decimal():
            return str(value)
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if text.startswith(FORMULAS) else text


def csv_text(heads: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """A head and a line for each row (RFC 4180)."""
    kept = StringIO()
    writer = csv.writer(kept)
    writer.writerow(heads)
    for row in rows:
        writer.writerow([csv_cell(row.get(name)) for name in heads])
        yield kept.getvalue()
        kept.seek(0)
        kept.truncate()
    yield kept.getvalue()


def json_text(about: Mapping[str, object], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """``about`` with the rows as its ``results``."""
    yield json.dumps(dict(about), default=_plain)[:-1] + (", " if about else "") + '"results": ['
    glue = ""
    for row in rows:
        yield glue + json.dumps(dict(row), default=_plain)
        glue = ", "
    yield "]}"


def kind_of(query: Mapping[str, str]) -> str:
    """``format`` of an address, csv unless asked otherwise. Raises ``ValidationFailed``."""
    kind = query.get("format", "csv")
    if kind not in KINDS:
        raise ValidationFailed(f"One of {', '.join(KINDS)}.", param="format")
    return kind


def export(
    workspace_id: int,
    rows: Callable[[], Iterable[Mapping[str, object]]],
    *,
    heads: Sequence[str],
    kind: str,
    name: str,
    about: Mapping[str, object] | None = None,
) -> StreamingHttpResponse:
    """The answer that sends ``rows``, read inside the workspace: ``heads`` are the columns of csv, ``about`` goes before json's ``results``.

    ``name`` is the file's, without its ending.
    """

    def text() -> Iterator[str]:
        return csv_text(heads, rows()) if kind == "csv" else json_text(about or {}, rows())

    content_type = "text/csv; charset=utf-8" if kind == "csv" else "application/json"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(_pieces(workspace_id, text), content_type=content_type, headers=headers)


async def _pieces(workspace_id: int, text: Callable[[], Iterator[str]]) -> AsyncIterator[bytes]:
    # An ordinary iterator would be read to its end before the first byte leaves. One thread reads all of a request, so
    # the transaction that it opens stays its own.
    reading = _read(workspace_id, text)
    try:
        while piece := await sync_to_async(_next)(reading):
            yield piece
    finally:
        await sync_to_async(reading.close)()


def _next(reading: Iterator[bytes]) -> bytes:
    return next(reading, b"")


def _read(workspace_id: int, text: Callable[[], Iterator[str]]) -> Generator[bytes, None, None]:
    with tenancy.scope(workspace_id):
        kept: list[str] = []
        size = 0
        for part in text():
            kept.append(part)
            size += len(part)
            if size >= PIECE:
                yield "".join(kept).encode()
                kept, size = [], 0
    yield "".join(kept).encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value)
