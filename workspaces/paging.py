"""Keyset pages for the console: the place in a list is the last row seen, so rows that arrive move nothing."""

from dataclasses import dataclass

from django.db.models import QuerySet

from workspaces.api_base import PAGE_SIZE, read_cursor, write_cursor


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the list's order. ``newer`` (before them) and ``older`` (after them) are values of ``?cursor=``, empty where the list ends."""

    rows: list
    newer: str
    older: str


def page_of(queryset: QuerySet, cursor: str | None, *, by: str = "-pk", size: int = PAGE_SIZE) -> Page:
    """The page of ``queryset`` that ``cursor`` names, by a field whose values differ: falling with ``-``, else rising.

    Raises ``ValidationFailed`` for a foreign cursor.
    """
    name = by.removeprefix("-")
    position, backwards = read_cursor(cursor, queryset.model, name)
    is_rising = backwards is by.startswith("-")
    rows = queryset.order_by(name if is_rising else f"-{name}")
    if position is not None:
        rows = rows.filter(**{f"{name}__{'gt' if is_rising else 'lt'}": position})
    found = list(rows[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    newer = found and (more if backwards else position is not None)
    older = found and (more or backwards)
    first, last = (getattr(found[place], name) for place in (0, -1)) if found else (None, None)
    return Page(found, write_cursor(first, backwards=True) if newer else "", write_cursor(last, backwards=False) if older else "")
