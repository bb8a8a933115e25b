"""The gateway's routes in OpenAPI, by hand: they are not Django's. A test compares them with ``gateway.app.ROUTES``."""

from typing import Any

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


_INCLUDE_COST = {
    "name": "X-OrcaRouter-Include-Cost",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "true or 1: the cost in US dollars stands in usage.cost_usd, where the provider reports usage and the price is known",
}


def _answers(success: dict, errors: dict[int, str]) -> dict:
    found = {"200": {"description": "OK", "headers": _HEADERS, "content": success}}
    return found | {str(status): {"description": text, "headers": _HEADERS, "content": _ERROR} for status, text in errors.items()}


_KEY_ERRORS = {401: "The key is not valid", 403: "The key's scope refuses", 503: "A store is away; try again"}
_JSON_OBJECT = {"type": "object", "additionalProperties": True}


def _text(about: str, at_most: int = 128, **more: object) -> dict:
    return {"type": ["string", "null"], "maxLength": at_most, "description": about, **more}


_ID: dict[str, Any] = {"pattern": "^[A-Za-z0-9._:-]{1,128}$"}
_STEP = {
    "tool_name": {"type": "string", "maxLength": 1024, "description": "As it is sent"},
    "arguments": {"type": ["object", "string", "null"], "additionalProperties": True, "description": "An object, or its JSON text as the model wrote it"},
    "surface": {"type": ["string", "null"], "enum": ["mcp", "egress", "response", "", None], "default": "mcp"},
    "destination": _text("A host, host:port or URL that the call goes to, beside those in its arguments", 2048),
    "skill": _text("The skill that owns the tool"),
    "step_id": _text("The step of the run", **_ID),
    "parent_step_id": _text("The step that led to this one", **_ID),
}
_ABOUT = {
    "agent_run_id": _text("The agent run", **_ID),
    "conversation_id": _text("The conversation", **_ID),
    "client_request_id": _text("The caller's own id, kept with the event; nothing is looked up by it"),
    "request_id": _text("Another name of client_request_id"),
    "model": _text("The model that asked for the call", 256),
    "key_id": {"type": ["integer", "null"], "minimum": 1, "maximum": 2**63 - 1, "description": "The key whose run it is; the asking key's own by default"},
}
_VERDICT = {"type": "string", "enum": ["allow", "audit", "observe", "sanitize", "deny", "pending_approval"]}
_JUDGED = {
    "verdict": _VERDICT,
    "reason": {"type": "string"},
    "policy_id": {"type": ["integer", "null"]},
    "policy_name": {"type": ["string", "null"]},
    "rule_id": {"type": ["integer", "null"]},
    "rule_label": {"type": ["string", "null"]},
    "arguments": {
        "type": ["object", "string"],
        "additionalProperties": True,
        "description": "Only when sanitized: what to call with instead, in the form it was given",
    },
    "metadata": {
        "type": "object",
        "required": ["reason_code", "factors", "risk_score"],
        "properties": {
            "reason_code": {"type": ["string", "null"]},
            "factors": {"type": "array", "items": {"type": "string"}},
            "risk_score": {"type": "integer", "minimum": 0, "maximum": 100},
            "expires_at": {"type": "string", "format": "date-time", "description": "Of a hold"},
            "poll_url": {"type": "string", "description": "Of a hold: where its state is told"},
        },
    },
}
_ALWAYS_SAID = [name for name in _JUDGED if name != "arguments"]


def _object(properties: dict, required: list[str], *, is_closed: bool = False) -> dict:
    return {"type": "object", "required": required, "properties": properties} | ({"additionalProperties": False} if is_closed else {})


_MOMENT: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_POLLED = {
    "id": {"type": "string"},
    "state": {"type": "string", "enum": ["pending", "approved", "rejected", "expired", "consumed"]},
    "tool_name": {"type": "string"},
    "surface": {"type": "string", "enum": ["inbound", "response", "mcp"]},
    "args_hash": {"type": "string", "description": "SHA-256 over the canonical arguments, hex"},
    "created_at": {"type": "string", "format": "date-time"},
    "expires_at": {"type": "string", "format": "date-time", "description": "Of the hold while it is pending, then of the approval"},
    "resolved_at": _MOMENT,
    "resolved_by": {"type": ["string", "null"]},
    "reason": {"type": ["string", "null"], "description": "The reviewer's"},
    "rule_changed": {"type": "boolean", "description": "The rule is another one than when it held the call"},
}
_APPROVALS = {
    "name": "X-OrcaRouter-Firewall-Approval",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Ids of approvals, at most 20, comma-separated: the held call they were given for goes on, once",
}


