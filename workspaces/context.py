"""What the console's frame shows on every page."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from workspaces import selectors
from workspaces.models import Workspace


def console(request: HttpRequest) -> dict:
    """``workspace`` and ``membership`` of the page (None outside one), the person's ``workspaces``, and the chosen ``theme``."""
    theme = request.COOKIES.get("theme")
    return {
        "workspace": getattr(request, "workspace", None),
        "membership": getattr(request, "membership", None),
        "workspaces": SimpleLazyObject(lambda: _workspaces(request)),
        "theme": theme if theme in ("light", "dark") else "",
    }


def _workspaces(request: HttpRequest) -> list[Workspace]:
    user = getattr(request, "user", None)
    return [membership.workspace for membership in selectors.workspaces_of(user)] if user and user.is_authenticated else []
