"""Telling Admins, and whose budget it is, how far it is used: each part of it once a month, whoever looks and however often."""

import logging
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q

from keys import budget_selectors
from keys.budget_selectors import THRESHOLDS, BudgetState
from keys.engine.words import usd
from keys.models import BudgetNotice
from workspaces.models import Workspace

logger = logging.getLogger(__name__)

#: Writing to a mail server takes less; whoever has not said by then that the letter left is dead.
CLAIM_SECONDS = 300


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
    """Notes of which nobody was told yet, for ``CLAIM_SECONDS`` the caller's alone. A worker that dies meanwhile leaves them to the next."""
    found = []
    untold = workspace.budget_notices.filter(Q(claimed_at=None) | Q(claimed_at__lt=at - timedelta(seconds=CLAIM_SECONDS)), told_at=None)
    for notice in untold.select_related("budget__member")[:100]:
        # Won by the row count: two workers at once send one letter.
        if untold.filter(pk=notice.pk).update(claimed_at=at):
            found.append(notice)
    return found


def tell(workspace_name: str, state: BudgetState, notice: BudgetNotice, addresses: list[str]) -> bool:
    """Write to these people; whether the letter left."""
    told = f"{notice.percent} % of {state.whose} budget is spent"
    effect = "Every further call that draws on it is refused until then." if notice.percent >= 100 else "Calls go on."
    said = (
        f"{usd(state.balance.spent_micro_usd)} of {usd(state.budget.limit_micro_usd)} of {state.whose} monthly budget are spent. "
        f"The next month begins at {state.resets_at:%Y-%m-%d %H:%M} UTC. {effect}"
    )
    if notice.month != state.month:
        said = f"{notice.percent} % of {state.whose} budget for {notice.month:%B %Y} were spent by the end of that month."
    text = f"In the workspace {workspace_name}, {said}\n\nBudgets are under Keys in the console."
    subject = "".join(char if char.isprintable() else " " for char in f"{workspace_name}: {told}")
    try:
        send_mail(subject, text, settings.DEFAULT_FROM_EMAIL, addresses)
    except (OSError, SMTPException) as error:
        logger.warning("budget_notice_not_sent", extra={"error": type(error).__name__})
        return False
    return True


def end_claim(workspace: Workspace, notice: BudgetNotice, *, told_at: datetime | None) -> None:
    """The letter left, or (None) it did not, and the next look tries again."""
    workspace.budget_notices.filter(pk=notice.pk).update(claimed_at=None, told_at=told_at)
