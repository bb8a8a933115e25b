"""What the firewall does on a timer. Every task may run twice, at any time, on any worker."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from firewall import backtests, tool_services
from workspaces import tenancy
from workspaces.selectors import each_workspace, workspace


@shared_task
def sum_tools(**_: object) -> None:
    """Bring the sums of the tools that were seen up to a minute ago."""
    for each in each_workspace():
        tool_services.sum_tools(each, at=timezone.now())


@shared_task
def sum_tools_again(**_: object) -> None:
    """Sum yesterday anew, for what was recorded late, and let go of days past retention."""
    today = timezone.now().date()
    for each in each_workspace():
        tool_services.sum_again(each, day=today - timedelta(days=1))
        tool_services.forget_tools(each, before=today - timedelta(days=settings.EVENT_RETENTION_DAYS))


@shared_task
def work_at_backtest(*, workspace_id: int, backtest_id: int, **_: object) -> None:
    """Do one piece of a backtest's work; there may be none left."""
    with tenancy.scope(workspace_id):
        found = workspace(workspace_id)
    if found:
        backtests.work(found, backtest_id, clock=timezone.now)


@shared_task
def sweep_backtests(**_: object) -> None:
    """Go on with backtests whose worker was killed, or whose message was lost."""
    for each in each_workspace():
        backtests.sweep(each, at=timezone.now())
