"""OpenAI's chat completions: ``POST /v1/chat/completions`` in, the same bytes out.

Field names: OpenAI's published schema (github.com/openai/openai-openapi, ``CreateChatCompletionRequest``), and the other
shapes in which a relayed request may carry a tool.
"""

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import msgspec
import orjson

from orcarouter.gateway.engine.exchange import FINGERPRINTED_CHARS, MAX_MESSAGES, MAX_TOOLS, Exchange, Hosted, Refusal, read_around_tools, read_object, shown

MAX_MODEL_CHARS = 256

DOCUMENTED_FIELDS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
# Not OpenAI's, but read by relays and providers as tools, so they are judged as such and are no longer unknown.
TOOL_FIELDS = frozenset({"plugins", "search_parameters", "mcp_servers"})
KNOWN_FIELDS = DOCUMENTED_FIELDS | TOOL_FIELDS

# Gemini's tools are named by their one member instead of by a type.
_NATIVE_LISTS = frozenset({"functionDeclarations", "function_declarations"})
_NATIVE_NAMES = frozenset(
    {"googleSearch", "google_search", "googleSearchRetrieval", "google_search_retrieval", "codeExecution", "code_execution", "urlContext", "url_context"}
)
_TOOL_NAMES = frozenset({"type", "function", "custom", "name", "tools"}) | _NATIVE_LISTS | _NATIVE_NAMES
_CALLED_NAMES = frozenset({"name", "description", "parameters", "strict", "format"})
#: Members that describe a tool and are none, in the flat shapes of Anthropic and of the Responses API.
_DESCRIBING = _CALLED_NAMES | {"type", "function", "custom", "input_schema", "inputSchema", "parameter_definitions", "cache_control", "defer_loading"}


# Of a message: those that nearly all have, and those that hold calls.
_MESSAGE_NAMES = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal"})
_CALL_NAMES = frozenset({"tool_calls", "function_call", "content"})
# One with no others says something, or gives a call's result, and calls nothing unless its content does.
_SAYING_NAMES = _MESSAGE_NAMES - {"tool_calls", "function_call"}


class _Refused(Exception):
    """Leaves the depth of a request's shape; never leaves this file."""

    def __init__(self, message: str, param: str | None) -> None:
        super().__init__(message)
        self.refusal = Refusal("bad_request_body", message, param)


def parse(body: bytes) -> Exchange | Refusal:
    """The request in ``body``; the caller has bounded its size (20 MiB).

    Everything the gateway judges or counts must have its documented type; the rest is the provider's to accept.
    """
    found = _read(body)
    if isinstance(found, Refusal):
        return found
    request, members, offer = found
    try:
        _refuse_other_spellings(request, KNOWN_FIELDS, "")
        options = request.get("stream_options")
        _require(options is None or isinstance(options, dict), "must be an object", "stream_options")
        tools, hosted = _offered(request, members, offer)
        model = _model(request)
        is_stream = _flag(request.get("stream"), "stream")
        wants_usage = _flag(options.get("include_usage"), "stream_options.include_usage") if options else False
        messages = _messages(request)
        return Exchange(
            model=model,
            is_stream=is_stream,
            wants_usage=wants_usage,
            messages=tuple(_RAW_LIST.decode(members["messages"])),
            in_parts=tuple([place for place, message in enumerate(messages) if type(message.get("content")) is list]),
            task=_task(messages),
            tools=tools,
            past_tools=_past_tools(messages, tools),
            hosted=hosted,
            max_output_tokens=_max_output_tokens(request),
            choices=_count(request.get("n"), "n") or 1,
            members=members,
            body=body,
        )
    except _Refused as refused:
        return refused.refusal


