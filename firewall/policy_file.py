"""A policy as a YAML file: written for people to read and review, read back strictly.

JSON is YAML, so a JSON file is read too. Of YAML only plain data is taken: no anchors, aliases, tags or merges, no second document,
and as in JSON a date is a text and only ``true`` and ``false`` are flags: a rule that is labelled ``no`` stays ``no``. Which policy is the workspace
default is the workspace's business and in no file.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite

import yaml

from firewall.fields import BLANK_RULE, POLICY_FIELDS, RULE_FIELDS
from workspaces.engine.strict_json import no_constant, unique
from workspaces.errors import BadRequestBody, PayloadTooLarge, ValidationFailed

FORMAT = "orcarouter.policy/1"
MEDIA_TYPE = "application/yaml"
#: 500 rules with 20 clauses and 20 patterns of their own have 14 MB, each text as long as it may be. No policy is saved that would not be read back.
MAX_BYTES = 16 * 1024 * 1024
MOST = f"{MAX_BYTES // (1024 * 1024)} MB"
MAX_DEPTH = 32
#: Scalars, lists and objects: twice what those rules have. Text of many small ones takes seconds to read.
MAX_NODES = 200_000
#: As JSON, a policy is at least an eighth of its file, and has two characters for each of its values.
_SURELY_SMALL = min(MAX_BYTES // 8, MAX_NODES * 2)
FIELDS = tuple(name for name in POLICY_FIELDS if name != "is_default")
#: Said of every rule, be they what they may.
_ALWAYS = ("verdict", "priority", "tool_name_glob")

_SAID = ("path", "op", "value", "match", "min_count", "egress", "window_seconds", "steps", "enforce", "presets", "custom", "allow", "deny")

_JSON_NUMBER = re.compile(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$")
_WHOLE_NUMBER = re.compile(r"^-?(?:0|[1-9][0-9]*)$")
_TEXT = "tag:yaml.org,2002:str"


def write(version: Mapping[str, object]) -> str:
    """The file of one version of a policy, as ``services.snapshot`` makes them. What a rule leaves at its default is left out."""
    return yaml.dump(_content(version), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=160)


def read(raw: bytes) -> tuple[dict, list[dict]]:
    """``(fields, rules)`` of a file, for ``services.create_policy`` or ``replace_policy``, which judge the values.

    Raises ``PayloadTooLarge``, ``BadRequestBody`` for what is not YAML of this kind, and ``ValidationFailed`` with the path of a name
    that does not belong there.
    """
    if len(raw) > MAX_BYTES:
        raise PayloadTooLarge(f"A policy's file has at most {MOST}.")
    try:
        return sorted_out(_parsed(raw.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise BadRequestBody("A policy's file is UTF-8.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadRequestBody(f"This is not the YAML of a policy: {_where(error)}") from error


def refuse_unreadable(version: Mapping[str, object], *, before: Mapping[str, object] | None = None) -> None:
    """Raise ``ValidationFailed`` for a policy whose file ``read`` would refuse for its size, unless it has become no larger than it was ``before``."""
    size = len(json.dumps(version))
    if size <= _SURELY_SMALL or (before is not None and size <= len(json.dumps(before))):
        return
    if _nodes(_content(version)) > MAX_NODES or len(write(version).encode()) > MAX_BYTES:
        raise ValidationFailed(f"A policy has at most {MOST} as a file, and {MAX_NODES:,} values; with this it would have more.", param="rules")


def _nodes(value: object) -> int:
    if isinstance(value, Mapping):
        return 1 + len(value) + sum(map(_nodes, value.values()))
    return 1 + sum(map(_nodes, value)) if isinstance(value, list) else 1


def sorted_out(content: object) -> tuple[dict, list[dict]]:
    """``read``, of a file that is parsed already."""
    if not isinstance(content, Mapping):
        raise ValidationFailed("A policy's file is one object.")
    if content.get("format", FORMAT) != FORMAT:
        raise ValidationFailed(f"This release reads the format {FORMAT}.", param="format")
    if "is_default" in content:
        raise ValidationFailed("A file does not say what the workspace default is.", param="is_default")
    rules = content.get("rules", [])
    if not isinstance(rules, list):
        raise ValidationFailed("A list of rules.", param="rules")
    wrong = [(str(name), "There is no such field.") for name in content if name not in (*FIELDS, "format", "rules")]
    for place, rule in enumerate(rules):
        if isinstance(rule, Mapping):
            wrong += [(f"rules.{place}.{name}", "There is no such field.") for name in rule if name not in RULE_FIELDS]
        else:
            wrong.append((f"rules.{place}", "A rule is an object."))
    if "name" not in content:
        wrong.append(("name", "A policy needs a name."))
    if wrong:
        raise ValidationFailed.of([{"param": param[:200], "message": message} for param, message in wrong[:100]])
    return {name: value for name, value in content.items() if name in FIELDS}, [dict(rule) for rule in rules]


def _content(version: Mapping[str, object]) -> dict:
    rules = version["rules"]
    content = {"format": FORMAT} | {name: version[name] for name in FIELDS if name in version}
    return content | {"rules": [_rule(rule) for rule in rules] if isinstance(rules, list) else []}


def _rule(rule: Mapping[str, object]) -> dict:
    return {name: _ordered(rule[name]) for name in RULE_FIELDS if name in rule and (name in _ALWAYS or rule[name] != BLANK_RULE[name])}


def _ordered(value: object) -> object:
    """The same with the names of its objects in the order in which people say them: PostgreSQL keeps none."""
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: _SAID.index(name) if name in _SAID else len(_SAID))}
    return [_ordered(each) for each in value] if isinstance(value, list) else value


# --- YAML ---------------------------------------------------------------------------------------------------------------
class _Loader(yaml.CSafeLoader):
    """Plain data by the core schema of YAML 1.2 with the numbers of JSON, and no name twice in one object."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node, deep=False):
        names = [name.value for name, _ in node.value if name.tag == _TEXT]
        if len(names) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a name that is not a text", node.start_mark)
        if len(set(names)) < len(names):
            raise yaml.constructor.ConstructorError(None, None, "a name twice in one object", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        number = float(node.value)
        if not isfinite(number):
            raise yaml.constructor.ConstructorError(None, None, "a number that is too large", node.start_mark)
        return number


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE_NUMBER, list("-0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _JSON_NUMBER, list("-0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


class _Dumper(yaml.CSafeDumper):
    """Quotes what any release of YAML, or this reader, would take for something else than a text."""

    def ignore_aliases(self, data):
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _JSON_NUMBER, list("-0123456789"))
_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(_TEXT, text, style=_style(text)))


