"""Changes of provider credentials: one function a verb, one transaction, one audit entry.

A provider's secret is sealed when it comes in and never leaves by an answer, an audit entry or a log line.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from keys import selectors
from keys.models import ProviderCredential, ProviderModel
from workspaces import audit, errors, net, valkey, vault
from workspaces.engine.addresses import parse_url
from workspaces.models import User, Workspace
from workspaces.selectors import hold, hold_row
from workspaces.services import touch_config

MAX_MODELS = 500
MAX_SECRET_CHARS = 4096
TESTS_A_MINUTE = 20

#: What may stand in a header's value: no space, no line break that would begin another header.
_HEADER_TEXT = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as it is to be offered. ``upstream`` empty: the same name. Prices are micro-USD a million tokens, None the list price."""

    name: str
    upstream: str = ""
    input_per_million_micro_usd: int | None = None
    output_per_million_micro_usd: int | None = None


@transaction.atomic
def create_provider(
    workspace: Workspace,
    *,
    name: str,
    base_url: str,
    secret: str,
    models: Sequence[ModelSpec],
    actor: User | None,
    at: datetime,
    enabled: bool = True,
    order: int = 100,
    kind: str = ProviderCredential.Kind.OPENAI,
) -> ProviderCredential:
    """Add a provider. Raises ``AddressRefused``, ``ValidationFailed``, and ``Conflict`` for a name that is taken."""
    base_url = vetted_base_url(base_url)
    _name_is_free(workspace, name)
    provider = workspace.providers.create(name=name, kind=kind, base_url=base_url, enabled=enabled, order=order, created_at=at, updated_at=at)
    _set_secret(provider, secret)
    _set_models(provider, models)
    touch_config(workspace)
    payload = {"base_url": base_url, "models": [model.name for model in models], "enabled": enabled, "order": order}
    audit.record(workspace=workspace, actor=actor, action="provider_create", target=provider, at=at, payload=payload)
    return provider


@transaction.atomic
def create_demo_provider(workspace: Workspace, *, models: Sequence[ModelSpec], at: datetime) -> ProviderCredential:
    """The built-in demo provider, for the bootstrap alone: no secret, and an address that nothing outside can reach."""
    provider = workspace.providers.create(name="Demo provider", base_url="http://demo.invalid/v1", is_demo=True, order=1000, created_at=at, updated_at=at)
    _set_models(provider, models)
    touch_config(workspace)
    audit.record(workspace=workspace, actor=None, action="provider_create", target=provider, at=at, payload={"demo": True})
    return provider


@transaction.atomic
def change_provider(provider: ProviderCredential, *, changes: Mapping[str, Any], actor: User | None, at: datetime) -> None:
    """Change the named ones of ``name base_url secret models enabled order kind``; in force on the next call.

    A stored secret stays with its address: who points a provider elsewhere gives the
    secret again, or it could be read by sending it to oneself.
    """
    if not provider.is_demo and changes.get("base_url", provider.base_url) != provider.base_url:
        # A lookup takes its time: nobody waits for it under the lock.
        changes = {**changes, "base_url": vetted_base_url(changes["base_url"])}
    hold_row(provider)
    workspace = provider.workspace
    changed = {name: value for name, value in changes.items() if name not in ("secret", "models") and getattr(provider, name) != value}
    if provider.is_demo and (set(changes) & {"secret", "models"} or set(changed) - {"enabled", "order"}):
        raise errors.Conflict("The demo provider is built in: it can be switched off and moved, not changed.")
    if "name" in changed:
        _name_is_free(workspace, changed["name"])
    if "base_url" in changed and provider.secret_sealed and "secret" not in changes and _origin(changed["base_url"]) != _origin(provider.base_url):
        raise errors.ValidationFailed("Give the secret again: the stored one belongs to the old address.", param="secret")
    payload: dict[str, object] = {name: {"from": getattr(provider, name), "to": value} for name, value in changed.items()}
    for name, value in (changed | {"updated_at": at}).items():
        setattr(provider, name, value)
    provider.save(update_fields=[*changed, "updated_at"])
    if "secret" in changes:
        _set_secret(provider, changes["secret"])
        payload["secret"] = "replaced" if changes["secret"] else "removed"
    if "models" in changes:
        _set_models(provider, changes["models"])
        payload["models"] = [model.name for model in changes["models"]]
    touch_config(workspace)
    audit.record(workspace=workspace, actor=actor, action="provider_update", target=provider, at=at, payload=payload)


