"""What Django answers by itself: the one error body under ``/api`` and ``/v1``, a page everywhere else."""

import logging
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import loader

from workspaces import errors
from workspaces.ids import uuid7

log = logging.getLogger(__name__)

_MACHINE_PATHS = ("/api/", "/v1/")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, errors.BadRequestBody("This request cannot be read."))


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, errors.PermissionRefused("You may not do this."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, errors.PermissionRefused("The CSRF token is missing or wrong."), page="403_csrf.html")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, errors.NotFound("Not found."))


def server_error(request: HttpRequest) -> HttpResponse:
    """A bug: logged by Django with its traceback, and here with the id that the caller is given. Or a database that is away, and no bug."""
    if isinstance(sys.exception(), (OperationalError, InterfaceError)):
        return _answer(request, errors.StoreUnavailable("The database does not answer."))
    request_id = f"req_{uuid7().hex}"
    log.error("internal error %s on %s %r", request_id, request.method, request.path_info)
    return _answer(request, errors.InternalError("Something went wrong on our side.", request_id=request_id))


def _answer(request: HttpRequest, error: errors.OrcaError, *, page: str = "") -> HttpResponse:
    if f"{request.path_info}/".startswith(_MACHINE_PATHS):
        return JsonResponse(error.body(), status=error.status, headers=error.headers)
    # Without the request: what the frame shows may be just what failed.
    theme = request.COOKIES.get("theme")
    shown = {"error": error, "theme": theme if theme in ("light", "dark") else "", "again": request.get_full_path() if request.method == "GET" else ""}
    return HttpResponse(loader.render_to_string(page or f"{error.status}.html", shown), status=error.status, headers=error.headers)
