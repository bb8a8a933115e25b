"""A second, naive reading of the firewall's rules to hold the engine against.

Written from the specification's tables alone: it spells every reading of a name
out, walks every rule, and shares nothing with the engine but its value types.
Exponential in the underscores of a name, so for short names only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import combinations, groupby
from string import ascii_letters, digits
from typing import NamedTuple

from firewall.engine.conditions import Clause
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, ToolCall

NAME_CHARACTERS = set(ascii_letters + digits + "_.:/-")


def spelled_matches(glob: str, name: str) -> bool:
    """One spelling against one glob, character by character of the documented table."""
    if glob in ("", "*"):
        return True
    pieces = glob.split("*")
    match pieces:
        case ["", middle, ""] if len(middle) > 2 and middle[0] == middle[-1] == ".":
            places = range(1, len(name))
            return any(name[at : at + len(middle)] == middle and at + len(middle) < len(name) for at in places)
        case ["", tail] if len(tail) > 1 and tail[0] == ".":
            return name == tail[1:] or name[-len(tail) :] == tail
        case [head, ""] if len(head) > 1 and head[-1] == ".":
            return name != head and name[: len(head)] == head
    return glob == name


def all_readings(name: str) -> set[str]:
    """Each ``__`` read as a dot or left, in every combination."""
    if len(name) < 2:
        return {name}
    readings = {name[0] + rest for rest in all_readings(name[1:])}
    if name[:2] == "__":
        readings |= {"." + rest for rest in all_readings(name[2:])}
    return readings


def plain_readings(name: str) -> set[str]:
    """The name, and the name with each run of exactly two inner underscores a dot."""
    runs = [(char, len(list(run))) for char, run in groupby(name)]
    inner = range(1, len(runs) - 1)
    return {name, "".join("." if at in inner and run == ("_", 2) else run[0] * run[1] for at, run in enumerate(runs))}


def matches(glob: str, name: str, *, wide: bool) -> bool:
    return any(spelled_matches(glob, reading) for reading in (all_readings(name) if wide else plain_readings(name)))


def judge(policy: Policy, call: ToolCall, run: RunState | None = None, history: list[Past] = ()) -> tuple[str, int | None, bool]:
    """Verdict, rule id, and whether shadow mode took the effect away. ``history`` are the run's earlier calls."""
    verdict, rule_id = _judge_in_force(policy, call, run or RunState(), history)
    blocks = verdict in ("deny", "sanitize", "pending_approval")
    return ("audit", rule_id, True) if policy.shadow_mode and blocks else (verdict, rule_id, False)


def _judge_in_force(policy: Policy, call: ToolCall, run: RunState, history: list[Past]) -> tuple[str, int | None]:
    if not 1 <= len(call.name) <= 128 or set(call.name) - NAME_CHARACTERS:
        return "deny", None
    arguments = read_arguments(call.arguments)
    goals = goals_of(call, arguments)
    if call.surface.value == "egress" and all(goal is None for goal in goals):
        return "deny", None
    limit = policy.max_runs_per_key_per_hour
    if call.surface.value != "inbound" and limit is not None and run.calls == 0 and run.runs_this_hour > limit:
        return "deny", None
    waiting: list[Rule] = list(policy.rules)
    cap = None
    while waiting:
        rule = min(waiting, key=lambda rule: (rule.priority, rule.id))
        waiting.remove(rule)
        if not rule_matches(rule, call, arguments, goals, run, history):
            continue
        verdict = rule.verdict.value
        if verdict == "cap_cost":
            if run.estimate_micro_usd is None or run.spent_micro_usd + run.reserved_micro_usd + run.estimate_micro_usd > rule.cap_micro_usd:
                return "deny", rule.id
            cap = cap or rule
            continue
        return effect(rule, call, arguments), rule.id
    default = policy.default_verdict.value
    return ("allow", cap.id) if cap and default != "deny" else (default, None)


