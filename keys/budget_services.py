"""Telling Admins, and whose budget it is, how far it is used: each part of it once a month, whoever looks and however often."""

import logging
from datetime import datetime
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction

from keys import budget_selectors
from keys.budget_selectors import THRESHOLDS, BudgetState
from keys.engine.words import usd
from keys.models import BudgetNotice
from workspaces.models import Workspace

logger = logging.getLogger(__name__)


@transaction.atomic
def note_thresholds(workspace: Workspace, *, at: datetime) -> int:
    """Note what each budget came to since the last look; how many notes are new. Of several at once only the highest is mailed."""
    noted = 0
    for state in budget_selectors.states(workspace, at=at):
        reached = [percent for percent in THRESHOLDS if percent <= state.percent]
        for percent in reached:
            is_passed = percent != reached[-1]
            _, is_new = workspace.budget_notices.get_or_create(
                budget=state.budget, month=state.month, percent=percent, defaults={"noted_at": at, "told_at": at if is_passed else None}
            )
            noted += is_new
    return noted


def claim(workspace: Workspace, *, at: datetime) -> list[BudgetNotice]:
    """Notes of which nobody was told yet; from now on they count as told."""
    found = []
    for notice in workspace.budget_notices.filter(told_at=None).select_related("budget__member")[:100]:
        # Won by the row count: two workers at once send one letter.
        if workspace.budget_notices.filter(pk=notice.pk, told_at=None).update(told_at=at):
            found.append(notice)
    return found


def tell(workspace_name: str, state: BudgetState, notice: BudgetNotice, addresses: list[str]) -> bool:
    """Write to these people; whether the letter left."""
    told = f"{notice.percent} % of {state.whose} budget is spent"
    effect = "Every further call that draws on it is refused until then." if notice.percent >= 100 else "Calls go on."
    text = (
        f"In the workspace {workspace_name}, {usd(state.balance.spent_micro_usd)} of {usd(state.budget.limit_micro_usd)} of {state.whose} "
        f"monthly budget are spent. The next month begins at {state.resets_at:%Y-%m-%d %H:%M} UTC. {effect}\n\n"
        "Budgets are under Keys in the console."
    )
    subject = "".join(char if char.isprintable() else " " for char in f"{workspace_name}: {told}")
    try:
        send_mail(subject, text, settings.DEFAULT_FROM_EMAIL, addresses)
    except (OSError, SMTPException) as error:
        logger.warning("budget_notice_not_sent", extra={"error": type(error).__name__})
        return False
    return True


def unclaim(workspace: Workspace, notice: BudgetNotice) -> None:
    """The letter did not leave: the next look tries again."""
    workspace.budget_notices.filter(pk=notice.pk).update(told_at=None)