def _hook(operation: str, summary: str, body: dict, answer: dict, *more: dict) -> dict:
    """One route of the evaluate hook."""
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": [*_CORRELATION, *more],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _answers(
            {"application/json": {"schema": answer}},
            _KEY_ERRORS
            | {
                400: "The body is wrong",
                403: "The key's scope refuses, it is no gateway's key, or the tool's price does not fit under a limit",
                404: "The workspace has no such key",
                413: "The body is over 2 MiB",
                415: "Not application/json",
                429: "Too many open calls",
                500: "Internal error",
            },
        ),
    }


_COUNT: dict[str, Any] = {"type": ["integer", "null"]}
_GENERATION = {
    "id": {"type": "string"},
    "model": {"type": ["string", "null"]},
    "created_at": {"type": "string", "format": "date-time"},
    "streamed": {"type": "boolean"},
    "token_name": {"type": "string"},
    "tokens_prompt": _COUNT,
    "tokens_completion": _COUNT,
    "tokens_total": _COUNT,
    "total_cost": {"type": ["number", "null"], "description": "Null: the price is unknown. 0: the call failed or was free"},
    "cost_currency": {"type": "string", "const": "USD"},
    "quota": {"type": ["integer", "null"], "description": "The cost in units of which 500,000 are one US dollar"},
    "latency_ms": {"type": "integer"},
    "ttft_ms": _COUNT,
}
_SUBSCRIPTION = {
    "object": {"type": "string", "const": "billing_subscription"},
    "has_payment_method": {"type": "boolean"},
    "soft_limit_usd": {"type": "number"},
    "hard_limit_usd": {"type": "number", "description": "100,000,000: unlimited"},
    "system_hard_limit_usd": {"type": "number"},
    "access_until": {"type": "integer", "description": "Unix seconds; 0: the key does not expire"},
    "unlimited_quota": {"type": "boolean"},
    "remain_quota": {"type": "integer"},
    "used_quota": {"type": "integer"},
}

