"""What a key permits, and from where. Source: spec/platform.md 1.5, 1.6 and spec/decisions.md 4."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from firewall.engine import glob
from workspaces.engine.addresses import Address, Network
from workspaces.engine.client_address import is_listed

#: One wording for unknown, malformed, disabled and expired keys: a guesser learns nothing.
INVALID_KEY = "Incorrect API key provided."


class Reason(StrEnum):
    """Why a key did not admit a call: for the log, never for the caller."""

    DISABLED = "disabled"
    EXPIRED = "expired"
    ADDRESS = "address"
    MODEL = "model"
    NO_MODELS = "no_models"


@dataclass(frozen=True, slots=True)
class Refusal:
    """``code`` and ``message`` are what the caller is told (401 ``invalid_api_key``, 403 ``access_denied``)."""

    code: str
    message: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class ModelList:
    """An allow-list of models: tool globs, without the reading of ``__`` as a dot, which is about functions."""

    entries: tuple[str, ...]
    _exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _globs: tuple[glob.Glob, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        globs = [glob.parse(entry) for entry in self.entries if entry]
        object.__setattr__(self, "_exact", frozenset(parsed.literal for parsed in globs if parsed.form is glob.Form.EXACT))
        object.__setattr__(self, "_globs", tuple(parsed for parsed in globs if parsed.form is not glob.Form.EXACT))

    def __bool__(self) -> bool:
        return bool(self._exact or self._globs)

    def has(self, model: str) -> bool:
        return model in self._exact or any(parsed.matches_spelling(model) for parsed in self._globs)


@dataclass(frozen=True, slots=True)
class Scope:
    """The limits of one key. A frozen one is known, and refused by the firewall (``key_frozen``).

    ``expires_at`` None is never, ``networks`` empty is any address, ``models`` None is any model.
    """

    is_disabled: bool = False
    is_frozen: bool = False
    expires_at: datetime | None = None
    networks: tuple[Network, ...] = ()
    models: ModelList | None = None
    #: Nothing here refuses anything, ever.
    is_open: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_open", not (self.is_disabled or self.expires_at or self.networks) and self.models is None)

    def lists(self, model: str) -> bool:
        """Whether the model list lets this model through."""
        return self.models is None or self.models.has(model)


def admits(scope: Scope, *, model: str | None, address: Address | None, at: datetime) -> Refusal | None:
    """Judge a call against its key: validity, then address, then model; None admits it.

    ``model`` None is a call that names none (a listing). ``address`` None is a
    client whose address could not be told: it is on no list.
    """
    if scope.is_disabled:
        return Refusal("invalid_api_key", INVALID_KEY, Reason.DISABLED)
    if scope.expires_at is not None and scope.expires_at <= at:
        return Refusal("invalid_api_key", INVALID_KEY, Reason.EXPIRED)
    if scope.networks and (address is None or not is_listed(address, scope.networks)):
        return Refusal("access_denied", "This token has no access from this address.", Reason.ADDRESS)
    if model is None or scope.models is None:
        return None
    if not scope.models:
        return Refusal("access_denied", "This token has no access to any models.", Reason.NO_MODELS)
    if not scope.models.has(model):
        return Refusal("access_denied", f"This token has no access to model {model}", Reason.MODEL)
    return None


class Status(IntEnum):
    """The documented states of a key. EXPIRED and EXHAUSTED are computed, so a later date or more money revives the key.

    Freezing is a state of its own.
    """

    ENABLED = 1
    DISABLED = 2
    EXPIRED = 3
    EXHAUSTED = 4


def status(scope: Scope, at: datetime, *, credit_limit_micro_usd: int = 0, spent_micro_usd: int = 0) -> Status:
    """``credit_limit_micro_usd`` 0 is no limit; only what is spent exhausts a key, not what calls in flight hold."""
    if scope.is_disabled:
        return Status.DISABLED
    if scope.expires_at is not None and scope.expires_at <= at:
        return Status.EXPIRED
    return Status.EXHAUSTED if 0 < credit_limit_micro_usd <= spent_micro_usd else Status.ENABLED
