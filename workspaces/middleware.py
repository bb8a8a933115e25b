"""Small rules that hold for every management route and page."""

import time

from django.conf import settings
from django.contrib.auth import logout
from django.http import JsonResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve

from workspaces.errors import OrcaError


class TrailingSlashMiddleware:
    """Answer a known route with and without its trailing slash: a redirect would lose a POST's body."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        path = request.path_info
        if not _is_route(path):
            other = path[:-1] if path.endswith("/") else path + "/"
            if _is_route(other):
                request.path_info = request.path = other
        return self.get_response(request)


def _is_route(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


class SessionLifetimeMiddleware:
    """A session ends after 12 idle hours; Django's own cookie age ends it after 7 days."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        # Only a request that brings a session cookie is looked at: reading the session of others would vary every answer.
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            now = int(time.time())
            seen = request.session.get("seen_at", now)
            started = request.session.setdefault("started_at", now)
            if now - seen > settings.SESSION_IDLE_SECONDS or now - started > settings.SESSION_COOKIE_AGE:
                logout(request)
            elif now - seen > 60 or "seen_at" not in request.session:
                request.session["seen_at"] = now
        return self.get_response(request)


class ErrorPageMiddleware:
    """An expected failure outside the REST handler: a page with its status, or the one body under ``/api``."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        if not isinstance(exception, OrcaError):
            return None
        if request.path_info.startswith("/api/"):
            return JsonResponse(exception.body(), status=exception.status, headers=exception.headers)
        return render(request, "error.html", {"error": exception}, status=exception.status)
