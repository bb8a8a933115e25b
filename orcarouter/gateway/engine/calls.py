"""Tool calls as a model emits them, what an answer used, and the line that stands for a call that may not leave."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from orcarouter.gateway.engine.exchange import MAX_DEPTH, is_deeper_than, shown

TOO_LARGE = "response_too_large"
MAX_TOKENS = 2**31 - 1  # what a row can hold; no call comes near it
MAX_TOOLS = 32  # hosted ones, of one usage
LEGACY = "function_call"  # the one call a choice could make before there were tools


class EmittedCall(msgspec.Struct, frozen=True):
    """One tool call of a model, whole.

    ``arguments`` is the text as the model wrote it, which need not be JSON. ``kind`` is ``function``, ``custom``, the
    legacy ``function_call``, or the type of a hosted tool. ``fault`` is a reason code when the call is blocked
    whatever the policy says (``response_too_large``: it outgrew what may be held, ``arguments`` are what arrived).
    """

    choice: int
    position: int
    id: str | None
    name: str
    arguments: str
    kind: str = "function"
    fault: str | None = None


class Ruling(msgspec.Struct, frozen=True):
    """What becomes of an emitted call: it leaves as it came, leaves with other ``arguments`` (JSON text), or, with a ``refusal``, not at all.

    The refusal says why in one line, for the agent to read; an empty one refuses as well.
    """

    refusal: str | None = None
    arguments: str | None = None

    @property
    def leaves(self) -> bool:
        return self.refusal is None

    def instead(self, call: EmittedCall) -> str | None:
        """The arguments that the call leaves with instead of its own; None where it leaves with these, or not at all."""
        return self.arguments if self.leaves and self.arguments != call.arguments else None

    def changes(self, call: EmittedCall) -> bool:
        return not self.leaves or self.instead(call) is not None


AS_IT_CAME = Ruling()


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the provider counted them; ``cached``, ``cache_write`` and audio input are parts of ``input``,
    ``reasoning`` and audio output parts of ``output``. ``tools`` are the hosted tools it used: name and how often."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    tools: tuple[tuple[str, int], ...] = ()


def read_call(call: Mapping[str, Any]) -> tuple[str, str, str]:
    """``(kind, name, arguments)`` of one entry of ``tool_calls``, or of a fragment of one.

    What names a call is its ``function`` or ``custom`` member, whatever its type says; hosted tools without one have no
    name but their type. Raises ``ValueError`` for what two clients could read as two calls, or none as a call.
    """
    if not isinstance(call, Mapping):
        raise ValueError("a call is an object")
    shapes = [shape for shape in ("function", "custom") if call.get(shape) is not None]
    kind = call.get("type") or (shapes[0] if shapes else "function")
    if not isinstance(kind, str) or len(shapes) > 1:
        raise ValueError("a call is of one kind")
    if shapes:
        called = call[shapes[0]]
        name, arguments = _name_and_arguments(called, "input" if shapes[0] == "custom" else "arguments")
        if any(call.get(beside) not in (None, called.get(beside)) for beside in ("name", "arguments", "input")):
            raise ValueError("a call says one thing")
        return kind, name, arguments
    if kind in ("function", "custom"):
        return kind, "", ""
    hosted = call.get(kind)
    rest = hosted if hosted is not None else {key: value for key, value in call.items() if key not in ("id", "type", "index")}
    return kind, kind, text_of(rest)


def read_function_call(call: Mapping[str, Any]) -> tuple[str, str]:
    """``(name, arguments)`` of a legacy ``function_call``."""
    return _name_and_arguments(call, "arguments")


def _name_and_arguments(called: Any, text_name: str) -> tuple[str, str]:
    if not isinstance(called, dict):
        raise ValueError("a call is an object")
    name = called.get("name") or ""
    if not isinstance(name, str):
        raise ValueError("a call's name is a string")
    return name, text_of(called.get(text_name))


#: What a rewritten call keeps of what it said beside name and arguments: any other member may repeat the arguments.
#: ``extra_content`` is where providers put a signature that they want back.
_KEPT = ("index", "id", "type", "extra_content")
#: Members of a choice that spell its tokens once more, those of its calls included.
SPELLINGS = ("logprobs", "token_ids")


def rewritten(call: EmittedCall, parts: Sequence[Mapping[str, Any]], arguments: str) -> dict[str, Any]:
    """``call`` with other ``arguments``, as its ``parts`` were shaped: an entry of ``tool_calls``, whole or in fragments, or a ``function_call``."""
    if call.kind == LEGACY:
        return {"name": call.name, "arguments": _as_given(parts, "arguments", arguments)}
    kept = {name: part[name] for part in reversed(parts) for name in _KEPT if part.get(name) is not None}
    for shape, text_name in (("function", "arguments"), ("custom", "input")):
        if called := [part[shape] for part in parts if part.get(shape) is not None]:
            return {**kept, shape: {"name": call.name, text_name: _as_given(called, text_name, arguments)}}
    if any(part.get(call.kind) is not None for part in parts):
        return {**kept, call.kind: _as_given(parts, call.kind, arguments)}
    # A hosted tool whose members are its arguments.
    return {**{name: value for name, value in kept.items() if name != "extra_content"}, **orjson.loads(arguments)}


def _as_given(parts: Sequence[Mapping[str, Any]], name: str, arguments: str) -> Any:
    """JSON text, or the object itself where the provider sent that."""
    sends_objects = any(isinstance(part.get(name), dict) for part in parts)
    return orjson.Fragment(arguments) if sends_objects else arguments


def text_of(arguments: Any) -> str:
    """Arguments as text: some providers send the object itself instead of its JSON. Raises ``ValueError`` for what is too deep, or has too long a number."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    try:
        text = orjson.dumps(arguments)
    except TypeError as error:
        raise ValueError("arguments that cannot be written as text") from error
    # They cannot be deeper than they have brackets, and most have few.
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and isinstance(arguments, dict | list) and is_deeper_than(arguments, MAX_DEPTH):
        raise ValueError("arguments that are too deep")
    return text.decode()


