"""What changed, counted: by kind, tool, key and run, with examples. Parts of a backtest are counted apart and added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from firewall.engine.replay import Event, Offer
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
_PLACES = {name: place for place, name in enumerate(COUNTS)}
_COUNTERFACTUAL, _NOT_REPLAYABLE = _PLACES["counterfactual"], _PLACES["not_replayable"]


def kind_of(before: str, after: str) -> str:
    """How a verdict that is another one is another one."""
    if after == Verdict.DENY:
        return "newly_denied"
    if after == Verdict.PENDING_APPROVAL:
        return "newly_held"
    return "newly_allowed" if before in _STOPPED and after in _LET_ON else "other"


class Tally:
    """Counts of some runs, each by ``of_run``; ``as_json`` is what is kept of them."""

    def __init__(self) -> None:
        self.runs = self.estimated = 0
        self.not_replayable: Counter[str] = Counter()
        self.changes: Counter[tuple[str, str, bool]] = Counter()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._offers: Counter[tuple[tuple[str, ...], str]] = Counter()
        self._tools: dict[str, list[int]] = {}
        self._keys: dict[int | None, _Key] = {}
        self._runs: list[tuple[RunName, list[int]]] = []
        self._examples: dict[str, list[dict]] = {kind: [] for kind in KINDS}
        self._kept: Counter[tuple[str, str | None, bool]] = Counter()

    def of_run(self, run: RunName, token_name: str | None) -> RunTally:
        """Where the run's calls are counted; ``end`` it when they are."""
        key = self._keys.get(run[0])
        if key is None:
            key = self._keys[run[0]] = _Key()
        key.token_name = token_name
        return RunTally(self, run, key)

    @property
    def verdicts(self) -> Counter[tuple[str, str]]:
        """Calls by tool ("": the request itself) and what the verdict would be ("": it cannot be told)."""
        found = Counter(self._calls)
        for (names, verdict), times in self._offers.items():
            for name in names:
                found[name, verdict] += times
        return found

    def _tool(self, tool: str) -> list[int]:
        line = self._tools.get(tool)
        if line is None:
            tool = tool if len(self._tools) < MOST_TOOLS else OTHERS
            line = self._tools.setdefault(tool, [0] * len(COUNTS))
        return line

    def _may_be_kept(self, kind: str, name: str | None, is_counterfactual: bool) -> bool:
        """Whether a change is wanted as an example: the first of each tool, and of a kind what surely would have happened."""
        if is_counterfactual and len(self._examples[kind]) >= MOST_EXAMPLES:
            return False
        return self._kept[kind, name, is_counterfactual] < MOST_OF_A_TOOL

    def _keep(self, kind: str, example: dict[str, Any]) -> None:
        kept = self._examples[kind]
        kept.append(example)
        self._kept[kind, example["tool_name"], example["counterfactual"]] += 1
        if len(kept) > 2 * MOST_EXAMPLES:
            self._examples[kind] = _best(kept)

    def _end(self, run: RunName, counts: list[int]) -> None:
        self.runs += 1
        if any(counts):
            self._runs.append((run, counts))
            if len(self._runs) > 50 * MOST_LINES:
                self._runs = _largest(self._runs)

    def as_json(self) -> dict:
        calls: Counter[str] = Counter()
        for (tool, _), count in self.verdicts.items():
            calls[tool] += count
        return {
            "calls": sum(key.calls for key in self._keys.values()),
            "counterfactual": sum(key.counterfactual for key in self._keys.values()),
            "estimated": self.estimated,
            "runs": self.runs,
            "not_replayable": dict(self.not_replayable),
            "changes": [[*change, count] for change, count in self.changes.items()],
            "tools": [[tool, calls[tool], counts] for tool, counts in self._tools.items()],
            "keys": [[key_id, key.token_name, key.calls, key.counts] for key_id, key in self._keys.items() if key.calls],
            "by_run": [[*name, self._keys[name[0]].token_name, counts] for name, counts in _largest(self._runs)],
            "examples": {kind: _best(kept) for kind, kept in self._examples.items()},
        }


@dataclass(slots=True)
class _Key:
    """What is counted of one key."""

    token_name: str | None = None
    calls: int = 0
    counterfactual: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))


class _Change(NamedTuple):
    name: str | None
    before: str
    after: str
    decision: Decision | None
    is_counterfactual: bool


