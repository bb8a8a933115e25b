"""``/api/workspace/firewall/``: policies, rules, settings and the event feed, as JSON."""
