"""Three levels of how much an agent may do by itself. Source: spec/firewall.md 8.1, spec/decisions.md 6.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firewall.engine.presets import DESTRUCTIVE_COMMANDS, INSIDE_ADDRESSES, SECRETS_IN_ARGUMENTS, SHELL_BY_NAME, Fields, rule
from firewall.engine.templates import PRIORITY_STEP

_FETCH_TOOLS = (
    *("fetch", "fetch.*", "*.fetch", "http.*", "*.http.*", "http_fetch", "fetch_url", "request", "requests.*", "web_search", "web_fetch", "url_context"),
    *("curl", "wget", "download.*", "*.download"),
)
_FETCHES = tuple(
    rule("deny", f"No fetching ({tool})", "Stops tools that reach any address they are given, by their usual names.", tool=tool) for tool in _FETCH_TOOLS
)


@dataclass(frozen=True, slots=True)
class Level:
    """``default_verdict`` None: no policy is in force, calls are only observed."""

    name: str
    description: str
    default_verdict: str | None
    observe_mode: bool
    rules: tuple[Fields, ...] = ()

    @property
    def policy_name(self) -> str:
        """Of the policy that the level makes."""
        return f"autonomy_{self.name}"


def _placed(rules: tuple[Fields, ...]) -> tuple[Fields, ...]:
    return tuple(MappingProxyType({**each, "priority": place * PRIORITY_STEP}) for place, each in enumerate(rules, start=1))


LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        each.name: each
        for each in (
            Level(
                "tight",
                "Only what a rule allows goes on, and no rule allows anything yet: add rules for the tools that your agents need.",
                "deny",
                False,
                _placed((*SHELL_BY_NAME, *_FETCHES, *DESTRUCTIVE_COMMANDS, *INSIDE_ADDRESSES, *SECRETS_IN_ARGUMENTS)),
            ),
            Level(
                "balanced",
                "Commands that destroy something are stopped. All else goes on and is marked for audit: a good level to begin with.",
                "audit",
                False,
                _placed(DESTRUCTIVE_COMMANDS),
            ),
            Level("permissive", "Nothing is judged: no policy is in force, and every call is only observed.", None, True),
        )
    }
)
