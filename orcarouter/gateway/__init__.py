"""The hot path: a plain ASGI callable that every call of an agent crosses.

``app`` is the socket in, ``callers`` who asks, ``pipeline`` the order in which things happen, ``upstream`` the socket out, ``state`` all that is
stored (with ``recorder`` for PostgreSQL, ``link`` for Valkey and ``runs`` for what Valkey is asked). ``engine/`` is pure.
"""
