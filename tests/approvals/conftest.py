"""Holds to tell of, and leave to dial the receiver."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from approvals import dispatch, sender
from tests.factories.workspaces import Tenant
from tests.receiver import HOST
from workspaces.models import Workspace


@pytest.fixture
def loopback(settings):
    """The receiver may be dialled, as an operator's setting can allow."""
    settings.ALLOWED_PRIVATE_HOSTS = [HOST]
    return settings


def claim(tenant: Tenant, at: datetime) -> list[dispatch.Parcel]:
    """What is due of this workspace: others may have something, too."""
    return [parcel for parcel in dispatch.claim(at) if parcel.workspace_id == tenant.workspace.pk]


def work(tenant: Tenant, at: datetime | None = None) -> int:
    """What the task does, at a moment of the test's choice; how many parcels that were."""
    at = at or timezone.now()
    parcels = claim(tenant, at)
    with sender.Sender() as line:
        for parcel, outcome in [(parcel, line.send(parcel)) for parcel in parcels]:
            dispatch.finish(parcel, outcome.result(), at=at)
    return len(parcels)


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
