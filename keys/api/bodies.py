"""The token object as clients read and write it. Source: spec/platform.md 1.2, spec/decisions.md 4.4."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keys import money_selectors
from keys.api.amounts import Dollars, shown
from keys.engine import limits
from keys.engine.ceilings import Cycle
from keys.engine.scope import Status, status
from keys.models import ApiKey
from keys.money_selectors import Balance
from keys.selectors import last_used, scope_of
from keys.services import key_of, masked, policy_of
from workspaces import money
from workspaces.api_base import Body
from workspaces.models import Workspace
from workspaces.params import MAX_ID

#: The documented name of each limit and its column.
LIMITS = {"credit_limit_usd": "credit_limit_micro_usd", "cycle_limit_usd": "cycle_limit_micro_usd", "cycle": "cycle"}
NO_GUARDRAILS = "Guardrails are not available yet: leave this at 0."


@extend_schema_field({"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}], "description": "A list, or names with commas."})
class ModelLimits(serializers.Field):
    def to_internal_value(self, data: object) -> list[str]:
        if (isinstance(data, list) and all(isinstance(entry, str) for entry in data)) or isinstance(data, str):
            written = data
        else:
            raise serializers.ValidationError("A list of model names, or one text with commas.")
        try:
            return limits.models(written)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def to_representation(self, value: list[str]) -> list[str]:
        return value


class KeyBody(Body):
    """A key. What is only read may be sent back as it came, and is ignored."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=80)
    status = serializers.ChoiceField(choices=[(each.value, each.name.lower()) for each in Status], required=False, help_text="3 and 4 are computed.")
    key = serializers.CharField(read_only=True, help_text="Masked; in the answer to a POST, this once, the plaintext.")
    created_time = serializers.IntegerField(read_only=True)
    accessed_time = serializers.IntegerField(read_only=True, help_text="Unix seconds of the last call; 0: never used.")
    expired_time = serializers.IntegerField(min_value=limits.NEVER, max_value=limits.LATEST, required=False, help_text="Unix seconds; -1: never.")
    credit_limit_usd = Dollars(required=False, help_text="Over the key's life; 0: unlimited.")
    cycle_limit_usd = Dollars(required=False, help_text="In each cycle; 0: unlimited.")
    cycle = serializers.ChoiceField(
        choices=[each.value for each in Cycle], required=False, allow_null=True, allow_blank=True, help_text="Of UTC, weeks from Monday."
    )
    unlimited_quota = serializers.BooleanField(required=False, help_text="True takes the limit over the key's life away.")
    remain_quota = serializers.IntegerField(read_only=True, help_text="Units left of `credit_limit_usd`, less what calls in flight hold; 0: none, or no limit.")
    used_quota = serializers.IntegerField(read_only=True, help_text="500,000 units are one US dollar.")
    model_limits_enabled = serializers.BooleanField(required=False)
    model_limits = ModelLimits(required=False)
    allow_ips = serializers.CharField(required=False, allow_blank=True, max_length=20_000, help_text="Addresses and CIDRs, one a line; empty: any.")
    environment = serializers.CharField(required=False, allow_blank=True, max_length=10_000, help_text="Cut at 32 characters.")
    guardrail_id = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_ID)
    firewall_policy_id = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_ID, help_text="0: none.")
    is_firewall_gateway = serializers.BooleanField(required=False)
    group = serializers.CharField(required=False, max_length=32)
    run_scope = serializers.ChoiceField(choices=ApiKey.RunScope.choices, required=False)
    is_frozen = serializers.BooleanField(required=False)
    replaces_id = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_ID, help_text="The key it takes the place of.")

    def validate_allow_ips(self, text: str) -> list[str]:
        try:
            return limits.networks(text)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def validate_environment(self, text: str) -> str:
        return limits.environment(text)

    def validate_expired_time(self, seconds: int) -> datetime | None:
        return limits.expiry(seconds)

    def validate_guardrail_id(self, value: int | None) -> None:
        if value:
            raise serializers.ValidationError(NO_GUARDRAILS)

    def validate(self, sent: dict) -> dict:
        limit, is_unlimited = sent.get("credit_limit_usd"), sent.get("unlimited_quota")
        if is_unlimited and limit:
            raise serializers.ValidationError({"unlimited_quota": ["Unlimited, or a credit limit: one of the two."]})
        if is_unlimited is False and not (self.context.get("limit", 0) if limit is None else limit):
            raise serializers.ValidationError({"credit_limit_usd": ["Give a limit above 0, or set unlimited_quota."]})
        return sent

    def as_fields(self, workspace: Workspace) -> dict[str, object]:
        """What was sent, as ``keys.services`` takes it. Raises ``NotFound`` for a policy that is not this workspace's."""
        sent = self.validated_data
        same = ("name", "model_limits_enabled", "model_limits", "environment", "is_firewall_gateway", "group", "run_scope", "is_frozen", "allow_ips")
        fields = {name: sent[name] for name in same if name in sent}
        fields |= {column: sent[name] for name, column in LIMITS.items() if sent.get(name) not in (None, "")}
        if sent.get("unlimited_quota"):
            fields["credit_limit_micro_usd"] = 0
        if "expired_time" in sent:
            fields["expires_at"] = sent["expired_time"]
        if "replaces_id" in sent:
            fields["replaces"] = key_of(workspace, sent["replaces_id"])
        if "firewall_policy_id" in sent:
            fields["firewall_policy"] = policy_of(workspace, sent["firewall_policy_id"])
        # 3 and 4 say what the date and the money say; sent back, they change nothing.
        if sent.get("status") in (Status.ENABLED, Status.DISABLED):
            fields["is_disabled"] = sent["status"] == Status.DISABLED
        return fields

    def to_representation(self, key: ApiKey) -> dict[str, object]:
        balance: Balance = self.context["balances"].get(key.pk, Balance())
        limit, spent = key.credit_limit_micro_usd, balance.spent_micro_usd
        return {
            "id": key.pk,
            "name": key.name,
            "status": int(status(scope_of(key), self.context["at"], credit_limit_micro_usd=limit, spent_micro_usd=spent)),
            "key": masked(key),
            "created_time": _seconds(key.created_at),
            "accessed_time": _seconds(self.context["last_used"][key.pk]),
            "expired_time": _seconds(key.expires_at) if key.expires_at else limits.NEVER,
            "credit_limit_usd": shown(limit),
            "cycle_limit_usd": shown(key.cycle_limit_micro_usd),
            "cycle": key.cycle if key.cycle_limit_micro_usd else None,
            "unlimited_quota": not limit,
            "remain_quota": money.to_quota_units(max(limit - spent - balance.held_micro_usd, 0)),
            "used_quota": money.to_quota_units(spent),
            "model_limits_enabled": key.model_limits_enabled,
            "model_limits": key.model_limits,
            "allow_ips": "\n".join(key.allow_ips),
            "environment": key.environment,
            "guardrail_id": 0,
            "firewall_policy_id": key.firewall_policy_id or 0,
            "is_firewall_gateway": key.is_firewall_gateway,
            "group": key.group,
            "run_scope": key.run_scope,
            "is_frozen": key.is_frozen,
            "replaces_id": key.replaces_id,
        }


def as_shown(workspace: Workspace, keys: Sequence[ApiKey], *, at: datetime) -> list[dict[str, object]]:
    """Keys as they are read, masked: two statements, however many."""
    context = {"at": at, "last_used": last_used(workspace, keys), "balances": money_selectors.key_balances(workspace, [key.pk for key in keys])}
    return [KeyBody(key, context=context).data for key in keys]


class BatchBody(Body):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=MAX_ID), allow_empty=False, max_length=200)


def with_plaintext(answer: Mapping[str, object], plaintext: str) -> dict[str, object]:
    """The one answer that shows a key."""
    return {**answer, "key": plaintext}


def _seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0
