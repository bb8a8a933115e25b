"""Holds to tell of, and leave to dial the receiver."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from tests.receiver import HOST
from workspaces.models import Workspace


@pytest.fixture
def loopback(settings):
    """The receiver may be dialled, as an operator's setting can allow."""
    settings.ALLOWED_PRIVATE_HOSTS = [HOST]
    return settings


@dataclass
class Hold:
    """What the outbox reads of a hold."""

    workspace: Workspace
    id: str = "0123456789abcdef01234567"
    tool_name: str = "payments.transfer"
    request_id: str = "req_1"
    conversation_id: str | None = "conv-1"
    policy_id: int = 7
    rule_id: int = 9
    token_name: str = "agent"
    held_because: str = "matched payments.*"
    expires_at: datetime = field(default_factory=lambda: timezone.now() + timedelta(hours=24))
    resolved_by_label: str = ""
    reason: str = ""