def notice(blocked: Sequence[tuple[EmittedCall, str]]) -> str:
    """The one line that tells the agent which of its calls were blocked and why, so that it does not loop on an empty turn."""
    told = (f'tool "{shown(call.name)}" blocked by firewall: {" ".join(reason.split())}' for call, reason in blocked)
    return "; ".join(told)


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None


class _OpenAiUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: Of providers that use tools themselves, by the names in use: {"web_search_requests": 2}, {"code_interpreter_calls": 1}, {"SERVER_SIDE_TOOL_X": 1}.
    server_tool_use: Any = None
    server_side_tool_usage: Any = None
    server_side_tool_usage_details: Any = None
    num_search_queries: Any = None
    num_sources_used: Any = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


_USAGE = msgspec.json.Decoder(_OpenAiUsage)
_NO_DETAILS = _Details()


def read_usage(raw: bytes | str | msgspec.Raw) -> Usage | None:
    """``usage`` of an answer; None where it is missing or not what OpenAI documents. Parts never exceed their whole."""
    try:
        usage = _USAGE.decode(raw)
    except msgspec.DecodeError:
        return None
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    inputs, outputs = _part(usage.prompt_tokens, MAX_TOKENS), _part(usage.completion_tokens, MAX_TOKENS)
    if usage.prompt_tokens_details is None and usage.completion_tokens_details is None:
        return Usage(inputs, outputs, tools=_tools(usage))
    asked, told = usage.prompt_tokens_details or _NO_DETAILS, usage.completion_tokens_details or _NO_DETAILS
    cached = _part(asked.cached_tokens, inputs)
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cached_tokens=cached,
        cache_write_tokens=_part(asked.cache_write_tokens, inputs - cached),
        reasoning_tokens=_part(told.reasoning_tokens, outputs),
        input_audio_tokens=_part(asked.audio_tokens, inputs),
        output_audio_tokens=_part(told.audio_tokens, outputs),
        tools=_tools(usage),
    )


def _tools(usage: _OpenAiUsage) -> tuple[tuple[str, int], ...]:
    """The hosted tools that the provider says it used, by the names under which a request offers them; a tool that is told twice was used once."""
    told = usage.server_tool_use or usage.server_side_tool_usage or usage.server_side_tool_usage_details
    if not (told or usage.num_search_queries or usage.num_sources_used):
        return ()
    counted = {"web_search": usage.num_search_queries, "search_parameters": usage.num_sources_used}
    groups = (counted, usage.server_tool_use, usage.server_side_tool_usage, usage.server_side_tool_usage_details)
    found: dict[str, int] = {}
    for each in groups:
        for name, uses in list(each.items())[:MAX_TOOLS] if isinstance(each, dict) else ():
            tool = name.lower().removeprefix("server_side_tool_").removesuffix("_requests").removesuffix("_calls")
            if type(uses) is int and uses > 0:
                found[tool] = max(found.get(tool, 0), min(uses, MAX_TOKENS))
    return tuple(found.items())


def _part(tokens: int | None, whole: int) -> int:
    return min(max(tokens or 0, 0), whole)
