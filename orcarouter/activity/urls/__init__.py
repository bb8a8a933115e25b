"""``api`` is included under ``/api/``, ``console`` at ``/`` in the namespace ``console``."""
