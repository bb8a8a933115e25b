"""What a relay key permits, computed from plain values.

``token`` has the form of a key and its mask, ``scope`` judges a call against a key's limits, ``grant`` is everything the
gateway needs to serve one key. No clock, no I/O, no Django.
"""