@transaction.atomic
def delete_provider(provider: ProviderCredential, *, actor: User | None, at: datetime) -> None:
    """Remove a provider with its secret and models; usage keeps its name."""
    hold_row(provider)
    touch_config(provider.workspace)
    audit.record(workspace=provider.workspace, actor=actor, action="provider_delete", target=provider, at=at, payload={"base_url": provider.base_url})
    provider.delete()


@transaction.atomic
def move_provider(provider: ProviderCredential, *, up: bool, actor: User | None, at: datetime) -> None:
    """Swap a provider with its neighbour in the order in which they are asked; the first stays first."""
    hold_row(provider)
    workspace = provider.workspace
    ranked = list(selectors.providers(workspace))
    place = next(index for index, each in enumerate(ranked) if each.pk == provider.pk)
    other = place - 1 if up else place + 1
    if not 0 <= other < len(ranked):
        return
    ranked[place], ranked[other] = ranked[other], ranked[place]
    for rank, each in enumerate(ranked, start=1):
        # Everyone gets a place of their own: equal numbers would tie again.
        workspace.providers.filter(pk=each.pk).update(order=rank * 10)
    touch_config(workspace)
    audit.record(workspace=workspace, actor=actor, action="provider_update", target=provider, at=at, payload={"moved": "up" if up else "down"})


def count_test(workspace: Workspace) -> None:
    """Count one test of a provider. Raises ``RateLimited`` past twenty a minute: a test is a call to somebody else's machine."""
    counter = f"orca:{{{workspace.pk}}}:provider-tests:{int(time.time() // 60)}"
    try:
        with valkey.client().pipeline(transaction=False) as pipeline:
            pipeline.incr(counter)
            pipeline.expire(counter, 120)
            count, _ = pipeline.execute()
    except valkey.Unavailable:
        return
    if count > TESTS_A_MINUTE:
        raise errors.RateLimited(f"Providers are tested at most {TESTS_A_MINUTE} times a minute.")


def vetted_base_url(text: str) -> str:
    """The address in its one spelling, without a final slash. Raises ``ValidationFailed`` or ``AddressRefused``, both for ``base_url``."""
    try:
        url = net.vet(text.strip()).url.rstrip("/")
    except net.AddressRefused as refusal:
        refusal.param = "base_url"
        raise
    if len(url) > 512 or not url.isascii() or "?" in url or "#" in url:
        raise errors.ValidationFailed("A base address is at most 512 ASCII characters, without query and fragment.", param="base_url")
    return url


def _origin(url: str) -> tuple[str, str, int]:
    endpoint = parse_url(url)
    return endpoint.scheme, endpoint.host, endpoint.port


def _name_is_free(workspace: Workspace, name: object) -> None:
    # The constraint would say so too, at the price of the transaction; two at once still meet it.
    hold(workspace.pk)
    if workspace.providers.filter(name=name).exists():
        raise errors.Conflict("There is a provider of this name already.", param="name")


def _set_secret(provider: ProviderCredential, secret: object) -> None:
    secret = str(secret or "")
    if len(secret) > MAX_SECRET_CHARS or not _HEADER_TEXT.fullmatch(secret):
        raise errors.ValidationFailed(f"A secret is at most {MAX_SECRET_CHARS} visible ASCII characters without spaces.", param="secret")
    purpose = selectors.provider_seal(provider.pk)
    provider.secret_sealed = vault.seal(secret, workspace_id=provider.workspace_id, purpose=purpose) if secret else None
    provider.save(update_fields=["secret_sealed"])


def _set_models(provider: ProviderCredential, models: Sequence[ModelSpec]) -> None:
    names = [model.name for model in models]
    if len(names) > MAX_MODELS:
        raise errors.ValidationFailed(f"A provider has at most {MAX_MODELS} models.", param="models")
    if twin := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise errors.ValidationFailed(f"The model {twin} is listed twice.", param="models")
    provider.models.all().delete()
    provider.models.bulk_create(
        ProviderModel(
            workspace=provider.workspace,
            provider=provider,
            name=model.name,
            upstream="" if model.upstream == model.name else model.upstream,
            input_per_million_micro_usd=model.input_per_million_micro_usd,
            output_per_million_micro_usd=model.output_per_million_micro_usd,
        )
        for model in models
    )
