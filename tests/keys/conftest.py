"""A small client for the management API as one person of a workspace."""

import json
from dataclasses import dataclass

import pytest
from django.test import Client
from django.utils import timezone

from tests.factories.workspaces import Tenant
from workspaces.permissions import Role


@dataclass
class Caller:
    """Calls with an access token; ``error`` is the code of a refusal."""

    tenant: Tenant
    role: Role
    scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.tenant.token(self.role, *self.scopes)}"}

    def __call__(self, method: str, path: str, body: object = None, **headers: str):
        sent = "" if body is None else json.dumps(body)
        return Client().generic(method, path, sent, content_type="application/json", headers=self.headers | headers)


@pytest.fixture
def developer(acme) -> Caller:
    return Caller(acme, Role.DEVELOPER)


@pytest.fixture
def admin(acme) -> Caller:
    return Caller(acme, Role.ADMIN)


def refusal(answer) -> tuple[int, str, str | None]:
    """What a client acts on: status, code, field."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


@pytest.fixture
def clock(time_machine):
    """The process's clock, which goes on; ``clock.shift(seconds)`` moves it."""
    time_machine.move_to(timezone.now())
    return time_machine
