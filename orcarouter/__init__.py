"""The composition root: settings, URLs, the gateway, and what reads across apps. It uses every app; nothing imports it.

``gateway/`` is the hot path of an agent's call, ``embedded/`` the databases that come along, ``activity/`` the pages and
routes that join events with usage (overview, runs, traces).
"""
