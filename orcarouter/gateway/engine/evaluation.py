"""What ``evaluate`` and ``evaluate_plan`` are asked: tool calls that somebody is about to make. Source: spec/decisions.md 11."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from firewall.engine.types import Surface
from orcarouter.gateway.engine.exchange import Refusal, read_object, shown

MAX_STEPS = 100
#: Of names and ids; longer tool names are judged, and denied.
MAX_CHARS = 128
MAX_TOOL_NAME_CHARS = 1024
MAX_DESTINATION_CHARS = 2048

SURFACES = (Surface.MCP, Surface.EGRESS, Surface.RESPONSE)
_CORRELATION = ("agent_run_id", "conversation_id", "step_id", "parent_step_id")
_OF_A_STEP = frozenset(("tool_name", "arguments", "surface", "destination", "skill", "step_id", "parent_step_id"))
_OF_A_REQUEST = frozenset((*_CORRELATION, "model", "client_request_id", "request_id", "key_id"))
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MEMBERS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class Asked(msgspec.Struct, frozen=True):
    """One call. ``arguments`` is JSON text, None where none were given; ``as_object``: they came as an object, and cleaned ones go back as one."""

    tool_name: str
    surface: Surface
    arguments: str | None
    as_object: bool
    destination: str | None
    skill: str | None
    step_id: str | None
    parent_step_id: str | None


class Evaluation(msgspec.Struct, frozen=True):
    """One request. ``key_id`` None: the run is the asking key's own; ids are None where the caller gave none."""

    steps: tuple[Asked, ...]
    agent_run_id: str | None
    conversation_id: str | None
    client_request_id: str | None
    model: str | None
    key_id: int | None


class _Wrong(Exception):
    """Leaves the depth of a body; never leaves this file."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.refusal = Refusal("validation_error", message, param)


def parse(body: bytes) -> Evaluation | Refusal:
    """The body of ``evaluate``: one call and what it belongs to."""
    found = read_object(body)
    if isinstance(found, Refusal):
        return found
    try:
        _refuse_unknown(found[0], _OF_A_STEP | _OF_A_REQUEST, "")
        return _evaluation(found[0], (_asked(*found, ""),))
    except _Wrong as wrong:
        return wrong.refusal


def parse_plan(body: bytes) -> Evaluation | Refusal:
    """The body of ``evaluate_plan``: the steps in order, and what they all belong to."""
    found = read_object(body)
    if isinstance(found, Refusal):
        return found
    try:
        plan, members = found
        _refuse_unknown(plan, _OF_A_REQUEST | {"steps"}, "")
        steps = plan.get("steps")
        if not isinstance(steps, list) or not 0 < len(steps) <= MAX_STEPS:
            raise _Wrong(f"A list of 1 to {MAX_STEPS} steps.", "steps")
        for place, step in enumerate(steps):
            if not isinstance(step, dict):
                raise _Wrong("A step is an object.", f"steps.{place}")
            _refuse_unknown(step, _OF_A_STEP, f"steps.{place}.")
        raw = _MEMBERS.decode(members["steps"])
        return _evaluation(plan, tuple(_asked(step, raw[place], f"steps.{place}.") for place, step in enumerate(steps)))
    except _Wrong as wrong:
        return wrong.refusal


def _refuse_unknown(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise _Wrong("There is no such field.", where + shown(name))


def _asked(given: Mapping[str, Any], members: Mapping[str, msgspec.Raw], where: str) -> Asked:
    name = _text(given, "tool_name", where, MAX_TOOL_NAME_CHARS)
    if name is None:
        raise _Wrong("Which tool is called.", f"{where}tool_name")
    surface = given.get("surface") or Surface.MCP
    if surface not in SURFACES:
        raise _Wrong(f"One of {', '.join(SURFACES)}.", f"{where}surface")
    arguments = given.get("arguments")
    if arguments is not None and not isinstance(arguments, dict | str):
        raise _Wrong("An object, or the JSON text of one.", f"{where}arguments")
    return Asked(
        tool_name=name,
        surface=Surface(surface),
        # The caller's own spelling: what is judged and cleaned is what was sent.
        arguments=bytes(members["arguments"]).decode() if isinstance(arguments, dict) else arguments,
        as_object=isinstance(arguments, dict),
        destination=_text(given, "destination", where, MAX_DESTINATION_CHARS),
        skill=_text(given, "skill", where),
        step_id=_id(given, "step_id", where),
        parent_step_id=_id(given, "parent_step_id", where),
    )


def _evaluation(given: Mapping[str, Any], steps: tuple[Asked, ...]) -> Evaluation:
    theirs, alias = _text(given, "client_request_id", ""), _text(given, "request_id", "")
    if theirs is not None and alias not in (None, theirs):
        raise _Wrong("This is another name of client_request_id, and they differ.", "request_id")
    key_id = given.get("key_id")
    if key_id is not None and not (type(key_id) is int and 0 < key_id < 2**63):
        raise _Wrong("The id of a key.", "key_id")
    return Evaluation(
        steps=steps,
        agent_run_id=_id(given, "agent_run_id", ""),
        conversation_id=_id(given, "conversation_id", ""),
        client_request_id=theirs if alias is None else alias,
        model=_text(given, "model", "", 256),
        key_id=key_id,
    )


def _text(given: Mapping[str, Any], name: str, where: str, at_most: int = MAX_CHARS) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > at_most:
        raise _Wrong(f"A text of at most {at_most} characters.", where + name)
    return value


def _id(given: Mapping[str, Any], name: str, where: str) -> str | None:
    value = given.get(name)
    if value is not None and not (isinstance(value, str) and _ID.fullmatch(value)):
        raise _Wrong("At most 128 of A-Z a-z 0-9 . _ : -", where + name)
    return value
