"""Reads of policies, settings and events."""

from firewall.selectors.events import MOST_OF_A_REQUEST, PARAMS, VERDICTS, EventFilter, event_filter, event_page, event_place, events_of_request, moment_asked
from firewall.selectors.policies import (
    DAYS_SHOWN,
    compared,
    compiled,
    denied_per_day,
    paths_seen,
    policies,
    settings_of,
    strictest_cap,
    tools_seen,
    version_of,
    versions,
    would_have_blocked,
)

__all__ = [
    "DAYS_SHOWN",
    "MOST_OF_A_REQUEST",
    "PARAMS",
    "VERDICTS",
    "EventFilter",
    "compared",
    "compiled",
    "denied_per_day",
    "event_filter",
    "event_page",
    "event_place",
    "events_of_request",
    "moment_asked",
    "paths_seen",
    "policies",
    "settings_of",
    "strictest_cap",
    "tools_seen",
    "version_of",
    "versions",
    "would_have_blocked",
]
