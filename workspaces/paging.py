"""Keyset pages, of the API and of the console: the place in a list is the last row seen, so rows that arrive move nothing."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet

from workspaces.errors import ValidationFailed

PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the list's order. ``newer`` (before them) and ``older`` (after them) are the cursors of the pages beside them, empty where the list ends."""

    rows: list
    newer: str
    older: str


def page_of(queryset: QuerySet, cursor: str | None, *, by: str = "-pk", size: int = PAGE_SIZE) -> Page:
    """The page of ``queryset`` that ``cursor`` names, by a field whose values differ: falling with ``-``, else rising.

    Raises ``ValidationFailed`` for a foreign cursor.
    """
    name = by.removeprefix("-")
    field = queryset.model._meta.pk if name == "pk" else queryset.model._meta.get_field(name)
    position, backwards = read_cursor(cursor, field.to_python)
    is_rising = backwards is by.startswith("-")
    rows = queryset.order_by(name if is_rising else f"-{name}")
    if position is not None:
        rows = rows.filter(**{f"{name}__{'gt' if is_rising else 'lt'}": position})
    found = list(rows[: size + 1])
    more, found = len(found) > size, found[:size]
    return page_around(found[::-1] if backwards else found, is_first=position is None, backwards=backwards, more=more, place=attrgetter(name))


def page_around(rows: list, *, is_first: bool, backwards: bool, more: bool, place: Callable[[Any], object] = attrgetter("pk")) -> Page:
    """The page of rows that were read from a place on. ``more``: the way they were read there are others; ``place`` is what a cursor says of a row."""
    newer = rows and (more if backwards else not is_first)
    older = rows and (more or backwards)
    return Page(rows, write_cursor(place(rows[0]), backwards=True) if newer else "", write_cursor(place(rows[-1])) if older else "")


def write_cursor(position: object, *, backwards: bool = False) -> str:
    """An opaque place in a list; empty for None, where the list ends."""
    if position is None:
        return ""
    return base64.urlsafe_b64encode(f"{'b' if backwards else 'f'}{position}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, read: Callable[[str], P]) -> tuple[P | None, bool]:
    """``(position, backwards)`` of a cursor, the position as ``read`` takes its text. Raises ``ValidationFailed`` for one that we did not write."""
    if not cursor:
        return None, False
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        if "\x00" in text:
            raise ValueError(text)
        return read(text[1:]), {"f": False, "b": True}[text[:1]]
    except (ValueError, KeyError, DjangoValidationError) as error:
        raise ValidationFailed("This cursor is not one of ours.", param="cursor") from error


def read_onward(cursor: str | None, read: Callable[[str], P]) -> P | None:
    """The position of a cursor of a list that only goes on."""
    position, backwards = read_cursor(cursor, read)
    if backwards:
        raise ValidationFailed("This cursor is not one of ours.", param="cursor")
    return position
