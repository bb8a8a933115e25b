"""What people are told: one text for mail and one for chat, of one hold or of several. Links lead to the sign-in; they decide nothing.

Names come from agents and models: they are shown without line breaks and mark-up, and no arguments are told at all.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.urls import reverse

from workspaces.models import Workspace

#: Holds that a digest tells one by one; of the others it says how many they are.
MOST_TOLD = 10
MAX_NAME = 120


@dataclass(frozen=True, slots=True)
class Notice:
    subject: str
    text: str
    #: The body for a Slack-compatible incoming webhook.
    slack: bytes


def of_holds(workspace: Workspace, holds: Sequence[tuple[str, dict]], *, at: datetime) -> Notice:
    """Of ``(approval id, summary)``, oldest first; ``outbox.enqueue`` writes the summaries."""
    first = holds[0][1]
    one = len(holds) == 1
    subject = f"{_plain(first['tool_name'])} waits for approval" if one else f"{len(holds)} calls wait for approval"
    told = [(_link(approval_id), summary) for approval_id, summary in holds[:MOST_TOLD]]
    more = f"... and {len(holds) - MOST_TOLD} more: {_link('')}" if len(holds) > MOST_TOLD else ""
    text = [f"In the workspace {_plain(workspace.name)}:", ""]
    chat = [f"*{_escaped(subject)}* in {_escaped(workspace.name)}"]
    for link, summary in told:
        tool, key, because = _plain(summary["tool_name"]), _plain(summary["token_name"]), _plain(summary["because"])
        left = _left(datetime.fromisoformat(summary["expires_at"]), at)
        text += [f"- {tool}, asked for by {key}: {because}. Expires in {left}.", f"  {link}"]
        chat.append(f"<{link}|{_escaped(tool)}> asked for by {_escaped(key)}: {_escaped(because)}. Expires in {left}.")
    text += [more] if more else []
    chat += [_escaped(more)] if more else []
    text += ["", "Sign in to see the whole call and to decide. This link decides nothing."]
    return Notice(f"[OrcaRouter] {subject}", "\n".join(text), json.dumps({"text": "\n".join(chat)}).encode())


def of_pause(workspace: Workspace, why: str) -> Notice:
    """That a webhook is paused."""
    link = f"{settings.PUBLIC_URL}{reverse('console:settings')}"
    text = (
        f"The approval webhook of the workspace {_plain(workspace.name)} is paused. {why}\n\n"
        f"Holds go on as before and can be decided in the console. Mend the receiver, then resume the webhook here:\n{link}\n"
    )
    return Notice("[OrcaRouter] The approval webhook is paused", text, b"")


def _link(approval_id: str) -> str:
    """The page of a hold; without an id, the queue."""
    place = reverse("console:approval", args=[approval_id]) if approval_id else reverse("console:approvals")
    return f"{settings.PUBLIC_URL}{place}"


def _plain(text: object) -> str:
    """One line without what a mail program or a terminal would act on."""
    shown = "".join(char if char.isprintable() else " " for char in str(text))
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 1]}…"


def _escaped(text: object) -> str:
    """For Slack's mark-up, where these three begin mentions and links."""
    return _plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _left(until: datetime, at: datetime) -> str:
    minutes = max(int((until - at).total_seconds() // 60), 0)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
