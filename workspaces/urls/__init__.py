"""Routes of the ground floor: ``api`` under ``/api/``, ``console`` at ``/``, ``account`` under ``/account/``."""
