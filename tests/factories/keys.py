"""Keys and providers, made as the product makes them."""

from datetime import datetime

from django.utils import timezone

from keys import provider_services, services
from keys.models import ApiKey, ProviderCredential
from keys.provider_services import ModelSpec
from tests.factories.workspaces import Tenant
from workspaces import tenancy
from workspaces.permissions import Role


def make_key(tenant: Tenant, *, at: datetime | None = None, **fields: object) -> tuple[ApiKey, str]:
    """A key and its plaintext. ``fields`` are those of ``ApiKey``."""
    with tenancy.scope(tenant.workspace.pk):
        fields = {"name": "agent"} | fields
        return services.create_key(tenant.workspace, fields=fields, actor=tenant.person(Role.DEVELOPER), at=at or timezone.now())


def make_provider(tenant: Tenant, *, models: tuple[str | ModelSpec, ...] = ("gpt-4o",), **fields: object) -> ProviderCredential:
    """A provider at a public address that nobody calls."""
    fields = {"name": "OpenAI", "base_url": "https://198.20.0.1/v1", "secret": "sk-provider-secret"} | fields
    specs = [model if isinstance(model, ModelSpec) else ModelSpec(model) for model in models]
    with tenancy.scope(tenant.workspace.pk):
        return provider_services.create_provider(tenant.workspace, models=specs, actor=tenant.person(Role.ADMIN), at=timezone.now(), **fields)
