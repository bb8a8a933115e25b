"""What became of a policy from one version to another, in words; and which rule of a file is which rule of a policy.

A version is plain JSON: the policy's fields by name, and under ``rules`` its rules with their ids, in the order in which they are judged.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from firewall.engine import conditions, sequence

Version = Mapping[str, object]
"""A policy as it was saved."""

MAX_WORDS_CHARS = 1000
MAX_VALUE_CHARS = 160
_BEFORE_CHARS = 40
_NAMES = {
    "args_match": "arguments",
    "egress": "destinations",
    "sanitize": "taken out",
    "sequence": "sequence",
    "cap_cost_cents": "cap",
    "max_runs_per_key_per_hour": "Runs a key may begin in an hour",
    "block_notice": "Line in answers that lost a call",
    "refuse_unknown_fields": "Refuse unknown fields",
    "name": "Name",
    "label": "name",
    "default_verdict": "If no rule matches",
    "shadow_mode": "Shadow mode",
    "enabled": "Enabled",
    "is_default": "Workspace default",
    "tool_name_glob": "tool",
    "skill_name_glob": "skill",
    "stage": "surface",
}
#: What a rule may say beside its tool and its surface.
_PARTICULARS = ("skill_name_glob", "args_match", "egress", "sanitize", "sequence", "cap_cost_cents")
#: What an absent value is called where an empty text does not say it.
_EMPTY = {"stage": "every surface", "tool_name_glob": "every tool", "skill_name_glob": "any skill", "max_runs_per_key_per_hour": "no limit"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``kind``: ``policy`` (a field of its own), ``added``, ``removed``, ``changed`` (a field of a rule) or ``moved``.

    ``rule_id`` and ``field`` are null where there is none; ``before`` and ``after`` are JSON: of a field its values, of a rule that
    came or went the rule, of one that moved its place, from 1.
    """

    kind: str
    text: str
    rule_id: int | None = None
    field: str | None = None
    before: object = None
    after: object = None


def changes(before: Version, after: Version) -> list[Change]:
    """What differs: the policy's own fields, then its rules: gone, new, moved, and field by field."""
    fields = [*_fields_of(before, after)]
    own = [Change("policy", f"{_called(name)}: {_now(name, old, new)}", None, name, old, new) for name, old, new in fields]
    return [*own, *_rule_changes(_rules(before), _rules(after))]


def in_words(found: Sequence[Change]) -> str:
    """All of it in one text of at most ``MAX_WORDS_CHARS``."""
    words = ""
    for place, change in enumerate(found):
        rest = f" And {len(found) - place} more."
        if len(words) + len(change.text) + len(rest) >= MAX_WORDS_CHARS:
            return (words + rest).strip()
        words += f" {change.text}"
    return words.strip() or "Nothing differs."


def rule_name(rule: Mapping[str, object]) -> str:
    """A rule as people call it: by its label, or by what it is about."""
    return f"“{rule['label']}”" if rule.get("label") else f"the rule for {rule.get('tool_name_glob') or 'every tool'}"


def paired(present: Sequence[Mapping[str, object]], wanted: Sequence[Mapping[str, object]]) -> list[int | None]:
    """For each of the ``wanted`` rules (by rising priority) the id of the ``present`` one that it is, or None: it is new.

    A rule is the one that is equal, else the one of the same label, else the one about the same tools. Among rules of one priority the
    ids decide the order, so one whose id would bring it before its place is a new one.
    """
    free = {rule["id"]: rule for rule in present}
    found: list[int | None] = [None] * len(wanted)
    for alike in (_whole, _label, _subject):
        ids: dict[object, list] = {}
        for rule_id, rule in reversed(free.items()):
            ids.setdefault(alike(rule), []).append(rule_id)
        for place, rule in enumerate(wanted):
            if found[place] is None and (key := alike(rule)) is not None and ids.get(key):
                found[place] = ids[key].pop()
                del free[found[place]]
    last: dict[object, float] = {}
    for place, rule in enumerate(wanted):
        own = found[place]
        if own is not None and own < last.get(rule["priority"], 0):
            found[place] = own = None
        last[rule["priority"]] = inf if own is None else own
    return found


def _whole(rule: Mapping[str, object]) -> str:
    return json.dumps({name: value for name, value in rule.items() if name != "id"}, sort_keys=True)


def _label(rule: Mapping[str, object]) -> object:
    return rule.get("label") or None


def _subject(rule: Mapping[str, object]) -> object:
    return rule.get("stage"), rule.get("tool_name_glob"), rule.get("skill_name_glob")


# --- Differences ------------------------------------------------------------------------------------------------------
def _rules(version: Version) -> dict[int, Mapping[str, object]]:
    rules = version.get("rules")
    return {rule["id"]: rule for rule in rules} if isinstance(rules, list) else {}


