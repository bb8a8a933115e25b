"""Calls of one run that follow one another: ``{"window_seconds": 300, "steps": [{"match": "db.*", "min_count": 3}, {"match": "*", "egress": true}]}``.

The steps come in order, other calls may lie between, and the whole chain within the window (0: however long). What is kept of a run is
not its calls but, for each step, when the latest chain that got so far began: a few numbers a rule, exact however long the run. By
default a completed chain is reported afterwards; with ``"enforce": "inline"`` the call that would complete it gets the rule's verdict.
Source: spec/firewall.md 2.8, spec/decisions.md 6.12.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from firewall.engine.glob import MAX_GLOB_CHARS, TOOL_NAME, Glob, parse

MAX_STEPS = 10
#: Of all steps together.
MAX_COUNT = 100
MAX_WINDOW_SECONDS = 30 * 86_400
#: Names remembered per chain.
MEMO_NAMES = 64

Progress = tuple[int | None, ...]
"""For each counted call of the chain in turn: when (ms) the latest chain that got so far began; None if none did."""


@dataclass(frozen=True, slots=True)
class Step:
    match: str
    min_count: int = 1
    egress: bool = False


@dataclass(frozen=True)
class Chain:
    window_seconds: int
    steps: tuple[Step, ...]
    is_inline: bool = False

    def as_json(self) -> dict:
        steps = [{"match": step.match, "min_count": step.min_count, "egress": step.egress} for step in self.steps]
        return {"window_seconds": self.window_seconds, "steps": steps} | ({"enforce": "inline"} if self.is_inline else {})

    @property
    def shown(self) -> str:
        """``db.* ×3 → * (egress)``"""
        each = (f"{step.match or '*'}{f' ×{step.min_count}' if step.min_count > 1 else ''}{' (egress)' if step.egress else ''}" for step in self.steps)
        return " → ".join(each)

    @cached_property
    def key(self) -> str:
        """Names the chain by what it says: an edited chain begins anew."""
        said = [self.window_seconds, [[step.match, step.min_count, step.egress] for step in self.steps]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    @cached_property
    def _units(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps for _ in range(step.min_count))

    @cached_property
    def _none(self) -> Progress:
        return (None,) * len(self._units)

    @cached_property
    def _globs(self) -> dict[str, Glob]:
        return {step.match: parse(step.match) for step in self.steps}

    @cached_property
    def _places(self) -> Callable[[str], tuple[int, ...]]:
        # The same few tools are called again and again. No name is kept that no tool may have, as those have any length.
        known = lru_cache(maxsize=MEMO_NAMES)(self._fitting)
        return lambda name: known(name) if len(name) <= MAX_GLOB_CHARS else self._fitting(name)

    def _fitting(self, name: str) -> tuple[int, ...]:
        """The places among the counted calls that a call of this name may take, the last first."""
        fits = {text for text, glob in self._globs.items() if glob.matches(name, wide=True)}
        return tuple(place for place in range(len(self._units) - 1, -1, -1) if self._units[place].match in fits)

    def has_step(self, name: str) -> bool:
        """Whether a call of this name may be a step of the chain."""
        return bool(self._places(name))

    def ends_with(self, name: str) -> bool:
        """Whether a call of this name may complete the chain."""
        return len(self._units) - 1 in self._places(name)[:1]

    def advance(self, progress: Progress, name: str, *, is_egress: Callable[[], bool], at_ms: int) -> tuple[Progress, bool]:
        """The progress after a call, and whether that call completes the chain.

        ``is_egress`` is asked only if the chain has come to a step where it matters: to answer it the call's arguments are read.
        """
        units = self._units
        began = progress if len(progress) == len(units) else self._none
        oldest = at_ms - self.window_seconds * 1000 if self.window_seconds else None
        moved: list[int | None] | None = None
        completes = False
        # From the last to the first, each by what was before the call: one call is one step of a chain.
        for place in self._places(name):
            start = at_ms if place == 0 else began[place - 1]
            if start is None or (oldest is not None and start < oldest) or (units[place].egress and not is_egress()):
                continue
            completes = completes or place == len(units) - 1
            latest = began[place]
            if latest is None or latest < start:
                moved = moved or list(began)
                moved[place] = start
        return tuple(moved) if moved else began, completes


def read(spec: Mapping) -> Chain:
    """The chain of a decoded ``sequence`` without ``objections``."""
    steps = tuple(Step(step.get("match", ""), step.get("min_count", 1), step.get("egress", False)) for step in spec.get("steps", ()))
    return Chain(spec.get("window_seconds", 0), steps, spec.get("enforce") == "inline")


def objections(spec: object) -> list[tuple[str, str]]:
    """What is wrong with a decoded ``sequence``: (path within it, message)."""
    if not isinstance(spec, Mapping):
        return [("", "An object with window_seconds and steps.")]
    found = [(str(name), "There is no such field.") for name in spec if name not in ("window_seconds", "steps", "enforce")]
    window = spec.get("window_seconds", 0)
    if type(window) is not int or not 0 <= window <= MAX_WINDOW_SECONDS:
        found.append(("window_seconds", f"A whole number of seconds from 0 (no limit) to {MAX_WINDOW_SECONDS}."))
    if spec.get("enforce") not in (None, "", "inline"):
        found.append(("enforce", "inline, or nothing: then the chain is reported afterwards."))
    steps = spec.get("steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= MAX_STEPS:
        return [*found, ("steps", f"A list of 1 to {MAX_STEPS} steps.")]
    for place, step in enumerate(steps):
        found += [(f"steps[{place}]{'.' if name else ''}{name}", message) for name, message in _step_objections(step)]
    if not found and sum(step.get("min_count", 1) for step in steps) > MAX_COUNT:
        found.append(("steps", f"The counts of all steps together are at most {MAX_COUNT}."))
    return found


def _step_objections(step: object) -> list[tuple[str, str]]:
    if not isinstance(step, Mapping):
        return [("", "A step is an object with match, and perhaps min_count and egress.")]
    found = [(str(name), "There is no such field.") for name in step if name not in ("match", "min_count", "egress")]
    match = step.get("match", "")
    if not isinstance(match, str) or len(match) > MAX_GLOB_CHARS or (match.replace("*", "") and not TOOL_NAME.fullmatch(match.replace("*", ""))):
        found.append(("match", f"A tool glob of at most {MAX_GLOB_CHARS} characters, such as db.* or *."))
    count = step.get("min_count", 1)
    if type(count) is not int or not 0 < count <= MAX_COUNT:
        found.append(("min_count", f"A whole number from 1 to {MAX_COUNT}."))
    if not isinstance(step.get("egress", False), bool):
        found.append(("egress", "True or false."))
    return found
