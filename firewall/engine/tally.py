"""What changed, counted: by kind, tool, key and run, with examples. Parts of a backtest are counted apart and added up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from firewall.engine.replay import Event
from firewall.engine.types import Decision, Verdict

RunName = tuple[int | None, str | None]
"""Key and id: the same id under another key is another run."""

KINDS = ("newly_denied", "newly_allowed", "newly_held", "other")
#: Lines of each breakdown, and examples of each kind.
MOST_LINES, MOST_EXAMPLES = 20, 10
#: Examples of one tool, of each kind: the first, so that a busy tool leaves room for others.
MOST_OF_A_TOOL = 3
#: Tools that are told apart in one part; callers make the names.
MOST_TOOLS = 2_000
OTHERS = "\0others"
_STOPPED = (Verdict.DENY, Verdict.PENDING_APPROVAL)
_LET_ON = (Verdict.ALLOW, Verdict.AUDIT, Verdict.OBSERVE)
#: The counts of a line, in their order.
COUNTS = (*KINDS, "counterfactual", "not_replayable")


def kind_of(before: str, after: str) -> str:
    """How a verdict that is another one is another one."""
    if after == Verdict.DENY:
        return "newly_denied"
    if after == Verdict.PENDING_APPROVAL:
        return "newly_held"
    return "newly_allowed" if before in _STOPPED and after in _LET_ON else "other"


class Tally:
    """Counts of some runs; ``as_json`` is what is kept of them."""

    def __init__(self) -> None:
        self.calls = self.counterfactual = self.estimated = self.runs = 0
        #: By tool ("": the request itself) and what the verdict would be.
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.not_replayable: Counter[str] = Counter()
        self.changes: Counter[tuple[str, str, bool]] = Counter()
        self._of_key: Counter[int | None] = Counter()
        self._names: dict[int | None, str | None] = {}
        self._tools: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._keys: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
        self._run: Counter[str] = Counter()
        self._runs: list[tuple[RunName, Counter[str]]] = []
        self._examples: dict[str, list[dict]] = {kind: [] for kind in KINDS}

    def same(self, event: Event, name: str | None, is_counterfactual: bool) -> None:
        self._count(event, name, event.verdict, is_counterfactual)

    def unknown(self, event: Event, name: str, why: str, is_counterfactual: bool) -> None:
        """A call that cannot be judged again, for want of ``why``."""
        self._count(event, name, "", is_counterfactual)
        self.not_replayable[why] += 1
        self._note(name, event.key_id, ("not_replayable",))

    def changed(self, event: Event, place: int, name: str | None, after: str, decision: Decision | None, is_counterfactual: bool) -> None:
        """A call, or a request (``name`` None), with another verdict. ``place`` is the tool's in the event."""
        self._count(event, name, after, is_counterfactual)
        of = {"event_id": str(event.id), "place": place if len(event.tools) > 1 else None, "run_id": event.run_id, "key_id": event.key_id}
        self._change(
            of | {"token_name": event.token_name, "surface": event.surface, "at_ms": event.at_ms}, name, event.verdict, after, decision, is_counterfactual
        )

    def refused(self, run: RunName, request_id: str, at_ms: int, decision: Decision, is_counterfactual: bool) -> None:
        """A request that was let in and would not be."""
        self.calls += 1
        self.counterfactual += is_counterfactual
        self._of_key[run[0]] += 1
        self.verdicts["", Verdict.DENY] += 1
        of = {"event_id": None, "place": None, "run_id": run[1], "key_id": run[0], "token_name": self._names.get(run[0]), "surface": "inbound"}
        self._change(of | {"at_ms": at_ms, "request_id": request_id}, None, Verdict.ALLOW, Verdict.DENY, decision, is_counterfactual)

    def end(self, run: RunName) -> None:
        """All of a run is counted."""
        self.runs += 1
        if self._run:
            self._runs.append((run, self._run))
            self._run = Counter()
            if len(self._runs) > 50 * MOST_LINES:
                self._runs = _largest(self._runs)

    def _count(self, event: Event, name: str | None, after: str, is_counterfactual: bool) -> None:
        self.calls += 1
        self.counterfactual += is_counterfactual
        self.verdicts[name or "", after] += 1
        self._of_key[event.key_id] += 1
        self._names[event.key_id] = event.token_name

    def _change(self, of: dict[str, Any], name: str | None, before: str, after: str, decision: Decision | None, is_counterfactual: bool) -> None:
        kind = kind_of(before, after)
        self.changes[str(before), str(after), is_counterfactual] += 1
        self._note(name or "", of["key_id"], (kind, "counterfactual") if is_counterfactual else (kind,))
        kept = self._examples[kind]
        if sum(each["tool_name"] == name for each in kept) >= MOST_OF_A_TOOL or (is_counterfactual and len(kept) >= MOST_EXAMPLES):
            return
        said: dict[str, object] = {"reason": "nothing refuses the request", "rule_id": None, "rule_label": None}
        if decision is not None:
            said = {"reason": decision.reason[:500], "rule_id": decision.rule_id, "rule_label": decision.rule_label or None}
        kept.append(of | said | {"tool_name": name, "before": str(before), "after": str(after), "counterfactual": is_counterfactual})
        if len(kept) > 2 * MOST_EXAMPLES:
            self._examples[kind] = _best(kept)

    def _note(self, tool: str, key_id: int | None, counts: tuple[str, ...]) -> None:
        self._run.update(counts)
        self._keys[key_id].update(counts)
        self._tools[tool if tool in self._tools or len(self._tools) < MOST_TOOLS else OTHERS].update(counts)

    def as_json(self) -> dict:
        calls: Counter[str] = Counter()
        for (tool, _), count in self.verdicts.items():
            calls[tool] += count
        return {
            **{name: getattr(self, name) for name in ("calls", "counterfactual", "estimated", "runs")},
            "not_replayable": dict(self.not_replayable),
            "changes": [[*change, count] for change, count in self.changes.items()],
            "tools": [[tool, calls[tool], _counts(counts)] for tool, counts in self._tools.items()],
            "keys": [[key_id, self._names.get(key_id), count, _counts(self._keys[key_id])] for key_id, count in self._of_key.items()],
            "by_run": [[*name, self._names.get(name[0]), _counts(counts)] for name, counts in _largest(self._runs)],
            "examples": {kind: _best(kept) for kind, kept in self._examples.items()},
        }


