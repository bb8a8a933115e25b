"""A policy as it is being edited beside the one that is saved, over the same recorded calls: what a rule decides, and whose verdict would be another.

Both are replayed side by side, as a backtest replays one, each with runs of its own; so every call is compared with itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from firewall.engine.backtest import Ledger, Replay, is_no_call
from firewall.engine.replay import Event, Judge, Offer
from firewall.engine.tally import RunName, kind_of
from firewall.engine.types import Decision, Policy, Surface, Verdict

MOST_EXAMPLES = 20


class Call(NamedTuple):
    """A call whose verdict is another, or that the rule decides; ``name`` None: the request itself. ``place`` is the tool's in the event."""

    event: Event
    place: int
    name: str | None
    before: str
    after: str

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.event.at_ms / 1000, UTC)


@dataclass(slots=True)
class Preview:
    """``own`` and ``own_before`` count what the watched rule decides, by verdict: as edited and as saved.

    ``changes`` are by kind, see ``tally.kind_of``. Of ``unknown`` calls that the rule may be about too little was kept to tell the verdict.
    """

    calls: int = 0
    unknown: int = 0
    own: Counter[str] = field(default_factory=Counter)
    own_before: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    changed: list[Call] = field(default_factory=list)
    decided: list[Call] = field(default_factory=list)

    @property
    def examples(self) -> list[Call]:
        """Calls that change, then those that the rule decides anyway; the newest runs' first."""
        return [*self.changed, *self.decided][:MOST_EXAMPLES]


Line = tuple[str, int | None]
"""A verdict, "" where it cannot be told, and the rule that gave it."""


class _Heard:
    """What is said of the event that was fed last. ``requests`` are those of its run that would not be let in, by the rule that refuses each."""

    __slots__ = ("estimated", "lines", "offer", "requests")

    def __init__(self) -> None:
        self.estimated = 0
        self.lines: list[Line] = []
        self.offer: Offer | None = None
        self.requests: dict[str, int | None] = {}

    def of_run(self, _run: RunName, _token_name: str | None) -> _Heard:
        return self

    def count(self, _name: str | None, verdict: str, _is_counterfactual: bool) -> None:
        self.lines.append((verdict, None))

    def unknown(self, _name: str, _why: str, _is_counterfactual: bool) -> None:
        self.lines.append(("", None))

    def judged(self, _event: Event, _place: int, _name: str | None, after: str, decision: Decision | None, _is_counterfactual: bool) -> None:
        self.lines.append((after, decision.rule_id if decision else None))

    def offered(self, _event: Event, offer: Offer, _is_counterfactual: bool) -> None:
        self.offer = offer

    def refused(self, request_id: str, _at_ms: int, decision: Decision, _is_counterfactual: bool) -> None:
        self.requests[request_id] = decision.rule_id

    def end(self) -> None:
        """What is said of a run is taken event by event."""

    def taken(self) -> list[Line]:
        """What was said of each tool of the last event, and forgotten."""
        lines = self.lines if self.offer is None else _lines_of(self.offer)
        self.lines, self.offer = [], None
        return lines


def _lines_of(offer: Offer) -> list[Line]:
    return [(decision.verdict, decision.rule_id) for decision in offer.decisions]


def preview(
    edited: Policy,
    saved: Policy,
    events: Iterable[Event],
    *,
    rule_id: int | None,
    ledgers: Mapping[RunName, Ledger] | None = None,
    may_go_on: Callable[[], bool],
) -> Preview:
    """Judge each event by both policies, the newest run first, as long as ``may_go_on``. ``rule_id`` is the watched rule's in both."""
    found, judges = Preview(), (Judge(edited), Judge(saved))
    compare, may_differ = _Comparison(found, rule_id), _may_differ(edited, saved, rule_id)
    for name, run in _by_run(events):
        heard = _Heard(), _Heard()
        ledger = (ledgers or {}).get(name)
        replays = [Replay(judge, ear, name, ledger) for judge, ear in zip(judges, heard, strict=True)]
        for event in run:
            if not may_go_on():
                return compare.finished()
            if not may_differ(event):
                found.calls += 0 if is_no_call(event) else len(event.names)
                continue
            for replay in replays:
                replay.feed(event)
            compare.event(event, *heard)
        for replay in replays:
            replay.close()
        compare.requests(heard[0].requests, heard[1].requests)
    return compare.finished()