def _style(text: str) -> str | None:
    """Written out where it has lines, unless some of them are lines only to older releases of YAML."""
    return '"' if any(char in text for char in "\u2028\u2029") else "|" if "\n" in text else None


def _parsed(text: str) -> object:
    if text.lstrip().startswith("{"):
        # What is not JSON may still be an object in YAML's own flow style.
        with suppress(json.JSONDecodeError, RecursionError):
            return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant, parse_float=_finite)
    _only_plain(text)
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, made safer


def _only_plain(text: str) -> None:
    """Refuse, before anything is built, what could grow or say more than it shows."""
    depth, documents, nodes = 0, 0, 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise ValueError(f"an alias, an anchor or a tag{_line(event.start_mark)}")
        nodes += isinstance(event, yaml.NodeEvent)
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
            case yaml.CollectionStartEvent():
                depth += 1
            case yaml.CollectionEndEvent():
                depth -= 1
        if nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} values")
        if depth > MAX_DEPTH or documents > 1:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep" if documents == 1 else "a second document")


def _finite(digits: str) -> float:
    if not isfinite(number := float(digits)):
        raise ValueError("a number that is too large")
    return number


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} at character {error.position + 1}."
    problem = getattr(error, "problem", None) or str(error) or "unreadable"
    return f"{problem}{_line(mark)}."


def _line(mark) -> str:
    return f" in line {mark.line + 1}" if mark else ""
