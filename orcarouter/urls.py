"""Where everything is: pages at ``/``, the management API under ``/api/``. The gateway's own paths never reach Django."""

from typing import Any

from django.urls import include, path

from orcarouter.openapi import docs_page, schema_view

handler400 = "workspaces.errors_views.bad_request"
handler403 = "workspaces.errors_views.permission_denied"
handler404 = "workspaces.errors_views.not_found"
handler500 = "workspaces.errors_views.server_error"

_api: list[Any] = [
    path("", include("workspaces.urls.api")),
    path("", include("firewall.urls.api")),
    path("", include("keys.urls.api")),
    path("", include("approvals.urls.api")),
    path("", include("orcarouter.activity.urls.api")),
    path("schema/", schema_view, name="schema"),
    path("docs/", docs_page, name="docs"),
]
_console: tuple[list[Any], str] = (
    [
        path("", include("orcarouter.activity.urls.console")),
        path("", include("firewall.urls.console")),
        path("", include("keys.urls.console")),
        path("", include("approvals.urls.console")),
        path("", include("workspaces.urls.console")),
    ],
    "console",
)

urlpatterns = [
    path("api/", include((_api, "api"))),
    path("account/", include("workspaces.urls.account")),
    path("", include(_console)),
]
