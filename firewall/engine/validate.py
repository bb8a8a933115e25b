"""What is wrong with a rule or a policy that somebody wants to save. Source: spec/firewall.md 2.2 and 2.11, spec/decisions.md 6.9."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from firewall.engine import conditions, egress, sanitize, sequence
from firewall.engine.decide import DEFAULT_VERDICTS, RULE_VERDICTS
from firewall.engine.glob import MAX_GLOB_CHARS
from firewall.engine.rule_json import ENCODED_FIELDS, JSON_FIELDS, unpacked
from firewall.engine.types import Surface, Verdict

MAX_RULES = 500
MAX_POLICY_NAME_CHARS = 64
MAX_LABEL_CHARS = 120
MAX_NOTES_CHARS = 2000
MAX_PRIORITY = 1_000_000
MAX_CAP_CENTS = 100_000_000
MAX_RUNS_PER_HOUR = 1_000_000

#: Embeddings, overrides and isolates: a text with one may show in another order than it is read.
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_STAGES = ("", Surface.INBOUND, Surface.RESPONSE, Surface.MCP, Surface.EGRESS)
_RULE_FIELDS = frozenset(
    (
        *("id", "policy_id", "priority", "label", "notes", "stage", "tool_name_glob", "skill_name_glob", "verdict", "enabled", "cap_cost_cents"),
        *JSON_FIELDS,
        *ENCODED_FIELDS,
    )
)


@dataclass(frozen=True, slots=True)
class Problem:
    """``param`` is the field's path; ``rule`` the position of the rule in a list of them, ``clause`` that of an argument clause in its rule."""

    param: str
    message: str
    rule: int | None = None
    clause: int | None = None

    @property
    def path(self) -> str:
        """``param`` as errors name it, on both planes: ``rules.1.args_match.clauses.0.path``."""
        return re.sub(r"\[(\d+)\]", r".\1", self.param)


def problems(rule_fields: Mapping[str, object], *, rule: int | None = None) -> list[Problem]:
    """Why a rule cannot be saved; empty if it can. Values as JSON gives them, fields left out at their defaults.

    ``rule`` is its position where it comes in a list, and then part of each ``param``.
    """
    fields, given, packed = unpacked(rule_fields)
    found: list[tuple[str, str, int | None]] = [(name, "There is no such field.", None) for name in fields if name not in _RULE_FIELDS]
    plain = _verdict_problems(fields.get("verdict")) + _stage_problems(fields.get("stage"))
    plain += _text_problems("tool_name_glob", fields.get("tool_name_glob", ""), MAX_GLOB_CHARS)
    plain += _text_problems("skill_name_glob", fields.get("skill_name_glob", ""), MAX_GLOB_CHARS)
    plain += _text_problems("label", fields.get("label", ""), MAX_LABEL_CHARS)
    plain += _text_problems("notes", fields.get("notes", ""), MAX_NOTES_CHARS, lines=True)
    plain += _number_problems("priority", fields.get("priority", 0), MAX_PRIORITY)
    plain += _flag_problems("enabled", fields)
    cents = fields.get("cap_cost_cents")
    plain += _number_problems("cap_cost_cents", 0 if cents is None else cents, MAX_CAP_CENTS)
    found += [(name, message, None) for name, message in [*plain, *packed]]
    if not packed:
        found += _spec_problems(fields, given)
    if not found:
        found += [(given.get(name, name), message, None) for name, message in _pairing_problems(fields)]
    return [Problem(name if rule is None else f"rules[{rule}].{name}", message, rule, clause) for name, message, clause in found]


def _spec_problems(fields: Mapping[str, object], given: Mapping[str, str]) -> list[tuple[str, str, int | None]]:
    """What is wrong inside the specs, each by the name it was given by."""
    found: list[tuple[str, str, int | None]] = []
    for name in JSON_FIELDS:
        if fields.get(name) is None:
            continue
        for inner, message, *clause in _OBJECTIONS[name](fields[name]):
            found.append((f"{given[name]}{'.' if inner else ''}{inner}", message, clause[0] if clause else None))
    return found


_OBJECTIONS: Mapping[str, Callable[[object], Sequence[tuple]]] = {
    "args_match": conditions.objections,
    "egress": egress.objections,
    "sanitize": sanitize.objections,
    "sequence": sequence.objections,
}


