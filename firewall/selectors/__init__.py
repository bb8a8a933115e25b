"""Reads of policies, settings and events."""

from firewall.selectors.events import MOST_OF_A_REQUEST, PARAMS, VERDICTS, EventFilter, event_filter, event_page, events_of_request
from firewall.selectors.policies import compiled, policies, settings_of

__all__ = ["MOST_OF_A_REQUEST", "PARAMS", "VERDICTS", "EventFilter", "compiled", "event_filter", "event_page", "events_of_request", "policies", "settings_of"]