def _fields_of(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[tuple[str, object, object]]:
    """The fields that differ. A version from before there was a field says nothing in it."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if name not in ("id", "rules") and old != new and not (old in (None, "") and new in (None, "")):
            yield name, old, new


def _rule_changes(before: dict[int, Mapping[str, object]], after: dict[int, Mapping[str, object]]) -> Iterator[Change]:
    for rule_id, rule in before.items():
        if rule_id not in after:
            yield Change("removed", f"Removed {rule_name(rule)}: {sentence(rule)}.", rule_id, None, rule, None)
    for rule_id, rule in after.items():
        if rule_id not in before:
            yield Change("added", f"Added {rule_name(rule)}: {sentence(rule)}.", rule_id, None, None, rule)
    old_places = {rule_id: place for place, rule_id in enumerate(before, start=1)}
    new_places = {rule_id: place for place, rule_id in enumerate(after, start=1)}
    stayed = _longest_rising([old_places[rule_id] for rule_id in after if rule_id in before])
    for rule_id, rule in after.items():
        if rule_id not in before:
            continue
        moved = old_places[rule_id] not in stayed
        if moved:
            old, new = old_places[rule_id], new_places[rule_id]
            text = f"Moved {rule_name(rule)} from place {old} to {new}, priority {rule.get('priority')}."
            yield Change("moved", text, rule_id, None, old, new)
        for name, was, now in _fields_of(before[rule_id], rule):
            # A move is a change of priority, and was told.
            if not (moved and name == "priority"):
                called = _capital(rule_name(before[rule_id]))
                yield Change("changed", f"{called}: {_called(name)} {_now(name, was, now)}", rule_id, name, was, now)


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """A longest rising subsequence of distinct numbers: what stayed where it was while the rest moved."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for place, number in enumerate(numbers):
        length = bisect_left(tails, number)
        before.append(ends[length - 1] if length else -1)
        tails[length:], ends[length:] = [number, *tails[length + 1 :]], [place, *ends[length + 1 :]]
    found, place = set(), ends[-1] if ends else -1
    while place >= 0:
        found.add(numbers[place])
        place = before[place]
    return found


# --- Words ------------------------------------------------------------------------------------------------------------
def sentence(rule: Mapping[str, object]) -> str:
    """A whole rule, in short: but for its notes, all that it says."""
    on = f" on {rule['stage']}" if rule.get("stage") else ""
    off = "" if rule.get("enabled", True) else ", disabled"
    more = "".join(f", {_called(name)} {shown(name, rule[name])}" for name in _PARTICULARS if rule.get(name) not in (None, ""))
    return f"{rule.get('verdict')} {rule.get('tool_name_glob') or 'every tool'}{on}{more}, priority {rule.get('priority')}{off}"


def _now(name: str, old: object, new: object) -> str:
    return ", now ".join(both(name, old, new)).removesuffix(".") + "."


def _called(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def called(name: str) -> str:
    """A field, as a column of a comparison is headed."""
    return _capital(_called(name))


def shown(name: str, value: object) -> str:
    """A field's value in words, cut where it is long."""
    return _cut(_in_words(name, value))


def both(name: str, old: object, new: object) -> tuple[str, str]:
    """Two values of a field in words; of long ones the part from shortly before they differ."""
    texts = [_in_words(name, value) for value in (old, new)]
    same = next((place for place, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), min(map(len, texts)))
    start = same - _BEFORE_CHARS if same > MAX_VALUE_CHARS // 2 and max(map(len, texts)) > MAX_VALUE_CHARS else 0
    before, after = ((f"…{text[start:]}" if start else text) for text in texts)
    return _cut(before), _cut(after)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "…"


def _in_words(name: str, value: object) -> str:
    if value is None or value == "":
        return _EMPTY.get(name, "nothing")
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return _spec(name, value)
    return f"${value / 100:,.2f}" if name == "cap_cost_cents" and isinstance(value, int) else str(value)


def _spec(name: str, value: Mapping) -> str:
    """What one of a rule's objects says. What an older release wrote in another form is told as it is."""
    try:
        return _SPECS[name](value)
    except (KeyError, TypeError, AttributeError):
        return json.dumps(value, ensure_ascii=False)


def _clauses(value: Mapping) -> str:
    return " and ".join(f"{each['path']} {each['op']} {_operand(each['op'], each['value'])}" for each in value["clauses"])


def _operand(op: str, value: object) -> str:
    """Two values in the same words would be no difference, so a text that reads as something else is quoted."""
    if isinstance(value, list):
        return ", ".join(json.dumps(each, ensure_ascii=False) if "," in str(each) else conditions.spelt(each) for each in value)
    # These take texts alone.
    if isinstance(value, str) and value.strip() == value != "" and op in ("contains", "regex", "cidr_match"):
        return value
    return conditions.spelt(value)


def _lists(value: Mapping) -> str:
    return "; ".join(f"{name} {', '.join(value[name])}" for name in ("allow", "deny") if value.get(name))


def _sanitizers(value: Mapping) -> str:
    return ", ".join([*value.get("presets", []), *(f"“{pattern}”" for pattern in value.get("custom", []))])


def _chain(value: Mapping) -> str:
    chain = sequence.read(value)
    within = f" within {chain.window_seconds} s" if chain.window_seconds else ""
    return f"{chain.shown}{within}, {'inline' if chain.is_inline else 'reported afterwards'}"


_SPECS: Mapping[str, Callable[[Mapping], str]] = {"args_match": _clauses, "egress": _lists, "sanitize": _sanitizers, "sequence": _chain}
