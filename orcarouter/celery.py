"""The Celery application: JSON only, and the closed list of tasks that the apps define."""

import gc
import os

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orcarouter.settings")

app = Celery("orcarouter")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["workspaces", "firewall", "keys", "approvals", "orcarouter"])


@setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Celery leaves logging alone when somebody listens here: one line format for every process."""


@worker_process_init.connect
def _keep_what_was_loaded(**_: object) -> None:
    """What is loaded by now stays: the garbage collector need not look through it in the midst of a backtest."""
    gc.collect()
    gc.freeze()


@worker_ready.connect
def _beat_at_once(**_: object) -> None:
    """The schedule's first heartbeat is seconds away, and until then nobody knows of this worker."""
    app.tasks["orcarouter.tasks.heartbeat"].delay()