def _may_differ(edited: Policy, saved: Policy, rule_id: int | None) -> Callable[[Event], bool]:
    """Whether the policies may say different things of an event.

    Where one rule makes all the difference between them, they say the same of calls that both its forms are silent about; unless what a
    run did before counts for more than what it had spent.
    """
    others = [tuple(rule for rule in policy.rules if rule.id != rule_id) for policy in (edited, saved)]
    same_rest = all(getattr(edited, name) == getattr(saved, name) for name in ("default_verdict", "shadow_mode", "max_runs_per_key_per_hour"))
    lines = [line for policy in (edited, saved) for line in policy.lines if line.rule.id == rule_id]
    if others[0] != others[1] or not same_rest or edited.sequences or saved.sequences or any(line.rule.verdict is Verdict.CAP_COST for line in lines):
        return lambda _: True
    known: dict[tuple[str, str], bool] = {}

    def meets(name: str, surface: str) -> bool:
        found = known.get((name, surface))
        if found is None:
            found = known[name, surface] = any(line.why_silent(name, Surface(surface)) is None for line in lines)
        return found

    return lambda event: not event.names or any(meets(name, event.surface) for name in event.names)


def _by_run(events: Iterable[Event]) -> list[tuple[RunName, list[Event]]]:
    """Each run's events in their order, the run with the newest first."""
    runs: dict[RunName, list[Event]] = {}
    for event in sorted(events, key=lambda event: event.id):
        # What belongs to no run is told apart by its request.
        runs.setdefault((event.key_id, event.run_id or f"\0{event.request_id}"), []).append(event)
    return [((run[-1].key_id, run[-1].run_id), run) for run in sorted(runs.values(), key=lambda run: run[-1].id, reverse=True)]


class _Comparison:
    """Counts into a ``Preview``. Agents offer the same tools again and again: two offers are compared once, and counted as often as they met."""

    def __init__(self, found: Preview, rule_id: int | None) -> None:
        self._found, self._rule_id = found, rule_id
        self._offers: dict[tuple[int, int], tuple[Event, Offer, Offer]] = {}
        self._met: Counter[tuple[int, int]] = Counter()

    def event(self, event: Event, edited: _Heard, saved: _Heard) -> None:
        one, other = edited.offer, saved.offer
        if one is not None and other is not None:
            self._offers.setdefault((id(one), id(other)), (event, one, other))
            self._met[id(one), id(other)] += 1
            edited.offer = saved.offer = None
            return
        self._lines(event, edited.taken(), saved.taken(), 1)

    def finished(self) -> Preview:
        for met, (event, edited, saved) in self._offers.items():
            self._lines(event, _lines_of(edited), _lines_of(saved), self._met[met])
        self._offers.clear()
        return self._found

    def requests(self, edited: Mapping[str, int | None], saved: Mapping[str, int | None]) -> None:
        """Requests of a run that one of the policies would not have let in."""
        found = self._found
        found.changes[kind_of(Verdict.ALLOW, Verdict.DENY)] += len(edited.keys() - saved.keys())
        found.changes[kind_of(Verdict.DENY, Verdict.ALLOW)] += len(saved.keys() - edited.keys())
        for own, refused in ((found.own, edited), (found.own_before, saved)):
            own[Verdict.DENY] += sum(rule_id is not None and rule_id == self._rule_id for rule_id in refused.values())

    def _lines(self, event: Event, edited: list[Line], saved: list[Line], times: int) -> None:
        found, names = self._found, event.names
        for place, ((after, by), (before, by_before)) in enumerate(zip(edited, saved, strict=True)):
            found.calls += times
            found.unknown += times if after == "" else 0
            is_own = by is not None and by == self._rule_id
            if is_own:
                found.own[after] += times
            if by_before is not None and by_before == self._rule_id:
                found.own_before[before] += times
            is_changed = bool(before and after) and before != after
            if is_changed:
                found.changes[kind_of(before, after)] += times
            kept = found.changed if is_changed else found.decided
            if (is_changed or is_own) and len(kept) < MOST_EXAMPLES:
                kept.append(Call(event, place, names[place] if names else None, before, after))
