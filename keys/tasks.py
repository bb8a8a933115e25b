"""What keys do later or on a timer. Every task may run twice."""

from datetime import datetime

from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone

from keys import budget_selectors, budget_services, selectors, services
from keys.engine import token
from workspaces import tenancy
from workspaces.selectors import each_workspace


@shared_task
def tell_of_reveal(*, workspace_id: int, key_id: int, revealed_by: str, at: str, **_: object) -> None:
    """Write to the person who made a key that it was read again. A key that is gone meanwhile, or has no maker, tells nobody."""
    with tenancy.scope(workspace_id):
        key = selectors.key_with_creator(workspace_id, key_id)
    if key is None or key.created_by is None:
        return
    # A line break would begin another header, which Django refuses: then nobody would be told.
    name = "".join(char if char.isprintable() else " " for char in key.name)
    moment = f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC"
    text = (
        f"{revealed_by} revealed the key {name} ({token.mask(key.token_start, key.token_end)}) of the workspace {key.workspace.name} at {moment}.\n\n"
        "If this was not expected, disable the key in the console and make a new one."
    )
    send_mail(f"The key {name} was revealed", text, settings.DEFAULT_FROM_EMAIL, [key.created_by.email])


@shared_task
def watch_budgets(**_: object) -> None:
    """Tell Admins, and whose it is, of budgets that came to 50, 80 or 100 percent: each once a month, however often this runs."""
    for workspace in each_workspace():
        at = timezone.now()
        with tenancy.scope(workspace.pk):
            budget_services.note_thresholds(workspace, at=at)
        with tenancy.scope(workspace.pk):
            claimed = budget_services.claim(workspace, at=at)
            states = {state.budget.pk: state for state in budget_selectors.states(workspace, at=at)} if claimed else {}
            addresses = {notice.pk: [person.email for person in budget_selectors.told(workspace, notice.budget)] for notice in claimed}
        for notice in claimed:
            # Outside any transaction: a mail server may be slow.
            state = states.get(notice.budget_id)
            has_left = state is not None and budget_services.tell(workspace.name, state, notice, addresses[notice.pk])
            with tenancy.scope(workspace.pk):
                budget_services.end_claim(workspace, notice, told_at=timezone.now() if has_left else None)


@shared_task
def note_last_use(**_: object) -> None:
    """Keep each key's last use with the key, before the usage rows that show it pass retention."""
    for workspace in each_workspace():
        with tenancy.scope(workspace.pk):
            services.note_last_use(workspace, at=timezone.now())
