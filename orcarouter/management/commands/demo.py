"""`manage.py demo`: an agent plays stories against the running stack, and what the gateway did is read back and checked."""

import logging
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orcarouter.demo.stories import KEY, MODEL, POLICY, RULES, STORIES

RUNAWAY, PAYMENT = "runaway", "payment"
#: Seconds that a person at a terminal has for a decision.
PATIENCE_SECONDS = 120


class Command(BaseCommand):
    help = "Let an agent on the openai SDK play stories against a running OrcaRouter. Exits 1 if one does not end as it should."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("story", nargs="*", choices=[[], *(story.slug for story in STORIES), RUNAWAY, PAYMENT], help="which ones; all unless told")
        parser.add_argument("--wait", type=int, default=None, metavar="SECONDS", help="how long the payment waits for you; 120 at a terminal, else not at all")

    def handle(self, *args: Any, story: list[str], wait: int | None = None, **options: Any) -> None:
        try:
            import openai
        except ImportError as error:
            raise CommandError("The demo needs the openai SDK, which comes with requirements-dev.lock: make demo") from error
        # They need the SDK, which an installation without the development libraries does not have.
        from orcarouter.demo import payment, runaway
        from orcarouter.demo.installation import Installation, NotReady, Refused
        from orcarouter.demo.play import play
        from orcarouter.demo.screen import Screen

        # The SDK's HTTP client tells of each request; here the screen does.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        chosen = [each for each in STORIES if not story or each.slug in story]
        try:
            installation = Installation.found(settings.DATA_DIR)
            policy = installation.policy()
            key = installation.key(policy, settings.DATA_DIR / "demo-key")
            screen = Screen(self.stdout)
            self._introduce(screen, installation.url)
            problems = []
            for place, each in enumerate(chosen, 1):
                screen.heading(f"{place} of {len(chosen)}", each.title)
                screen.prose(each.about)
                problems += play(each, installation=installation, key=key, screen=screen)
            if not story or RUNAWAY in story:
                screen.heading("and", "An agent in a loop")
                screen.prose("Nobody watches it, and each round asks with all that was said before. The rule lets one run cost a cent.")
                capped = installation.policy(runaway.POLICY, runaway.RULES)
                of_runaway = installation.key(capped, settings.DATA_DIR / "demo-runaway-key", runaway.KEY_NAME)
                problems += runaway.play(installation=installation, key=of_runaway, screen=screen)
            if not story or PAYMENT in story:
                seconds = wait if wait is not None else PATIENCE_SECONDS if sys.stdout.isatty() else 0
                screen.heading("and", "A payment that waits for a person")
                screen.prose("The rule holds it. Whoever decides reads the call itself; what was approved is what runs, once.")
                problems += payment.play(installation=installation, key=key, screen=screen, wait_seconds=max(0, min(seconds, 600)))
        except NotReady as error:
            raise CommandError(str(error)) from error
        except Refused as error:
            raise CommandError(f"The management API refused: {error}") from error
        except openai.NotFoundError as error:
            raise CommandError(f"The key cannot ask for {MODEL}: it belongs to the demo provider, which comes with the embedded database.") from error
        except openai.APIError as error:
            raise CommandError(f"The gateway failed: {error}") from error
        screen.gap()
        if problems:
            screen.prose("The demo did not end as it should: see NOT SO above.")
            sys.exit(1)
        screen.prose(f"All as it should be. Every decision above is also in the console: {installation.url}/")

    def _introduce(self, screen: Any, url: str) -> None:
        rules = " · ".join(f"{rule['priority']} {rule['tool_name_glob']} {rule['verdict']}" for rule in RULES)
        screen.prose(f"An agent on the official openai SDK talks to {url}/v1 with the key {KEY['name']}. The provider behind it is a demo: no model answers.")
        screen.prose(f"Policy {POLICY['name']}: default {POLICY['default_verdict']} · {rules}")
