"""What a change of policy would let through that is stopped today: the question before a change that loosens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from firewall.engine.decide import decide
from firewall.engine.glob import TOOL_NAME, Form, parse
from firewall.engine.types import Policy, RunState, Surface, ToolCall

#: A name that no rule spells out; it stands for every tool that only a default or a rule for all tools judges.
UNNAMED = "any-other-tool"
_JUDGED_ON = (Surface.INBOUND, Surface.RESPONSE, Surface.MCP)


def let_through(before: Policy | None, after: Policy | None, seen: Iterable[str] = ()) -> list[str]:
    """Globs and tools that ``before`` stops and ``after`` would not; in the rules' order, the default's share last.

    None is no policy, which stops nothing. Each glob of either policy is
    tried by names that it matches and no other text decides; ``seen`` are tools known by name, which
    find what only the overlap of two globs would let through.
    """
    probes: dict[str, list[str]] = {}
    for policy in (before, after):
        for rule in policy.rules if policy else ():
            probes.setdefault(rule.tool_name_glob, list(_names(rule.tool_name_glob)))
    probes |= {name: [name] for name in seen if name not in probes}
    # Last, and under a name of its own: a rule for every tool is tried by the same probe.
    for every in ("", "*"):
        probes.pop(every, None)
    probes[UNNAMED] = [UNNAMED]
    return [shown for shown, names in probes.items() if any(_loosened(before, after, name) for name in names)]


def _loosened(before: Policy | None, after: Policy | None, name: str) -> bool:
    calls = [ToolCall(surface, name) for surface in _JUDGED_ON]
    return any(decide(before, call, RunState()).blocks and not decide(after, call, RunState()).blocks for call in calls)


def _names(glob: str) -> Iterator[str]:
    """Names a glob matches, made of letters that no other rule is likely to spell."""
    parsed = parse(glob)
    match parsed.form:
        case Form.EVERY:
            candidates = [UNNAMED]
        case Form.EXACT:
            candidates = [parsed.literal]
        case Form.PREFIX:
            candidates = [parsed.literal + UNNAMED]
        case Form.SUFFIX:
            candidates = [UNNAMED + parsed.literal, parsed.literal[1:]]
        case Form.INFIX:
            candidates = [UNNAMED + parsed.literal + UNNAMED]
    return (name for name in candidates if TOOL_NAME.fullmatch(name))