class RunTally:
    """The calls of one run, as they are judged again."""

    __slots__ = ("_counts", "_key", "_of", "_run")

    def __init__(self, of: Tally, run: RunName, key: _Key) -> None:
        self._of, self._run, self._key, self._counts = of, run, key, [0] * len(COUNTS)

    def count(self, name: str | None, verdict: str, is_counterfactual: bool) -> None:
        """A call, or a request (``name`` None), that comes to this verdict, whatever the policy."""
        key = self._key
        key.calls += 1
        key.counterfactual += is_counterfactual
        self._of._calls[name or "", verdict] += 1

    def judged(self, event: Event, place: int, name: str | None, after: str, decision: Decision | None, is_counterfactual: bool) -> None:
        """A call, or a request (``name`` None), that comes to this verdict by this decision. ``place`` is the tool's in the event."""
        if after == event.verdict:
            self.count(name, after, is_counterfactual)
        else:
            self._changed(event, place, name, after, decision, is_counterfactual)

    def offered(self, event: Event, offer: Offer, is_counterfactual: bool) -> None:
        """The tools of one request, judged at once."""
        key, same = self._key, offer.same
        if same:
            key.calls += len(same)
            key.counterfactual += len(same) if is_counterfactual else 0
            self._of._offers[same, event.verdict] += 1
        for place, name, decision in offer.changed:
            self._changed(event, place, name, decision.verdict, decision, is_counterfactual)

    def unknown(self, name: str, why: str, is_counterfactual: bool) -> None:
        """A call that cannot be judged again, for want of ``why``."""
        self.count(name, "", is_counterfactual)
        self._of.not_replayable[why] += 1
        self._note(name, _NOT_REPLAYABLE)

    def _changed(self, event: Event, place: int, name: str | None, after: str, decision: Decision | None, is_counterfactual: bool) -> None:
        change = _Change(name, event.verdict, after, decision, is_counterfactual)
        if self._is_wanted(change):
            of = {"event_id": str(event.id), "place": place if len(event.tools) > 1 else None, "surface": event.surface, "at_ms": event.at_ms}
            self._keep(change, of)

    def refused(self, request_id: str, at_ms: int, decision: Decision, is_counterfactual: bool) -> None:
        """A request that was let in and would not be."""
        change = _Change(None, Verdict.ALLOW, Verdict.DENY, decision, is_counterfactual)
        if self._is_wanted(change):
            self._keep(change, {"event_id": None, "place": None, "surface": "inbound", "at_ms": at_ms, "request_id": request_id})

    def end(self) -> None:
        """All of the run is counted."""
        self._of._end(self._run, self._counts)

    def _is_wanted(self, change: _Change) -> bool:
        """Count a change; whether it may be an example."""
        name, before, after, _, is_counterfactual = change
        kind = kind_of(before, after)
        self.count(name, after, is_counterfactual)
        self._of.changes[str(before), str(after), is_counterfactual] += 1
        self._note(name or "", _PLACES[kind])
        if is_counterfactual:
            self._note(name or "", _COUNTERFACTUAL)
        return self._of._may_be_kept(kind, name, is_counterfactual)

    def _keep(self, change: _Change, of: dict[str, Any]) -> None:
        name, before, after, decision, is_counterfactual = change
        said: dict[str, object] = {"reason": "nothing refuses the request", "rule_id": None, "rule_label": None}
        if decision is not None:
            said = {"reason": decision.reason[:500], "rule_id": decision.rule_id, "rule_label": decision.rule_label or None}
        run = {"run_id": self._run[1], "key_id": self._run[0], "token_name": self._key.token_name}
        said |= {"tool_name": name, "before": str(before), "after": str(after), "counterfactual": is_counterfactual}
        self._of._keep(kind_of(before, after), of | run | said)

    def _note(self, tool: str, place: int) -> None:
        self._counts[place] += 1
        self._key.counts[place] += 1
        self._of._tool(tool)[place] += 1


def _size(counts: Mapping[str, int]) -> int:
    return sum(counts.get(kind, 0) for kind in KINDS)


def _largest(runs: list[tuple[RunName, list[int]]]) -> list[tuple[RunName, list[int]]]:
    return sorted(runs, key=lambda each: (-sum(each[1][: len(KINDS)]), -each[1][_NOT_REPLAYABLE], str(each[0])))[:MOST_LINES]


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
