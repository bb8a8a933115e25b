"""The hashes that an approval is bound to: SHA-256 over canonical JSON (``workspaces.engine.canonical``), 64 hex digits.

Two spellings of one value have one hash, in whatever order their names stand; any other change gives another.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from firewall.engine.types import Rule
from workspaces.engine.canonical import canonical, parse

#: What a request may change and still be the same one: how its answer is sent.
NOT_BOUND = ("stream", "stream_options")
#: Members of a request that define tools, and where an entry has its name.
_DEFINING = ("tools", "functions", "plugins", "mcp_servers")
_NAMING = ("name", "id", "type", "server_label")


def args_hash(arguments: str | None) -> str:
    """Of a call's arguments as the model wrote them. What is not one JSON object is hashed as written; an offered tool has none."""
    if arguments is None:
        return _digest("")
    try:
        value = parse(arguments)
        return _digest(canonical(value) if isinstance(value, dict) else arguments)
    except ValueError:
        return _digest(arguments)


def request_hashes(body: bytes, tools: tuple[str, ...] = ()) -> tuple[str, dict[str, str]]:
    """Of a relay request without ``NOT_BOUND``, and of the definition of each of these tools in it.

    Raises ``ValueError`` for what is not a JSON object.
    """
    request = parse(body.decode())
    if not isinstance(request, dict):
        raise ValueError("not an object")
    kept = {name: value for name, value in request.items() if name not in NOT_BOUND}
    found = list(_definitions(kept))
    return _digest(canonical(kept)), {tool: _digest(canonical([value for name, value in found if name == tool])) for tool in tools}


def _definitions(request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for member in _DEFINING:
        entries = request.get(member)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                for place in (entry, entry.get("function"), entry.get("custom")):
                    named = [place[name] for name in _NAMING if isinstance(place.get(name), str)] if isinstance(place, dict) else []
                    yield from ((name, entry) for name in dict.fromkeys(named))


def rule_hash(rule: Rule) -> str:
    """Of all that a rule says, its place and its label included."""
    return _digest(canonical(_numbers(as_json(rule))))


def as_json(rule: Rule) -> dict[str, Any]:
    """A rule as an approval keeps it."""
    return {
        "id": rule.id,
        "priority": rule.priority,
        "label": rule.label,
        "stage": rule.stage,
        "tool_name_glob": rule.tool_name_glob,
        "skill_name_glob": rule.skill_name_glob,
        "verdict": rule.verdict,
        "enabled": rule.enabled,
        "args_match": {"clauses": [clause.as_json() for clause in rule.args_match]} if rule.args_match else None,
        "egress": rule.egress and rule.egress.as_json(),
        "sanitize": rule.sanitize and rule.sanitize.as_json(),
        "sequence": rule.sequence and rule.sequence.as_json(),
        "cap_cost_cents": None if rule.cap_micro_usd is None else rule.cap_micro_usd // 10_000,
    }


def _numbers(value: Any) -> Any:
    """Values of Python as ``canonical`` takes them."""
    match value:
        case dict():
            return {name: _numbers(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_numbers(inner) for inner in value]
        case bool() | None | str():
            return str(value) if isinstance(value, str) else value
    return parse(repr(value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


#: Of a tool that its request does not define.
NO_DEFINITION = _digest("[]")