ROUTES = {
    "/api/v1/firewall/evaluate": {
        "post": _hook(
            "evaluate",
            "Judge a tool call before it is made",
            _object(_STEP | _ABOUT, ["tool_name"], is_closed=True),
            _object(
                {"request_id": {"type": "string"}, **_JUDGED, "approval_id": {"type": "string", "description": "Of a held call, or of the approval spent"}},
                ["request_id", *_ALWAYS_SAID],
            ),
            _APPROVALS,
        )
    },
    "/api/v1/firewall/evaluate_plan": {
        "post": _hook(
            "evaluate_plan",
            "Judge the steps of a plan in order; nothing is recorded or counted",
            _object(
                _ABOUT | {"steps": {"type": "array", "minItems": 1, "maxItems": 100, "items": _object(_STEP, ["tool_name"], is_closed=True)}},
                ["steps"],
                is_closed=True,
            ),
            _object(
                {
                    "request_id": {"type": "string"},
                    "verdict": _VERDICT,
                    "steps": {"type": "array", "items": _object({"tool_name": {"type": "string"}, **_JUDGED}, ["tool_name", *_ALWAYS_SAID])},
                },
                ["request_id", "verdict", "steps"],
            ),
        )
    },
    "/api/v1/firewall/approvals/{id}": {
        "get": {
            "operationId": "poll_approval",
            "summary": "What has become of a held call",
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{24}$"}},
                {
                    "name": "wait",
                    "in": "query",
                    "required": False,
                    "schema": {"type": "integer", "minimum": 0, "maximum": 30, "default": 0},
                    "description": "Seconds to wait while the hold is pending; ten requests of a key wait at once",
                },
            ],
            "responses": _answers(
                {"application/json": {"schema": _object(_POLLED, list(_POLLED))}},
                _KEY_ERRORS | {400: "The query is wrong", 404: "No such approval, or another key's", 429: "Too many requests of this key wait"},
            ),
        }
    },
    "/api/v1/firewall/approvals/{id}/callback": {
        "post": {
            "operationId": "approval_callback",
            "summary": "Decide about a hold by a signed message; no key is needed",
            "security": [],
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{24}$"}},
                *(
                    {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": about}
                    for name, about in (
                        ("X-Orca-Signature", "sha256=<hex HMAC-SHA256 of the raw body under the webhook's secret>"),
                        ("webhook-id", "Standard Webhooks: an id of the sender's choice"),
                        ("webhook-timestamp", "Standard Webhooks: Unix seconds"),
                        ("webhook-signature", "Standard Webhooks: v1,<base64>; one of the two schemes is enough"),
                    )
                ),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": _object(
                            {
                                "approval_id": {"type": "string", "description": "That of the path"},
                                "decision": {"type": "string", "enum": ["approved", "rejected"]},
                                "timestamp": {"type": "number", "description": "Unix seconds, at most five minutes off"},
                                "reason": {"type": ["string", "null"], "maxLength": 2000},
                                "decided_by": {"type": ["string", "null"], "maxLength": 200},
                            },
                            ["approval_id", "decision", "timestamp"],
                        )
                    }
                },
            },
            "responses": _answers(
                {
                    "application/json": {
                        "schema": _object(
                            {
                                "approval_id": {"type": "string"},
                                "state": {"type": "string", "enum": ["pending", "approved", "rejected", "consumed", "expired"]},
                                "resolved_at": {"type": ["string", "null"], "format": "date-time"},
                            },
                            ["approval_id", "state", "resolved_at"],
                        )
                    }
                },
                {
                    400: "The signed body is wrong",
                    401: "Not signed, stale, of another hold, or one of our own messages",
                    403: "Four eyes: who set the secret is the key's side",
                    404: "There is no such hold",
                    409: "The other decision stands",
                    413: "The body is over 16 KiB",
                    415: "Not application/json",
                    429: "Too many open calls",
                    500: "Internal error",
                    503: "PostgreSQL is away; try again",
                },
            ),
        }
    },
    "/v1/chat/completions": {
        "post": {
            "operationId": "chat_completions",
            "summary": "A chat completion, governed",
            "parameters": [*_CORRELATION, _APPROVALS, _INCLUDE_COST],
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
                    400: "The body is wrong, the firewall refused, or a call waits for approval",
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
    "/v1/generation": {
        "get": {
            "operationId": "generation",
            "summary": "What one finished call used and cost",
            "parameters": [
                {
                    "name": "id",
                    "in": "query",
                    "required": True,
                    "schema": {"type": "string", "maxLength": 128},
                    "description": "X-Orca-Request-Id of a call of this key, or of another key of the same maker",
                }
            ],
            "responses": _answers(
                {"application/json": {"schema": _object({"data": _object(_GENERATION, list(_GENERATION))}, ["data"])}},
                _KEY_ERRORS | {400: "The id is missing", 404: "No such call, or not settled yet", 429: "More than 120 a minute for a person"},
            ),
        }
    },
    "/v1/dashboard/billing/usage": {
        "get": {
            "operationId": "billing_usage",
            "summary": "What this key has spent, in cents",
            "parameters": [
                {"name": name, "in": "query", "required": False, "schema": {"type": "string", "format": "date"}, "description": text}
                for name, text in (("start_date", "From this day of UTC on; the whole life without both"), ("end_date", "Before this day"))
            ],
            "responses": _answers(
                {"application/json": {"schema": _object({"object": {"type": "string"}, "total_usage": {"type": "number"}}, ["object", "total_usage"])}},
                _KEY_ERRORS | {400: "A day is wrong"},
            ),
        }
    },
    "/v1/dashboard/billing/subscription": {
        "get": {
            "operationId": "billing_subscription",
            "summary": "What this key may spend in its life, and when it ends",
            "responses": _answers({"application/json": {"schema": _object(_SUBSCRIPTION, list(_SUBSCRIPTION))}}, _KEY_ERRORS | {400: "The query is wrong"}),
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
        document["paths"][path] = {method: {"tags": ["Gateway"], "security": [{"relayKey": []}]} | operation for method, operation in operations.items()}
    return document