def effect(rule: Rule, call: ToolCall, arguments: object) -> str:
    verdict, surface = rule.verdict.value, call.surface.value
    if verdict == "sanitize" and (surface == "inbound" or arguments is BAD):
        return "deny"
    if verdict == "pending_approval":
        return "deny" if surface == "egress" else "audit" if surface == "inbound" and rule.stage is None else verdict
    return verdict


def rule_matches(rule: Rule, call: ToolCall, arguments: object, goals: list, run: RunState, history: list[Past]) -> bool:
    permits = rule.verdict.value in ("allow", "audit")
    surface = call.surface.value
    if not rule.enabled or (rule.stage is not None and rule.stage.value != surface) or not matches(rule.tool_name_glob, call.name, wide=not permits):
        return False
    if rule.verdict.value == "cap_cost" and surface in ("response", "egress"):
        return False
    if rule.skill_name_glob not in ("", "*") and not (call.skill and spelled_matches(rule.skill_name_glob, call.skill)):
        return False
    if rule.args_match:
        if arguments is None:
            return False
        if arguments is BAD:
            if permits:
                return False
        elif not all(clause_holds(clause, arguments, wide=not permits) for clause in rule.args_match):
            return False
    if rule.egress and not in_scope(rule, goals, permits):
        return False
    if rule.sequence:
        past = Past(call.name, run.at_ms, surface == "egress" or bool(goals))
        return rule.sequence.is_inline and surface != "inbound" and completes(rule.sequence, [*history, past])
    return True


# --- Arguments ------------------------------------------------------------------------------------------------------
BAD = object()
ABSENT = object()


def read_arguments(text: str | None) -> object:
    """The object; None where there are none to see, ``BAD`` where they cannot be trusted."""
    if text is None:
        return None

    def unique(pairs: list) -> dict:
        names = [name for name, _ in pairs]
        if sorted(names) != sorted(set(names)):
            raise ValueError
        return dict(pairs)

    def finite(digits: str, kind: type[Fraction] = Fraction) -> Fraction:
        if abs(Fraction(digits)) >= 2**1024:
            raise ValueError
        return kind(digits)

    def no(word: str) -> None:
        raise ValueError(word)

    try:
        found = json.loads(text, object_pairs_hook=unique, parse_int=finite, parse_float=partial(finite, kind=Written), parse_constant=no)
    except ValueError:
        return BAD
    return found if isinstance(found, dict) else BAD


def clause_holds(clause: Clause, root: dict, *, wide: bool) -> bool:
    """By the documented table; numbers as fractions, so that nothing is rounded."""
    found = root
    for step in re.findall(r"\.([^.\[]+)|\[(\d+)\]", clause.path):
        name, place = step
        try:
            found = found[name] if name and isinstance(found, dict) else found[int(place)] if not name and isinstance(found, list) else ABSENT
        except (KeyError, IndexError):
            found = ABSENT
    value = clause.value
    match clause.op.value:
        case "eq":
            return same(found, value)
        case "in":
            return any(same(found, each) for each in value)
        case "contains":
            return isinstance(found, str) and value in found
        case "regex":
            return isinstance(found, str) and re.search(value, found) is not None
        case "gt":
            return isinstance(found, Fraction) and found > Fraction(value)
        case "lt":
            return isinstance(found, Fraction) and found < Fraction(value)
        case "cidr_match":
            address = ADDRESSES.get(found) if isinstance(found, str) and (wide or found != STRANGE) else None
            return address is not None and ip_address(address) in ip_network(value)
        case "shell_destructive":
            texts = isinstance(found, str) or (isinstance(found, list) and found != [] and all(isinstance(word, str) for word in found))
            return texts and (found in ("rm -rf /", ["rm", "-rf", "/"])) is value
    raise AssertionError(clause.op)


def same(found: object, value: object) -> bool:
    if isinstance(value, bool) or isinstance(found, bool):
        return found is value
    return found == Fraction(value) if isinstance(value, int | float) and isinstance(found, Fraction) else isinstance(value, str) and found == value