def _counts(of: Counter[str]) -> list[int]:
    return [of[name] for name in COUNTS]


def _size(counts: Mapping[str, int]) -> int:
    return sum(counts.get(kind, 0) for kind in KINDS)


def _largest(runs: list[tuple[RunName, Counter[str]]]) -> list[tuple[RunName, Counter[str]]]:
    return sorted(runs, key=lambda each: (-_size(each[1]), -each[1]["not_replayable"], str(each[0])))[:MOST_LINES]


def _best(examples: Iterable[dict]) -> list[dict]:
    """What surely would have happened before what follows from it, then the newest; few of a tool."""
    found: list[dict] = []
    tools: Counter[str | None] = Counter()
    for each in sorted(examples, key=lambda each: (each["counterfactual"], -each["at_ms"], str(each["event_id"]))):
        if tools[each["tool_name"]] < MOST_OF_A_TOOL and len(found) < MOST_EXAMPLES:
            tools[each["tool_name"]] += 1
            found.append(each)
    return found


# --- Adding up --------------------------------------------------------------------------------------------------------
def result(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts' counts as one answer: breakdowns with the largest first, at most ``MOST_LINES`` long."""
    total: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    changes: Counter[tuple[str, str, bool]] = Counter()
    tools: dict[str, list] = {}
    keys: dict[int | None, list] = {}
    runs: list[list] = []
    examples: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for part in parts:
        total.update({name: part[name] for name in ("calls", "counterfactual", "estimated", "runs")})
        unknown.update(part["not_replayable"])
        for before, after, is_counterfactual, count in part["changes"]:
            changes[before, after, is_counterfactual] += count
        for tool, calls, counts in part["tools"]:
            _add(tools.setdefault(tool, [tool, 0, [0] * len(COUNTS)]), calls, counts)
        for key_id, name, calls, counts in part["keys"]:
            _add(keys.setdefault(key_id, [{"key_id": key_id, "token_name": name}, 0, [0] * len(COUNTS)]), calls, counts)
        runs += part["by_run"]
        for kind, kept in part["examples"].items():
            examples[kind] += kept
    return {
        **{name: total[name] for name in ("calls", "runs")},
        "changed": changes.total(),
        **_by_kind(changes),
        "counterfactual": {"calls": total["counterfactual"], "changed": sum(count for (_, _, after_change), count in changes.items() if after_change)},
        "not_replayable": {"calls": unknown.total(), **{why: unknown[why] for why in ("arguments", "destinations", "sequence")}},
        "estimated": total["estimated"],
        "by_change": _by_change(changes),
        "by_tool": _lines([{"tool_name": _shown(tool)} | _line(calls, counts) for tool, calls, counts in tools.values()]),
        "by_key": _lines([of | _line(calls, counts) for of, calls, counts in keys.values() if any(counts)]),
        "by_run": _lines([{"run_id": run_id, "key_id": key_id, "token_name": name} | _line(None, counts) for key_id, run_id, name, counts in runs]),
        "examples": {kind: _best(kept) for kind, kept in examples.items()},
    }


def _add(line: list, calls: int, counts: list[int]) -> None:
    line[1] += calls
    line[2] = [one + other for one, other in zip(line[2], counts, strict=True)]


def _line(calls: int | None, counts: list[int]) -> dict[str, Any]:
    return ({} if calls is None else {"calls": calls}) | dict(zip(COUNTS, counts, strict=True))


def _lines(lines: list[dict]) -> list[dict]:
    return sorted(lines, key=lambda line: (-_size(line), -line["not_replayable"], str(list(line.values())[:2])))[:MOST_LINES]


def _shown(tool: str) -> str | None:
    """None: the request itself."""
    return "others" if tool == OTHERS else tool or None


def _by_kind(changes: Counter[tuple[str, str, bool]]) -> dict[str, int]:
    found = dict.fromkeys(KINDS, 0)
    for (before, after, _), count in changes.items():
        found[kind_of(before, after)] += count
    return found


def _by_change(changes: Counter[tuple[str, str, bool]]) -> list[dict]:
    pairs: dict[tuple[str, str], dict] = {}
    for (before, after, is_counterfactual), count in changes.items():
        line = pairs.setdefault((before, after), {"before": before, "after": after, "kind": kind_of(before, after), "calls": 0, "counterfactual": 0})
        line["calls"] += count
        line["counterfactual"] += count if is_counterfactual else 0
    return sorted(pairs.values(), key=lambda line: (-line["calls"], line["before"], line["after"]))
