"""The gateway's routes in OpenAPI, by hand: they are not Django's. A test compares them with ``gateway.app.ROUTES``."""

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_HEADERS = {"X-Orca-Request-Id": {"schema": {"type": "string"}, "description": "The id under which this call is recorded"}}
_CORRELATION = [
    {"name": name, "in": "header", "required": False, "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}, "description": text}
    for name, text in (
        ("X-OrcaRouter-Session-Id", "The conversation this call belongs to"),
        ("X-OrcaRouter-Run-Id", "The agent run; derived when absent"),
        ("X-OrcaRouter-Step-Id", "The step of the run"),
        ("X-OrcaRouter-Parent-Step-Id", "The step that led to this one"),
    )
]


def _answers(success: dict, errors: dict[int, str]) -> dict:
    found = {"200": {"description": "OK", "headers": _HEADERS, "content": success}}
    return found | {str(status): {"description": text, "headers": _HEADERS, "content": _ERROR} for status, text in errors.items()}


_KEY_ERRORS = {401: "The key is not valid", 403: "The key's scope refuses", 503: "A store is away; try again"}
_JSON_OBJECT = {"type": "object", "additionalProperties": True}

ROUTES = {
    "/v1/chat/completions": {
        "post": {
            "operationId": "chat_completions",
            "summary": "A chat completion, governed",
            "parameters": _CORRELATION,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["model", "messages"],
                            "properties": {"model": {"type": "string"}, "messages": {"type": "array", "items": _JSON_OBJECT}, "stream": {"type": "boolean"}},
                            "additionalProperties": True,
                        }
                    }
                },
            },
            "responses": _answers(
                {"application/json": {"schema": _JSON_OBJECT}, "text/event-stream": {"schema": {"type": "string"}}},
                _KEY_ERRORS
                | {
                    400: "The body is wrong, or the firewall refused",
                    404: "The model is unknown",
                    413: "The body is too large",
                    415: "Not application/json",
                    429: "The provider's rate limit",
                    500: "Internal error",
                    502: "The provider failed",
                    504: "The provider did not answer in time",
                },
            ),
        }
    },
    "/v1/models": {
        "get": {
            "operationId": "list_models",
            "summary": "The models this key may use",
            "responses": _answers({"application/json": {"schema": _JSON_OBJECT}}, _KEY_ERRORS),
        }
    },
    "/v1/models/{id}": {
        "get": {
            "operationId": "retrieve_model",
            "summary": "One model",
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "responses": _answers({"application/json": {"schema": _JSON_OBJECT}}, _KEY_ERRORS | {404: "The model is unknown"}),
        }
    },
}


def add_gateway_routes(document: dict) -> dict:
    """The document with the gateway's routes, which take a relay key instead of a token."""
    for path, operations in ROUTES.items():
        document["paths"][path] = {method: operation | {"tags": ["gateway"], "security": [{"relayKey": []}]} for method, operation in operations.items()}
    return document
