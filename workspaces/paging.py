"""Keyset pages for the console: the place in a list is the last row seen, so rows that arrive move nothing."""

from dataclasses import dataclass

from django.db.models import QuerySet

from workspaces.api_base import PAGE_SIZE, read_cursor, write_cursor


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first. ``newer`` and ``older`` are query strings (``?cursor=...``'s value), empty where the list ends."""

    rows: list
    newer: str
    older: str


def page_of(queryset: QuerySet, cursor: str | None, *, size: int = PAGE_SIZE) -> Page:
    """The page of ``queryset``, by descending id, that ``cursor`` names. Raises ``ValidationFailed`` for a foreign cursor."""
    position, backwards = read_cursor(cursor, queryset.model)
    rows = queryset.order_by("pk" if backwards else "-pk")
    if position is not None:
        rows = rows.filter(pk__gt=position) if backwards else rows.filter(pk__lt=position)
    found = list(rows[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    newer = found and (more if backwards else position is not None)
    older = found and (more or backwards)
    return Page(found, write_cursor(found[0].pk, backwards=True) if newer else "", write_cursor(found[-1].pk, backwards=False) if older else "")
