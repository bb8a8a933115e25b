"""What the console's frame shows on every page."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from workspaces import selectors
from workspaces.models import Membership, Workspace
from workspaces.permissions import allowed


@dataclass(frozen=True, slots=True)
class Count:
    """A figure beside an item of the menu, and the permission without which nobody asks for it."""

    permission: str
    of: Callable[[Workspace], int]


#: By name; the apps that have something to count put it here when they are ready.
COUNTS: dict[str, Count] = {}


def console(request: HttpRequest) -> dict:
    """``workspace`` and ``membership`` of the page (None outside one), the person's ``workspaces``, the chosen ``theme``.

    ``counts`` are asked for when the menu is drawn, so that a part of a page costs nothing.
    """
    theme = request.COOKIES.get("theme")
    membership = getattr(request, "membership", None)
    return {
        "workspace": getattr(request, "workspace", None),
        "membership": membership,
        "counts": SimpleLazyObject(lambda: _counts(membership)),
        "workspaces": SimpleLazyObject(lambda: _workspaces(request)),
        "theme": theme if theme in ("light", "dark") else "",
    }


def _workspaces(request: HttpRequest) -> list[Workspace]:
    user = getattr(request, "user", None)
    return [membership.workspace for membership in selectors.workspaces_of(user)] if user and user.is_authenticated else []


def _counts(membership: Membership | None) -> dict[str, int]:
    return {name: count.of(membership.workspace) for name, count in COUNTS.items() if allowed(membership, count.permission)} if membership else {}
