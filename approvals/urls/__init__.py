"""Where holds are: ``api`` under ``/api/``, ``console`` at ``/``."""
