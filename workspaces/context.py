"""What the console's frame shows on every page."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from workspaces import selectors


def console(request: HttpRequest) -> dict:
    """``workspace`` and ``membership`` of the page (None outside one), the person's ``memberships``, and the chosen ``theme``."""
    user = getattr(request, "user", None)
    theme = request.COOKIES.get("theme")
    return {
        "workspace": getattr(request, "workspace", None),
        "membership": getattr(request, "membership", None),
        "memberships": SimpleLazyObject(lambda: selectors.workspaces_of(user) if user and user.is_authenticated else []),
        "theme": theme if theme in ("light", "dark") else "",
    }
