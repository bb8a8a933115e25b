"""Reads across apps: ``runs`` (lists and timelines), ``totals`` (figures over time), ``finds`` (search), ``start`` (the first steps)."""
