"""The OpenAPI 3.1 document of every route: the management API from its views, the gateway's from ``openapi_gateway``."""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

from orcarouter.openapi_gateway import add_gateway_routes
from workspaces.errors import MethodNotAllowed

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string", "description": "What a client branches on; it never changes."},
                "param": {"type": ["string", "null"], "description": "The path of the field, where there is one."},
                "metadata": {"type": "object", "additionalProperties": True},
            },
        }
    },
}


#: Under which heading a route is read, by the beginning of its path.
HEADINGS = {
    "/api/token/": "Keys",
    "/api/workspace/providers/": "Providers",
    "/api/workspace/firewall/events": "Events and runs",
    "/api/workspace/firewall/trace": "Events and runs",
    "/api/workspace/firewall/approval": "Approvals",
    "/api/workspace/firewall/": "Firewall",
    "/api/workspace/members/": "People",
    "/api/workspace/invitations/": "People",
    "/api/workspace/access-tokens/": "Access tokens",
    "/api/workspace/audit/": "Audit log",
    "/api/": "Workspaces",
}


def heading(path: str) -> str:
    return next(words for start, words in HEADINGS.items() if path.startswith(start))


def finish(result: dict, generator, request, public) -> dict:
    """Postprocessing: the error body as a component, the credentials, and the gateway's routes."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = ERROR
    components["securitySchemes"] = {
        "accessToken": {"type": "http", "scheme": "bearer", "description": "A personal access token, orca-pat-..."},
        "session": {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The console's session, with its CSRF token"},
        "relayKey": {"type": "http", "scheme": "bearer", "description": "A relay key, sk-orca-..."},
    }
    for path, operations in result["paths"].items():
        for operation in operations.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["tags"] = [heading(path)]
                operation["security"] = [{"accessToken": []}, {"session": []}]
    _settle_any(components["schemas"])
    return add_gateway_routes(result)


def _settle_any(schema: object) -> None:
    """A value of any kind may be null too: "any, or else null" holds twice for null, and so, as ``oneOf``, never."""
    for inner in list(schema.values()) if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        if isinstance(inner, dict) and inner.get("oneOf") == [{}, {"type": "null"}]:
            del inner["oneOf"]
        _settle_any(inner)


@cache
def _document() -> bytes:
    # Made once a process: whoever asks without a key must not cost a walk over every view, nor its remarks in the log.
    with GENERATOR_STATS.silence():
        return OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True))


def schema_view(request: HttpRequest) -> HttpResponse:
    """``GET /api/schema/``: public, as it says nothing about an installation."""
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed("The document can only be read.")
    return HttpResponse(_document(), content_type=OpenApiJsonRenderer.media_type)


def docs_page(request: HttpRequest) -> HttpResponse:
    """``GET /api/docs/``: the document for people, offline and without inline script."""
    return render(request, "docs.html")
