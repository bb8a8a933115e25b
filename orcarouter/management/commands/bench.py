"""`manage.py bench`: what a call costs, side by side with nginx."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Measure speed on private servers in a temporary folder, print the table, leave a JSON file in the data folder."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        length = parser.add_mutually_exclusive_group()
        length.add_argument("--quick", dest="plan", action="store_const", const="quick", help="only see that it runs (20 s); the figures mean little")
        length.add_argument("--long", dest="plan", action="store_const", const="long", help="more rounds, and 200,000 calls for the memory (20 min)")
        parser.set_defaults(plan="default")

    def handle(self, *args: Any, plan: str, **options: Any) -> None:
        # Anew: these settings name the user's own data, and a process reads them only once.
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, [sys.executable, "-m", "orcarouter.bench", "--plan", plan, "--out", str(settings.DATA_DIR / "bench")])  # noqa: S606
