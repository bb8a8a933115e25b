"""Where keys and providers are: ``api`` under ``/api/``, ``console`` at ``/``."""
