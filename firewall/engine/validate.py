"""What is wrong with a rule or a policy that somebody wants to save. Source: spec/firewall.md 2.2 and 2.11, spec/decisions.md 6.9."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from firewall.engine.decide import DEFAULT_VERDICTS, RULE_VERDICTS
from firewall.engine.glob import MAX_GLOB_CHARS
from firewall.engine.types import Surface, Verdict

MAX_RULES = 500
MAX_POLICY_NAME_CHARS = 64
MAX_LABEL_CHARS = 120
MAX_NOTES_CHARS = 2000
MAX_PRIORITY = 1_000_000

_RULE_STAGES = ("", Surface.INBOUND, Surface.RESPONSE, Surface.MCP)
_NOT_AVAILABLE = (
    "skill_name_glob",
    "args_match",
    "args_match_json",
    "egress",
    "egress_json",
    "sanitize",
    "sanitize_json",
    "sequence",
    "sequence_json",
    "cap_cost_cents",
)
_RULE_FIELDS = frozenset({"id", "policy_id", "priority", "label", "notes", "stage", "tool_name_glob", "verdict", "enabled", *_NOT_AVAILABLE})


@dataclass(frozen=True, slots=True)
class Problem:
    """``param`` is the field's path; ``rule`` the position of the rule in a list of them, ``clause`` that of an argument clause in its rule."""

    param: str
    message: str
    rule: int | None = None
    clause: int | None = None


def problems(rule_fields: Mapping[str, object], *, rule: int | None = None) -> list[Problem]:
    """Why a rule cannot be saved; empty if it can. Values as JSON gives them, fields left out at their defaults.

    ``rule`` is its position where it comes in a list, and then part of each ``param``.
    """
    found = [(name, "There is no such field.") for name in rule_fields if name not in _RULE_FIELDS]
    found += _verdict_problems(rule_fields.get("verdict"))
    found += _stage_problems(rule_fields.get("stage"))
    found += _text_problems("tool_name_glob", rule_fields.get("tool_name_glob", ""), MAX_GLOB_CHARS)
    found += _text_problems("label", rule_fields.get("label", ""), MAX_LABEL_CHARS)
    found += _text_problems("notes", rule_fields.get("notes", ""), MAX_NOTES_CHARS, lines=True)
    priority = rule_fields.get("priority", 0)
    if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
        found.append(("priority", f"A whole number from 0 to {MAX_PRIORITY}."))
    found += _flag_problems("enabled", rule_fields)
    found += [(name, f"{name} is not available in this version.") for name in _NOT_AVAILABLE if _is_used(rule_fields.get(name))]
    return [Problem(name if rule is None else f"rules[{rule}].{name}", message, rule) for name, message in found]


def policy_problems(policy_fields: Mapping[str, object]) -> list[Problem]:
    """Why a policy cannot be saved, its ``rules`` included; empty if it can. ``name`` is needed, the rest has defaults."""
    name = policy_fields.get("name", "")
    found = _text_problems("name", name, MAX_POLICY_NAME_CHARS)
    if isinstance(name, str) and not name.strip():
        found.append(("name", "A policy needs a name."))
    if policy_fields.get("default_verdict", Verdict.AUDIT) not in DEFAULT_VERDICTS:
        found.append(("default_verdict", f"One of {', '.join(DEFAULT_VERDICTS)}."))
    for flag in ("enabled", "is_default", "shadow_mode"):
        found += _flag_problems(flag, policy_fields)
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
    if verdict in RULE_VERDICTS:
        return []
    if verdict in (Verdict.SANITIZE, Verdict.PENDING_APPROVAL, Verdict.CAP_COST):
        return [("verdict", f"The verdict {verdict} is not available in this version.")]
    return [("verdict", f"One of {', '.join(RULE_VERDICTS)}.")]


def _stage_problems(stage: object) -> list[tuple[str, str]]:
    if stage is None or stage in _RULE_STAGES:
        return []
    if stage == Surface.EGRESS:
        return [("stage", "The stage egress is not available in this version.")]
    return [("stage", f"One of {', '.join(filter(None, _RULE_STAGES))}, or empty for all of them.")]


def _text_problems(name: str, value: object, at_most: int, *, lines: bool = False) -> list[tuple[str, str]]:
    if not isinstance(value, str):
        return [(name, "A text.")]
    if len(value) > at_most:
        return [(name, f"At most {at_most} characters; these are {len(value)}.")]
    # Control characters and lone surrogates: PostgreSQL refuses some, and the rest would only mislead a reader.
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in value if not (lines and char in "\n\r\t")):
        return [(name, "Without control characters.")]
    return []


def _flag_problems(name: str, fields: Mapping[str, object]) -> list[tuple[str, str]]:
    return [] if isinstance(fields.get(name, True), bool) else [(name, "True or false.")]


def _is_used(value: object) -> bool:
    """Whether a matcher or setting says anything: clients may send all fields, with the unused ones empty."""
    if isinstance(value, str):
        return value.strip() not in ("", "{}", "[]", "null")
    return any(value.values()) if isinstance(value, Mapping) else bool(value)
