"""`manage.py up`, `serve` and what else an operator types."""
