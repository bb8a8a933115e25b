"""How far a new workspace has come: what is there, and what the next step is."""

from dataclasses import dataclass

from django.db.models import Q

from keys.models import ApiKey, ProviderCredential
from workspaces.models import Workspace


@dataclass(frozen=True, slots=True)
class Start:
    """What exists of what a first governed call needs. ``policy_in_force`` judges calls: a key has it, or it is the default."""

    provider: ProviderCredential | None
    key: ApiKey | None
    has_policy: bool
    policy_in_force: bool
    observes: bool
    #: A model that the provider has.
    model: str

    @property
    def done(self) -> int:
        return sum([self.provider is not None, self.key is not None, self.policy_in_force])


def has_calls(workspace: Workspace) -> bool:
    """Whether any call was ever made here (and is still kept)."""
    return workspace.usage.exists() or workspace.events.exists()


def start_of(workspace: Workspace, *, observes: bool) -> Start:
    judging = workspace.policies.filter(Q(is_default=True) | Q(api_keys__isnull=False), enabled=True)
    provider = workspace.providers.filter(enabled=True).first()
    model = provider.models.first() if provider else None
    return Start(
        provider=provider,
        model=model.name if model else "gpt-4o-mini",
        key=workspace.api_keys.filter(is_disabled=False).order_by("pk").first(),
        has_policy=workspace.policies.exists(),
        policy_in_force=judging.exists(),
        observes=observes,
    )