def outbound(exchange: Exchange, upstream_model: str) -> bytes:
    """The bytes for the provider: the client's own, unless its model has another name there or a stream would end
    without usage (the gate then keeps the extra chunk from the client). Values that do not change keep their bytes."""
    changes: dict[str, Any] = {}
    if upstream_model != exchange.model:
        changes["model"] = upstream_model
    if exchange.is_stream and not exchange.wants_usage:
        options = exchange.members.get("stream_options")
        changes["stream_options"] = {**((options and orjson.loads(bytes(options))) or {}), "include_usage": True}
    return msgspec.json.encode({**exchange.members, **changes}) if changes else exchange.body


def unknown_fields(exchange: Exchange) -> tuple[str, ...]:
    """Top-level fields nobody documents: something a provider may understand and this gateway did not judge."""
    if exchange.members.keys() <= KNOWN_FIELDS:
        return ()
    return tuple(name for name in exchange.members if name not in KNOWN_FIELDS)


def _require(holds: bool, message: str, param: str) -> None:
    if not holds:
        raise _Refused(f"{param} {message}.", param)


def _refuse_other_spellings(found: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    """Some providers read names without regard to case (Go's encoding/json): ``Tools`` would reach them unjudged."""
    if found.keys() <= known:
        return
    for name in found.keys() - known:
        if name.casefold() in _folded(known):
            raise _Refused(f'"{shown(name)}" is another spelling of a documented name.', path + shown(name))


@cache
def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _model(request: Mapping[str, Any]) -> str:
    model = request.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_CHARS or not model.isprintable():
        raise _Refused("model must name a model.", "model")
    return model


def _flag(value: Any, param: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _Refused(f"{param} must be true or false.", param)


def _count(value: Any, param: str) -> int | None:
    """A positive count, or None where it was left out."""
    if value is None or (type(value) is int and value > 0):
        return value
    raise _Refused(f"{param} must be a positive integer.", param)


def _max_output_tokens(request: Mapping[str, Any]) -> int | None:
    limit = _count(request.get("max_completion_tokens"), "max_completion_tokens")
    older = _count(request.get("max_tokens"), "max_tokens")
    # With both, which one rules is the provider's choice: the larger can be spent.
    return max(limit, older) if limit and older else limit or older


def _messages(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _Refused("messages must be a list of messages.", "messages")
    if len(messages) > MAX_MESSAGES:
        raise _Refused(f"messages holds more than {MAX_MESSAGES} messages.", "messages")
    if set(map(type, messages)) != {dict}:
        index = next(index for index, message in enumerate(messages) if type(message) is not dict)
        raise _Refused(f"messages.{index} must be an object.", f"messages.{index}")
    return messages


def _task(messages: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for message in messages:
        role = message.get("role")
        if role == "developer":
            role = "system"
        if role in ("system", "user") and role not in found:
            found[role] = _text(message.get("content"))[:FINGERPRINTED_CHARS]
            if len(found) == 2:
                break
    return tuple(found.items())


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _past_tools(messages: list[dict[str, Any]], offered: tuple[str, ...]) -> tuple[str, ...]:
    """The tools that the messages say were called, without those that are on offer."""
    found = dict.fromkeys(offered)
    for index, message in enumerate(messages):
        if message.keys() <= _SAYING_NAMES and type(message.get("content")) is not list:
            continue
        if not message.keys() <= _MESSAGE_NAMES:
            _refuse_other_spellings(message, _CALL_NAMES, f"messages.{index}.")
        found.update(dict.fromkeys(_called_in(message)))
        if len(found) - len(offered) > MAX_TOOLS:
            raise _Refused(f"messages call more than {MAX_TOOLS} tools.", "messages")
    return tuple(found)[len(offered) :]


def _called_in(message: Mapping[str, Any]) -> Iterator[str]:
    """The names of the calls in a message, in every shape that somebody may read as one. A call without a name is none."""
    calls, legacy, content = message.get("tool_calls"), message.get("function_call"), message.get("content")
    names: list[Any] = []
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            names += _called_by(call)
    if isinstance(legacy, dict):
        names.append(legacy.get("name"))
    for part in content if isinstance(content, list) else ():
        # Anthropic's blocks, which some providers take here too: tool_use, server_tool_use, mcp_tool_use.
        if isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind.endswith("tool_use"):
            names.append(part.get("name"))
    return _texts(*names)


def _called_by(call: Mapping[str, Any]) -> list[Any]:
    found = [call.get("name")]
    for shape in (call.get("function"), call.get("custom")):
        if isinstance(shape, dict):
            found.append(shape.get("name"))
    if call.get("type") not in ("function", "custom"):
        found.append(call.get("type"))  # a hosted tool
    return found


def _texts(*values: Any) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value)


_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class _Offer(msgspec.Struct, frozen=True):
    """What follows from an array of ``tools`` alone: how many there are, their names, each once, and those that the provider runs."""

    count: int = 0
    names: tuple[str, ...] = ()
    hosted: tuple[Hosted, ...] = ()


#: Arrays of tools that are remembered, at most 16 MiB of them; a larger one is read with each call.
REMEMBERED_OFFERS, MAX_OFFER_BYTES = 256, 64 * 1024
MAX_BODY_OF_OFFER_BYTES = 1024 * 1024
#: What offers tools beside ``tools``.
_OTHER_OFFERS = TOOL_FIELDS | {"functions", "web_search_options"}


def _read(body: bytes) -> tuple[dict[str, Any], dict[str, msgspec.Raw], _Offer | None] | Refusal:
    """The object in ``body``, see ``read_object``, and what its ``tools`` offer where that is remembered: then the values have null in their place.

    An agent sends the same tools with every call, often more of them than of all else.
    """
    # What is refused is read twice, which must not be felt.
    around = read_around_tools(body, longest=MAX_OFFER_BYTES) if len(body) <= MAX_BODY_OF_OFFER_BYTES else None
    if around is not None and (offer := remembered_offer(around[2])) is not None:
        return around[0], around[1], offer
    found = read_object(body)
    return found if isinstance(found, Refusal) else (*found, None)


@lru_cache(maxsize=REMEMBERED_OFFERS)
def remembered_offer(array: bytes) -> _Offer | None:
    """What an array of ``tools`` offers; None where it is to be refused: the whole request then says why."""
    found = read_object(b'{"tools":%b}' % array)
    if isinstance(found, Refusal):
        return None
    try:
        return _offer(_list(found[0], "tools"), found[1]["tools"])
    except _Refused:
        return None


def _offer(tools: list[Any], array: msgspec.Raw) -> _Offer:
    names: dict[str, None] = {}
    for index, tool in enumerate(tools):
        name = _plain_name(tool)
        names.update(dict.fromkeys((name,) if name else _tool_names(tool, f"tools.{index}")))
    return _Offer(len(tools), tuple(names), _hosted(array) if any(tool.get("type") not in _RUN_BY_AGENTS for tool in tools) else ())


_RUN_BY_AGENTS = ("function", "custom", None)


class _Declared(msgspec.Struct):
    type: Any = None
    name: Any = None
    max_uses: Any = None


_DECLARED = msgspec.json.Decoder(list[_Declared])


def _hosted(array: msgspec.Raw) -> tuple[Hosted, ...]:
    try:
        declared = [tool for tool in _DECLARED.decode(array) if tool.type not in _RUN_BY_AGENTS]
    except msgspec.DecodeError:
        return ()
    return tuple(
        Hosted(str(tool.type), None if tool.name is None else str(tool.name), tool.max_uses if type(tool.max_uses) is int and tool.max_uses > 0 else None)
        for tool in declared
    )


def _offered(request: Mapping[str, Any], members: Mapping[str, msgspec.Raw], offer: _Offer | None) -> tuple[tuple[str, ...], tuple[Hosted, ...]]:
    """The name of every tool on offer, each once, and the hosted ones. ``offer``: what of it follows from ``tools``, where that is known."""
    if offer is not None and _OTHER_OFFERS.isdisjoint(request):
        return offer.names, offer.hosted
    tools, functions = (_list(request, name) for name in ("tools", "functions"))
    _require((len(tools) if offer is None else offer.count) + len(functions) <= MAX_TOOLS, f"offers more than {MAX_TOOLS} tools", "tools")
    if offer is None:
        offer = _offer(tools, members["tools"]) if tools else _Offer()
    return tuple(dict.fromkeys((*offer.names, *_other_names(request, functions)))), offer.hosted


def _other_names(request: Mapping[str, Any], functions: list[Any]) -> Iterator[str]:
    for index, function in enumerate(functions):
        yield _called_name(function, f"functions.{index}")
    if request.get("web_search_options") is not None:
        yield from ("web_search_options", "web_search")  # a rule about the hosted tool means this shape of it too
    if request.get("search_parameters") is not None:
        yield "search_parameters"
    for name, label in (("plugins", "id"), ("mcp_servers", "name")):
        for index, entry in enumerate(_list(request, name)):
            yield _label(entry, label, f"{name}.{index}")


def _list(request: Mapping[str, Any], name: str) -> list[Any]:
    found = request.get(name)
    _require(found is None or isinstance(found, list), "must be a list", name)
    _require(len(found or ()) <= MAX_TOOLS, f"holds more than {MAX_TOOLS} entries", name)
    return found or []


def _plain_name(tool: Any) -> str | None:
    """The name of a tool in the shape that nearly all have; None sends it the long way, where refusals are."""
    if type(tool) is dict and len(tool) == 2 and tool.get("type") == "function":
        function = tool.get("function")
        if type(function) is dict and function.keys() <= _CALLED_NAMES and type(function.get("name")) is str:
            return function["name"]
    return None


def _tool_names(tool: Any, path: str) -> Iterator[str]:
    """The names of a tool: one that can be read in two ways gives both, and each is judged."""
    _require(isinstance(tool, dict), "must be an object", path)
    _refuse_other_spellings(tool, _TOOL_NAMES, f"{path}.")
    kind = tool.get("type")
    _require(kind is None or isinstance(kind, str), "must be a string", f"{path}.type")
    shapes = [shape for shape in ("function", "custom") if shape in tool]
    for shape in shapes:
        yield _called_name(tool[shape], f"{path}.{shape}")
    if kind not in (None, "function", "custom"):
        yield kind
    if "name" in tool or (kind in ("function", "custom") and not shapes):
        yield _label(tool, "name", path)  # Anthropic's tools, and the flat form of the Responses API
    yield from _native_names(tool, path, may_be_any=kind is None and not shapes)


def _native_names(tool: Mapping[str, Any], path: str, *, may_be_any: bool) -> Iterator[str]:
    """``{"googleSearch": {}}``, or a list of function declarations; of a tool without a type any member is one: ``{"toolSpec": {"name": ...}}``."""
    _require(len(tool) > 0, "must name a tool", path)
    for name, value in tool.items():
        if name in _NATIVE_LISTS or name == "tools":
            _require(isinstance(value, list) and len(value) <= MAX_TOOLS, "must be a list", f"{path}.{name}")
            for index, inner in enumerate(value):
                where = f"{path}.{name}.{index}"
                # What a namespace holds is called like any other tool.
                yield from _tool_names(inner, where) if name == "tools" else (_called_name(inner, where),)
        elif name in _NATIVE_NAMES or (may_be_any and name not in _DESCRIBING):
            yield name
            yield from _texts(value.get("name")) if isinstance(value, dict) else ()


def _called_name(called: Any, path: str) -> str:
    _require(isinstance(called, dict), "must be an object", path)
    _refuse_other_spellings(called, _CALLED_NAMES, f"{path}.")
    return _label(called, "name", path)


def _label(entry: Any, label: str, path: str) -> str:
    _require(isinstance(entry, dict), "must be an object", path)
    name = entry.get(label)
    if not isinstance(name, str) or not name:
        raise _Refused(f"{path}.{label} must be a string.", f"{path}.{label}")
    return name
