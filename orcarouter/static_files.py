"""Static files as they are served: gathered in one folder, each with its compressed twin."""

from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from servestatic.compress import Compressor

#: What libraries bring along and no page of ours names.
LEFT_OUT = ["*.map", "rest_framework", "redoc", "account", "django_htmx"]


def gather() -> None:
    """Bring ``STATIC_ROOT`` up to date. Only what changed is copied and compressed, so a later start does next to nothing."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=LEFT_OUT)
    # Gzip alone: every browser takes it, and the first start of a machine does not wait for it.
    compressor = Compressor(use_brotli=False, use_zstd=False, quiet=True)
    for path in settings.STATIC_ROOT.rglob("*"):
        if path.is_file() and compressor.should_compress(path.name) and _is_stale(path.with_name(path.name + ".gz"), path):
            compressor.compress(path)


def _is_stale(twin: Path, path: Path) -> bool:
    return not twin.exists() or twin.stat().st_mtime < path.stat().st_mtime
