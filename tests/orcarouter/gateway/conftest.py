"""An agent's view of the running product: a workspace of one's own, its keys, and the official SDK."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import openai
import pytest
from django.utils import timezone

import firewall.services
import keys.services
from orcarouter.demo_provider import PRICES
from tests.factories.workspaces import Tenant, make_tenant
from tests.stack import Stack
from workspaces import tenancy
from workspaces.permissions import Role
from workspaces.services import touch_config

_numbers = count()


@dataclass
class Agent:
    """One key of one workspace, and how to change what it may do."""

    stack: Stack
    tenant: Tenant
    key_id: int
    token: str
    clients: list = field(default_factory=list)

    @property
    def workspace(self):
        return self.tenant.workspace

    def sdk(self, **options) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.stack.url}/v1", api_key=self.token, max_retries=0, timeout=30, **options)
        self.clients.append(client)
        return client

    def policy(self, name: str = "policy", *, bind: bool = True, rules: list[dict] = (), **fields):
        """A policy with rules, bound to the key."""
        owner = self.tenant.person(Role.OWNER)
        with tenancy.scope(self.workspace.pk):
            made = firewall.services.create_policy(self.workspace, fields={"name": name} | fields, rules=list(rules), actor=owner, at=timezone.now())
            if bind:
                keys.services.change_key(self.key(), changes={"firewall_policy": made}, actor=owner, at=timezone.now())
        return made

    def key(self):
        return self.workspace.api_keys.get(pk=self.key_id)

    def events(self, **filters) -> list:
        with tenancy.scope(self.workspace.pk):
            return list(self.workspace.events.filter(**filters).order_by("id"))

    def usage(self, **filters) -> list:
        with tenancy.scope(self.workspace.pk):
            return list(self.workspace.usage.filter(**filters).order_by("id"))


def make_agent(stack: Stack, **key_fields) -> Agent:
    tenant = make_tenant(f"agents{next(_numbers)}")
    workspace = tenant.workspace
    with tenancy.scope(workspace.pk):
        provider = workspace.providers.create(name="Demo", base_url="http://demo.invalid/v1", is_demo=True)
        for model in (*PRICES, "demo-error-500", "demo-error-401", "demo-error-429", "demo-error-503", "demo-slow", "demo-hang", "demo-cut", "demo-bad-json"):
            prices = PRICES.get(model, (None, None))
            provider.models.create(workspace=workspace, name=model, input_per_million_micro_usd=prices[0], output_per_million_micro_usd=prices[1])
        touch_config(workspace)
        fields = {"name": "agent"} | key_fields
        key, token = keys.services.create_key(workspace, fields=fields, actor=tenant.person(Role.OWNER), at=timezone.now())
    return Agent(stack, tenant, key.pk, token)


@pytest.fixture
def agent(stack, committed) -> Iterator[Agent]:
    made = make_agent(stack)
    yield made
    for client in made.clients:
        client.close()
