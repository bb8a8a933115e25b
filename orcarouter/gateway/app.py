"""The socket in: a plain ASGI callable for ``/v1/*`` and ``/api/v1/*``. Every answer has the request id, every error the one body."""

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from urllib.parse import unquote

import orjson

from orcarouter.deadlines import Deadlines
from orcarouter.gateway import billing, callback, callers, evaluate, metrics, pipeline, poll
from orcarouter.gateway.engine import pricing
from orcarouter.gateway.refusals import refuse_frozen
from orcarouter.gateway.request import CALL_SECONDS, Request
from orcarouter.gateway.resolver import Resolver
from orcarouter.gateway.state import State
from orcarouter.gateway.upstream import VIA, Upstream
from workspaces import errors

logger = logging.getLogger(__name__)

Served = Coroutine[None, None, None]

MAX_OPEN_CALLS = 1_000


class Gateway:
    """One instance a process; ``start`` and ``stop`` come from the lifespan."""

    def __init__(self) -> None:
        self.state = State()
        self.upstream = Upstream()
        self.resolver = Resolver()
        self.waiters = poll.Waiters(self.state)
        self._open = 0
        metrics.OPEN_STREAMS.set_function(lambda: self._open)
        self._deadlines = Deadlines(CALL_SECONDS)

    async def start(self) -> None:
        await asyncio.to_thread(pricing.warm)
        await self.upstream.start()
        await self.state.start()

    async def stop(self) -> None:
        await self.waiters.stop()
        await self.state.stop()
        await self.upstream.stop()
        self.resolver.stop()

    async def __call__(self, scope, receive, send) -> None:
        request = Request(scope, self._deadlines)
        route, handler, argument = _route(request)
        started = time.monotonic()
        self._open += 1
        try:
            await self._serve(request, handler, argument)
        finally:
            self._open -= 1
            request.close()
            metrics.CALLS.counts[route, request.status or 499] += 1
            metrics.LATENCY.observe(time.monotonic() - started, (route,))

    async def _serve(self, request: Request, handler, argument: str) -> None:
        try:
            request.refuse_large_headers()
            if VIA.encode() in request.via:
                raise errors.RequestLoop("This request has come through this gateway before.")
            if self._open > MAX_OPEN_CALLS:
                error = errors.RateLimited(f"This process serves at most {MAX_OPEN_CALLS} calls at a time.")
                error.headers = {"Retry-After": "1"}
                raise error
            await handler(self, request, argument)
        except errors.OrcaError as error:
            if not request.is_answering:
                await request.answer_error(error)
            _let_go(error)
        except asyncio.CancelledError:
            if not request.hung_up:
                raise
        except Exception:
            logger.exception("gateway_bug", extra={"request_id": request.id})
            if request.is_answering:
                raise
            await request.answer_error(errors.InternalError("Something went wrong on our side.", request_id=request.id))


def _let_go(error: BaseException | None) -> None:
    """Free what an error keeps of its way: everything on it, often itself too, which the collector alone would find."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def chat_completions(gateway: Gateway, request: Request, _: str) -> Served:
    return pipeline.chat_completions(gateway.state, gateway.upstream, request)


def evaluate_call(gateway: Gateway, request: Request, _: str) -> Served:
    return evaluate.evaluate(gateway.state, gateway.resolver, request)


def evaluate_plan(gateway: Gateway, request: Request, _: str) -> Served:
    return evaluate.evaluate_plan(gateway.state, gateway.resolver, request)


def approval_callback(gateway: Gateway, request: Request, approval_id: str) -> Served:
    return callback.receive(gateway.state, request, approval_id)


def poll_approval(gateway: Gateway, request: Request, approval_id: str) -> Served:
    return poll.poll(gateway.state, gateway.waiters, request, approval_id)


async def list_models(gateway: Gateway, request: Request, _: str) -> None:
    found = await _models(gateway, request)
    await request.answer(200, orjson.dumps({"object": "list", "data": [_model(name, is_demo) for name, is_demo in found.items()]}))


async def retrieve_model(gateway: Gateway, request: Request, name: str) -> None:
    found = await _models(gateway, request)
    if name not in found:
        raise errors.ModelNotFound("The model does not exist, or this key may not use it.", param="id")
    await request.answer(200, orjson.dumps(_model(name, found[name])))


async def _models(gateway: Gateway, request: Request) -> dict[str, bool]:
    token_hash, grant = await callers.authenticate(gateway.state, request)
    fresh = await gateway.state.fresh(token_hash, grant)
    callers.require(request, fresh, None)
    assert fresh is not None
    refuse_frozen(fresh)
    return callers.listed_models(request, fresh)


def _model(name: str, is_demo: bool) -> dict:
    # Which provider answers is not the agent's business; that an answer is a demo is.
    return {"id": name, "object": "model", "created": 0, "owned_by": "orcarouter-demo" if is_demo else "orcarouter", "supported_endpoint_types": ["openai"]}


def generation(gateway: Gateway, request: Request, _: str) -> Served:
    return billing.generation(gateway.state, request)


def billing_usage(gateway: Gateway, request: Request, _: str) -> Served:
    return billing.usage(gateway.state, request)


def billing_subscription(gateway: Gateway, request: Request, _: str) -> Served:
    return billing.subscription(gateway.state, request)


async def not_implemented(gateway: Gateway, request: Request, _: str) -> None:
    if request.path.startswith("/api/"):
        raise errors.NotFound("Not found.")
    raise errors.ApiNotImplemented(f"{request.method} {request.path[:200]} is not implemented by this gateway.")


async def method_not_allowed(gateway: Gateway, request: Request, allowed: str) -> None:
    error = errors.MethodNotAllowed(f"This route takes {allowed}.")
    error.headers = {"Allow": allowed}
    raise error


#: Every route of the gateway, as OpenAPI writes it: (method, path) -> handler.
ROUTES = {
    ("POST", "/v1/chat/completions"): chat_completions,
    ("POST", "/api/v1/firewall/evaluate"): evaluate_call,
    ("POST", "/api/v1/firewall/evaluate_plan"): evaluate_plan,
    ("POST", "/api/v1/firewall/approvals/{id}/callback"): approval_callback,
    ("GET", "/api/v1/firewall/approvals/{id}"): poll_approval,
    ("GET", "/v1/generation"): generation,
    ("GET", "/v1/dashboard/billing/usage"): billing_usage,
    ("GET", "/v1/dashboard/billing/subscription"): billing_subscription,
    ("GET", "/v1/models"): list_models,
    ("GET", "/v1/models/{id}"): retrieve_model,
}
_EXACT = {path: (method, handler) for (method, path), handler in ROUTES.items() if "{" not in path}
#: A model's name may have slashes; another id has none.
_WITH_ID = [
    (re.compile(path.replace("{id}", "(.+)" if path.startswith("/v1/models/") else "([^/]+)")), path, method, handler)
    for (method, path), handler in ROUTES.items()
    if "{" in path
]


def _route(request: Request) -> tuple[str, object, str]:
    """``(label for the metrics, handler, argument)`` of a path, with or without a trailing slash."""
    path = request.path.rstrip("/") if request.path != "/" else request.path
    if path in _EXACT:
        method, handler = _EXACT[path]
        return (path, handler, "") if request.method == method else (path, method_not_allowed, method)
    for pattern, template, method, handler in _WITH_ID:
        if found := pattern.fullmatch(path):
            return (template, handler, unquote(found[1])) if request.method == method else (template, method_not_allowed, method)
    return "other", not_implemented, ""
