"""What the ground floor does on a timer. Every task may run twice, at any time, on any worker."""

from celery import shared_task
from celery.signals import worker_shutdown
from django.utils import timezone

from workspaces import audit, selectors, tenancy


@shared_task
def sign_audit_checkpoints(**_: object) -> None:
    """Sign how far each workspace's audit log has come; hourly, and when a worker ends."""
    for workspace in selectors.each_workspace():
        with tenancy.scope(workspace.pk):
            audit.sign_checkpoint(workspace, at=timezone.now())


@worker_shutdown.connect
def _sign_at_the_end(**_: object) -> None:
    sign_audit_checkpoints()
