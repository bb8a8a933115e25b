"""What every console page shares: a signed-in member, one workspace, a declared permission, one transaction."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.views.decorators.cache import never_cache
from django_htmx.middleware import HtmxDetails

from workspaces import errors, tenancy
from workspaces.authentication import Credential, chosen_membership
from workspaces.models import Membership, User, Workspace
from workspaces.permissions import PERMISSIONS, allowed


class ConsoleRequest(HttpRequest):
    """What the view of a page is given: somebody signed in, in one workspace."""

    user: User
    workspace: Workspace
    membership: Membership
    #: Truthy when htmx asks for a part of the page.
    htmx: HtmxDetails


#: Console pages by view name, for the test that walks roles and routes.
PAGES: dict[str, str] = {}


def page(permission: str) -> Callable:
    """Make a view a console page: ``@page("firewall.view_policy")``.

    The view finds ``request.workspace`` and ``request.membership``, and runs in one transaction that sees this workspace
    only. Who is not signed in is led to the sign-in; who lacks the role gets 403; an ``OrcaError`` becomes its status.
    """
    if permission not in PERMISSIONS:
        raise TypeError(f"{permission} is not in workspaces/permissions.py")

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        PAGES[f"{view.__module__}.{view.__name__}"] = permission

        @never_cache
        @wraps(view)
        def shown(request: ConsoleRequest, *args, **kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            with transaction.atomic():
                enter_workspace(request)
                if not allowed(request.membership, permission):
                    raise errors.PermissionRefused(f"This page needs the role {PERMISSIONS[permission].least_role.label} or above.")
                response = view(request, *args, **kwargs)
                # Rows are read while a template renders: inside the transaction that may see them.
                return response.render() if isinstance(response, SimpleTemplateResponse) else response

        shown.permission = permission  # type: ignore[attr-defined]
        return shown

    return decorate


def enter_workspace(request: ConsoleRequest) -> None:
    """Set ``request.membership`` and ``request.workspace`` and narrow the open transaction to them. Raises ``NotFound``."""
    tenancy.enter(user_id=request.user.pk)
    request.membership = chosen_membership(request, request.user, Credential(f"session:{request.user.pk}"))
    request.workspace = request.membership.workspace
    tenancy.enter(workspace_id=request.workspace.pk)