def _pairing_problems(fields: Mapping[str, object]) -> list[tuple[str, str]]:
    """What does not go together, in a rule whose fields are right one by one."""
    verdict, stage = Verdict(str(fields["verdict"])), fields.get("stage") or ""
    found = []
    if verdict is Verdict.SANITIZE and not fields.get("sanitize"):
        found.append(("sanitize", "A rule that sanitizes needs at least one preset or pattern."))
    if verdict is Verdict.CAP_COST and fields.get("cap_cost_cents") is None:
        found.append(("cap_cost_cents", "A cap needs its cents, 0 or more."))
    if verdict is Verdict.PENDING_APPROVAL and stage == Surface.EGRESS:
        found.append(("stage", "A destination cannot be held for approval."))
    if isinstance(lists := fields.get("egress"), Mapping):
        needed = "allow" if verdict.permits else "deny"
        if stage == Surface.INBOUND:
            found.append(("egress", "An offered tool has no destination yet."))
        elif not lists.get(needed):
            found.append(("egress", f"A rule with verdict {verdict} is about what its {needed} list has, and it has none."))
    if fields.get("sequence"):
        if verdict not in (Verdict.AUDIT, Verdict.DENY, Verdict.PENDING_APPROVAL):
            found.append(("verdict", "A sequence may audit, deny or hold for approval."))
        if stage == Surface.INBOUND:
            found.append(("sequence", "An offered tool is no call of a sequence."))
    return found


def policy_problems(policy_fields: Mapping[str, object]) -> list[Problem]:
    """Why a policy cannot be saved, its ``rules`` included; empty if it can. ``name`` is needed, the rest has defaults."""
    name = policy_fields.get("name", "")
    found = _text_problems("name", name, MAX_POLICY_NAME_CHARS)
    if isinstance(name, str) and not any(char.isprintable() and not char.isspace() for char in name):
        found.append(("name", "A policy needs a name."))
    if policy_fields.get("default_verdict", Verdict.AUDIT) not in DEFAULT_VERDICTS:
        found.append(("default_verdict", f"One of {', '.join(DEFAULT_VERDICTS)}."))
    for flag in ("enabled", "is_default", "shadow_mode", "block_notice", "refuse_unknown_fields"):
        found += _flag_problems(flag, policy_fields)
    found += _run_limit_problems(policy_fields.get("max_runs_per_key_per_hour"))
    rules = policy_fields.get("rules", ())
    if not isinstance(rules, list | tuple):
        return [Problem(*each) for each in [*found, ("rules", "A list of rules.")]]
    if len(rules) > MAX_RULES:
        return [Problem(*each) for each in [*found, ("rules", f"A policy has at most {MAX_RULES} rules; these are {len(rules)}.")]]
    nested: list[Problem] = []
    for position, rule in enumerate(rules):
        nested += problems(rule, rule=position) if isinstance(rule, Mapping) else [Problem(f"rules[{position}]", "A rule is an object.", position)]
    return [Problem(*each) for each in found] + nested


def _verdict_problems(verdict: object) -> list[tuple[str, str]]:
    if verdict is None:
        return [("verdict", "A rule needs a verdict.")]
    if not isinstance(verdict, str) or verdict not in RULE_VERDICTS:
        return [("verdict", f"One of {', '.join(RULE_VERDICTS)}.")]
    return []


def _stage_problems(stage: object) -> list[tuple[str, str]]:
    if stage is None or (isinstance(stage, str) and stage in _STAGES):
        return []
    return [("stage", f"One of {', '.join(filter(None, _STAGES))}, or empty for all of them.")]


def _number_problems(name: str, value: object, at_most: int) -> list[tuple[str, str]]:
    return [] if type(value) is int and 0 <= value <= at_most else [(name, f"A whole number from 0 to {at_most}.")]


def _run_limit_problems(limit: object) -> list[tuple[str, str]]:
    name = "max_runs_per_key_per_hour"
    if limit is None:
        return []
    return [] if type(limit) is int and 0 < limit <= MAX_RUNS_PER_HOUR else [(name, f"A whole number from 1 to {MAX_RUNS_PER_HOUR}, or null for no limit.")]


def _text_problems(name: str, value: object, at_most: int, *, lines: bool = False) -> list[tuple[str, str]]:
    if not isinstance(value, str):
        return [(name, "A text.")]
    if len(value) > at_most:
        return [(name, f"At most {at_most} characters; these are {len(value)}.")]
    # Control characters, lone surrogates and what turns the direction of a line: PostgreSQL refuses some, and the rest would only mislead a reader.
    if any(unicodedata.category(char) in ("Cc", "Cs") or char in _TURNS for char in value if not (lines and char in "\n\r\t")):
        return [(name, "Without control characters.")]
    return []


def _flag_problems(name: str, fields: Mapping[str, object]) -> list[tuple[str, str]]:
    return [] if isinstance(fields.get(name, True), bool) else [(name, "True or false.")]
