"""A second, naive reading of the firewall's rules to hold the engine against.

Written from the specification's tables alone: it spells every reading of a name
out, walks every rule, and shares nothing with the engine but its value types.
Exponential in the underscores of a name, so for short names only.
"""

from itertools import groupby
from string import ascii_letters, digits

from firewall.engine.types import Policy, Rule, ToolCall

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


def judge(policy: Policy, call: ToolCall) -> tuple[str, int | None, bool]:
    """Verdict, rule id, and whether shadow mode took the effect away."""
    verdict, rule_id = _judge_in_force(policy, call)
    return ("audit", rule_id, True) if policy.shadow_mode and verdict == "deny" else (verdict, rule_id, False)


def _judge_in_force(policy: Policy, call: ToolCall) -> tuple[str, int | None]:
    if not 1 <= len(call.name) <= 128 or set(call.name) - NAME_CHARACTERS or call.surface.value == "egress":
        # These calls say nothing of where they go.
        return "deny", None
    waiting: list[Rule] = list(policy.rules)
    while waiting:
        rule = min(waiting, key=lambda rule: (rule.priority, rule.id))
        waiting.remove(rule)
        on_surface = rule.stage is None or rule.stage.value == call.surface.value
        if rule.enabled and on_surface and matches(rule.tool_name_glob, call.name, wide=rule.verdict.value == "deny"):
            return rule.verdict.value, rule.id
    return policy.default_verdict.value, None
