"""Every expected failure of the product, and the one body they all travel in. Source: spec/decisions.md 3."""

from collections.abc import Sequence


class OrcaError(Exception):
    """An expected failure the caller is told about.

    One subclass per thing a client can act on. ``code`` is a public contract
    and never changes; ``message`` is for people and may. ``headers`` are sent
    with the answer (``Retry-After``, ``x-should-retry``).
    """

    code, status, type = "validation_error", 400, "orcarouter_api_error"
    headers: dict[str, str] = {}

    def __init__(self, message: str, *, param: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message, self.param, self.metadata = message, param, metadata

    def body(self) -> dict:
        """The body of every error: ``{"error": {"message", "type", "code", "param", "metadata"?}}``."""
        error = {"message": self.message, "type": self.type, "code": self.code, "param": self.param}
        return {"error": error | ({"metadata": self.metadata} if self.metadata else {})}


class ValidationFailed(OrcaError):
    """A field is wrong. ``param`` is the first one; ``metadata.errors`` has them all as ``{"param", "message"}``."""

    def __init__(self, message: str, *, param: str | None = None, **metadata: object) -> None:
        told = {} if param is None else {"errors": [{"param": param, "message": message}]}
        super().__init__(message, param=param, **(told | metadata))

    @classmethod
    def of(cls, problems: Sequence[dict]) -> "ValidationFailed":
        """Build from a non-empty list of ``{"param", "message", "rule"?, "clause"?}``."""
        first = problems[0]
        return cls(first["message"], param=first["param"], errors=list(problems))


class AuthenticationRequired(OrcaError):
    code, status = "authentication_required", 401


class InvalidApiKey(OrcaError):
    """One wording for unknown, malformed, disabled and expired keys: a guesser learns nothing."""

    code, status = "invalid_api_key", 401


class InvalidSignature(OrcaError):
    """A signed callback that is not one: forged, stale, of another hold, or one of our own messages."""

    code, status = "invalid_signature", 401


class PermissionRefused(OrcaError):
    code, status = "permission_denied", 403


class AccessDenied(OrcaError):
    """A relay key used outside its scope: source address, model list."""

    code, status = "access_denied", 403


class NotFound(OrcaError):
    code, status = "not_found", 404


class ModelNotFound(OrcaError):
    code, status = "model_not_found", 404


class ApiNotImplemented(OrcaError):
    code, status = "api_not_implemented", 404


class MethodNotAllowed(OrcaError):
    code, status = "method_not_allowed", 405


class Conflict(OrcaError):
    code, status = "conflict", 409


class VersionConflict(OrcaError):
    code, status = "version_conflict", 409


class PolicyAttached(OrcaError):
    code, status = "policy_attached", 409


class IdempotencyKeyReused(OrcaError):
    code, status = "idempotency_key_reused", 409


class PayloadTooLarge(OrcaError):
    code, status = "payload_too_large", 413


class UnsupportedMediaType(OrcaError):
    code, status = "unsupported_media_type", 415


class BadRequestBody(OrcaError):
    code = "bad_request_body"


class UnknownField(OrcaError):
    code = "unknown_field"


class ModelPriceError(OrcaError):
    """Under a ceiling, and the model has no price: what the call may cost cannot be told."""

    code = "model_price_error"
    headers = {"x-should-retry": "false"}


class RequestLoop(OrcaError):
    code = "request_loop"


class FirewallBlocked(OrcaError):
    """The firewall refused the call. The official SDKs honour ``x-should-retry``: the visible form of skip-retry."""

    code = "firewall_blocked"
    headers = {"x-should-retry": "false"}


class ApprovalPending(OrcaError):
    """The call is held until a person has decided. A plain retry meets the same hold."""

    code = "firewall_approval_pending"
    headers = {"x-should-retry": "false"}


class ApprovalInvalid(OrcaError):
    """An approval that was named may not be spent on this call; ``metadata.reason`` says why. Nothing was consumed."""

    code = "firewall_approval_invalid"
    headers = {"x-should-retry": "false"}


class ApprovalResolved(OrcaError):
    """Somebody was faster: ``metadata`` has the state that stands, who decided and when."""

    code, status = "approval_resolved", 409


class TokenQuotaSpent(OrcaError):
    """The key has spent what it may spend in its life."""

    code, status = "pre_consume_token_quota_failed", 403
    headers = {"x-should-retry": "false"}


class UserQuotaSpent(OrcaError):
    """The budget of the workspace or of one of its members is spent."""

    code, status = "insufficient_user_quota", 403
    headers = {"x-should-retry": "false"}


class RateLimited(OrcaError):
    code, status = "rate_limited", 429


class UpstreamError(OrcaError):
    """What a provider answered; ``status`` is the provider's own unless it would mislead (401, 403 become 502).

    ``may_have_cost``: the provider took the call, as far as anybody can tell, and no answer came back.
    """

    code, status, type = "upstream_error", 502, "upstream_error"
    may_have_cost = False

    def __init__(self, message: str, *, status: int = 502, param: str | None = None, **metadata: object) -> None:
        super().__init__(message, param=param, **metadata)
        self.status = status


class UpstreamTimeout(OrcaError):
    """As ``UpstreamError``: the provider took too long."""

    code, status, type = "upstream_timeout", 504, "upstream_error"
    may_have_cost = False


class StoreUnavailable(OrcaError):
    """PostgreSQL is away: nothing may go unrecorded."""

    code, status = "store_unavailable", 503
    headers = {"Retry-After": "2"}


class PolicyUnavailable(OrcaError):
    """A policy is attached and cannot be loaded, and there is no earlier copy."""

    code, status = "policy_unavailable", 503
    headers = {"Retry-After": "2"}


class InternalError(OrcaError):
    """A bug. The caller gets the request id and nothing else."""

    code, status = "internal_error", 500