# --- Destinations ---------------------------------------------------------------------------------------------------
def goals_of(call: ToolCall, arguments: object) -> list[str | None]:
    """Hosts that the call says it goes to, in the few spellings that these tests draw; None for one that cannot be read."""
    if arguments is BAD:
        return [None]
    return list(_goals("", arguments)) if isinstance(arguments, dict) else []


def _goals(name: str, value: object) -> Iterator[str | None]:
    if isinstance(value, dict):
        for inner, each in value.items():
            said = inner in ("url", "host")
            yield from _goals(inner if said or name not in ("url", "host", "inside") else "inside", each)
    elif isinstance(value, list):
        for each in value:
            yield from _goals(name, each)
    elif isinstance(value, str) and value and (name in ("url", "host") or "://" in value):
        yield HOSTS.get(value)
    elif isinstance(value, str) and name == "inside":
        goal = HOSTS.get(value)
        if goal is not None and "." in goal:
            yield goal
    elif isinstance(value, Fraction) and not isinstance(value, Written) and name in ("url", "host", "inside") and 2**24 <= value < 2**32:
        yield str(ip_address(int(value)))


class Written(Fraction):
    """A number written with a point or an exponent."""


def in_scope(rule: Rule, goals: list[str | None], permits: bool) -> bool:
    allow, deny = rule.egress.allow, rule.egress.deny
    if permits:
        return bool(goals) and all(goal is not None and listed(goal, allow) and not may_be_listed(goal, deny) for goal in goals)
    return any((bool(deny) if goal is None else may_be_listed(goal, deny) and not listed(goal, allow)) for goal in goals)


def may_be_listed(goal: str, entries: tuple[str, ...]) -> bool:
    """A name leads somewhere, and one without a dot is of the inside and may lead to any inner block."""
    return listed(goal, entries) or "0.0.0.0/0" in entries or ("." not in goal and "10.0.0.0/8" in entries)


def listed(goal: str, entries: tuple[str, ...]) -> bool:
    if goal in entries:
        return True
    return goal[0].isdigit() and any("/" in entry and ip_address(goal) in ip_network(entry) for entry in entries)


HOSTS = {
    "http://a.example/x": "a.example",
    "A.Example.": "a.example",
    "ls": "ls",
    "rm": "rm",
    "aXb": "axb",
    "b.example:8080": "b.example",
    "http://10.0.0.1": "10.0.0.1",
    "0xA000001": "10.0.0.1",
    "https://8.8.8.8/q": "8.8.8.8",
    "http://[::ffff:10.0.0.1]/": "10.0.0.1",
    "10.0.0.1": "10.0.0.1",
    "8.8.8.8": "8.8.8.8",
    "::ffff:10.0.0.1": "10.0.0.1",
}
"""What these tests draw, and what each means; whatever else they draw as a host cannot be read."""

#: Those that are an address and nothing else. The last is in a spelling that only rules which stop a call read.
ADDRESSES = {"10.0.0.1": "10.0.0.1", "8.8.8.8": "8.8.8.8", "::ffff:10.0.0.1": "10.0.0.1", "0xA000001": "10.0.0.1"}
STRANGE = "0xA000001"


# --- Sequences ------------------------------------------------------------------------------------------------------
class Past(NamedTuple):
    name: str
    at_ms: int
    is_egress: bool


def completes(chain: Chain, calls: list[Past]) -> bool:
    """Whether the last call ends some chain of these calls: all of them are tried."""
    wanted = [step for step in chain.steps for _ in range(step.min_count)]

    def fits(step: Step, call: Past) -> bool:
        return matches(step.match, call.name, wide=True) and (call.is_egress or not step.egress)

    for chosen in combinations(range(len(calls)), len(wanted)):
        if chosen[-1] != len(calls) - 1 or not all(fits(step, calls[at]) for step, at in zip(wanted, chosen, strict=True)):
            continue
        if not chain.window_seconds or calls[chosen[-1]].at_ms - calls[chosen[0]].at_ms <= chain.window_seconds * 1000:
            return True
    return False
