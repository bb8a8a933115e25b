"""What the firewall's routes take and give. Values are judged by the services: console and API cannot disagree."""

from collections.abc import Mapping
from http import HTTPStatus

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from firewall.engine import remarks
from firewall.engine.rule_json import ENCODED_FIELDS
from firewall.engine.validate import MAX_PRIORITY
from firewall.models import DefaultVerdict, Event, Policy, PolicyVersion, Rule, RuleVerdict, Settings, Stage
from firewall.selectors import compiled
from firewall.services import FIXED_SETTINGS, POLICY_FIELDS, RULE_FIELDS, RUN_GAP_SECONDS, SETTINGS_TO_COME
from workspaces.api_base import ApiRequest, Body, refuse_unknown
from workspaces.errors import OrcaError, ValidationFailed


# --- In -------------------------------------------------------------------------------------------------------------
class Named(Body):
    """A JSON object with known names; the declared types are for the reader, the service has the last word."""

    #: Names that are taken beside the declared ones, only to be refused in words of the service's.
    also_known: tuple[str, ...] = ()

    def to_internal_value(self, data: object) -> dict:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({"non_field_errors": ["The body is a JSON object."]})
        refuse_unknown(data, (*self.fields, *self.also_known))
        return dict(data)


class RuleFields(Named):
    verdict = serializers.ChoiceField(RuleVerdict.choices)
    priority = serializers.IntegerField(required=False, default=100, min_value=0, max_value=MAX_PRIORITY, help_text="Lower is judged first; ties by id.")
    label = serializers.CharField(required=False, allow_blank=True, max_length=120)  # type: ignore[assignment]  # documented name
    notes = serializers.CharField(required=False, allow_blank=True, max_length=2000)
    stage = serializers.ChoiceField(Stage.choices, required=False, allow_blank=True, help_text="Empty: every surface.")
    tool_name_glob = serializers.CharField(
        required=False, allow_blank=True, max_length=128, help_text="`kb.*`, `*.exec`, `*.shell.*`, an exact name; empty or `*`: all."
    )
    enabled = serializers.BooleanField(required=False, default=True)

    skill_name_glob = serializers.CharField(
        required=False, allow_blank=True, max_length=128, help_text="The skill that owns the tool; empty: any owner, or none."
    )
    args_match = serializers.JSONField(
        required=False, allow_null=True, help_text='`{"clauses": [{"path": "$.command", "op": "regex", "value": "rm -rf"}]}`; all must hold.'
    )
    egress = serializers.JSONField(required=False, allow_null=True, help_text='`{"allow": ["api.example.com"], "deny": ["10.0.0.0/8"]}`')
    sanitize = serializers.JSONField(required=False, allow_null=True, help_text='`{"presets": ["email"], "custom": ["tok_[a-z0-9]+"]}`')
    sequence = serializers.JSONField(
        required=False,
        allow_null=True,
        help_text='`{"window_seconds": 300, "steps": [{"match": "db.*", "min_count": 1, "egress": false}]}`; `"enforce": "inline"`.',
    )
    cap_cost_cents = serializers.IntegerField(required=False, allow_null=True, min_value=0, help_text="US cents a run may cost; for the verdict `cap_cost`.")

    #: The same, encoded as text.
    also_known = ENCODED_FIELDS


class Versioned(Named):
    version = serializers.IntegerField(
        required=False, min_value=1, help_text="The policy's version this change is based on: 409 if it moved on. `If-Match` does the same."
    )


class NewRule(Versioned, RuleFields):
    policy_id = serializers.IntegerField()


class RuleChange(Versioned, RuleFields):
    verdict = serializers.ChoiceField(RuleVerdict.choices, required=False)
    policy_id = serializers.IntegerField(required=False, help_text="A rule stays in its policy.")


class NamedRuleChange(RuleChange):
    id = serializers.IntegerField()


class PolicyFields(Named):
    name = serializers.CharField(max_length=64)
    enabled = serializers.BooleanField(required=False, default=True)
    is_default = serializers.BooleanField(required=False, default=False, help_text="At most one: the one before it steps back.")
    default_verdict = serializers.ChoiceField(DefaultVerdict.choices, required=False, default=DefaultVerdict.AUDIT)
    shadow_mode = serializers.BooleanField(required=False, default=False)
    block_notice = serializers.BooleanField(required=False, default=True)
    refuse_unknown_fields = serializers.BooleanField(required=False, default=True)
    max_runs_per_key_per_hour = serializers.IntegerField(required=False, allow_null=True, min_value=1, help_text="Null: any number.")


class NewPolicy(PolicyFields):
    rules = RuleFields(many=True, required=False)


class PolicyChange(Versioned, PolicyFields):
    name = serializers.CharField(max_length=64, required=False)


class NamedPolicyChange(PolicyChange):
    id = serializers.IntegerField()


class Order(Versioned):
    rule_ids = serializers.ListField(child=serializers.IntegerField(), help_text="Every rule of the policy, in the new order.")


class Restore(Versioned):
    version_to_restore = serializers.IntegerField(min_value=1, max_value=2**31 - 1)


class Fork(Named):
    name = serializers.CharField(max_length=64)


class PolicyFile(Body):
    """A policy's file: its fields and rules, without ids and without what belongs to the workspace."""

    format = serializers.CharField(required=False, help_text="`orcarouter.policy/1`")
    name = serializers.CharField(max_length=64)
    enabled = serializers.BooleanField(required=False)
    default_verdict = serializers.ChoiceField(DefaultVerdict.choices, required=False)
    shadow_mode = serializers.BooleanField(required=False)
    block_notice = serializers.BooleanField(required=False)
    refuse_unknown_fields = serializers.BooleanField(required=False)
    max_runs_per_key_per_hour = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    rules = RuleFields(many=True, required=False)


class SettingsChange(Named):
    observe_mode = serializers.BooleanField(required=False)
    run_gap_seconds = serializers.IntegerField(required=False, min_value=RUN_GAP_SECONDS.start, max_value=RUN_GAP_SECONDS.stop - 1)
    record_mode = serializers.ChoiceField([str(FIXED_SETTINGS["record_mode"])], required=False, help_text="Admin and above.")
    policy_fail_open = serializers.BooleanField(required=False, help_text="Only false. Admin and above.")

    also_known = SETTINGS_TO_COME


def read(body: type[Named], request: ApiRequest) -> dict:
    """The request's body under this description. Raises DRF's ``ValidationError`` for a name that is not known."""
    found = body(data=request.data)
    found.is_valid(raise_exception=True)
    return found.validated_data


def expected_version(fields: dict, request: ApiRequest) -> int | None:
    """Take the version a change is based on out of the body, or out of ``If-Match``; None where neither says."""
    version = fields.pop("version", None)
    if version is None:
        tag = request.headers.get("If-Match", "").strip().removeprefix("W/").strip('"')
        if tag in ("", "*"):
            return None
        version = int(tag) if tag.isascii() and tag.isdigit() and len(tag) < 10 else tag
    if type(version) is not int or not 0 < version < 2**31:
        raise ValidationFailed("The version of a policy is a whole number.", param="version")
    return version


def version_to_delete(request: ApiRequest) -> int | None:
    """The same of a DELETE, which needs no body: one that is no JSON object says nothing."""
    try:
        said = request.data
    except (APIException, OrcaError):
        said = None
    return expected_version({"version": said["version"]} if isinstance(said, Mapping) and "version" in said else {}, request)


# --- Out ------------------------------------------------------------------------------------------------------------
class RuleOut(serializers.ModelSerializer):
    class Meta:
        model = Rule
        fields = ("id", "policy_id", *RULE_FIELDS)


class WarningOut(serializers.Serializer):
    rule_id = serializers.IntegerField()
    code = serializers.ChoiceField(remarks.CODES)
    text = serializers.CharField()


def warnings_of(policy: Policy) -> list[dict]:
    found = remarks.warnings(compiled(policy, policy.rules.all()))
    return [{"rule_id": each.rule_id, "code": each.code, "text": each.text} for each in found]


class RuleWithWarnings(RuleOut):
    warnings = serializers.SerializerMethodField()

    class Meta(RuleOut.Meta):
        fields = (*RuleOut.Meta.fields, "warnings")  # type: ignore[assignment]

    @extend_schema_field(WarningOut(many=True, help_text="What this rule, as it is saved, may not do that it looks like."))
    def get_warnings(self, rule: Rule) -> list[dict]:
        return [each for each in warnings_of(rule.policy) if each["rule_id"] == rule.pk]


class PolicyOut(serializers.ModelSerializer):
    rule_count = serializers.IntegerField(read_only=True)
    attached_key_count = serializers.IntegerField(read_only=True)
    updated_by = serializers.SerializerMethodField()

    class Meta:
        model = Policy
        fields = (
            *("id", *POLICY_FIELDS),
            *("version", "rule_count", "attached_key_count", "created_at", "updated_at", "updated_by"),
        )

    @extend_schema_field(serializers.EmailField(allow_null=True))
    def get_updated_by(self, policy: Policy) -> str | None:
        return policy.updated_by.email if policy.updated_by else None


class PolicyWithRules(PolicyOut):
    rules = RuleOut(many=True)
    warnings = serializers.SerializerMethodField()

    class Meta(PolicyOut.Meta):
        fields = (*PolicyOut.Meta.fields, "rules", "warnings")  # type: ignore[assignment]

    @extend_schema_field(WarningOut(many=True, help_text="Rules that are saved but may not do what they look like."))
    def get_warnings(self, policy: Policy) -> list[dict]:
        return warnings_of(policy)


def answered(policies: QuerySet[Policy], pk: int, status: int = HTTPStatus.OK) -> Response:
    """One of ``selectors.policies`` as it stands now, with its version as the tag that ``If-Match`` takes."""
    policy = policies.get(pk=pk)
    return Response(PolicyWithRules(policy).data, status=status, headers={"ETag": f'"{policy.version}"'})


class VersionOut(serializers.ModelSerializer):
    saved_by = serializers.CharField(source="author_label", help_text="The person's address; empty for the installation itself.")

    class Meta:
        model = PolicyVersion
        fields = ("version", "saved_at", "saved_by", "summary")


class VersionWhole(VersionOut):
    policy_id = serializers.IntegerField()
    policy = serializers.SerializerMethodField()

    class Meta(VersionOut.Meta):
        fields = (*VersionOut.Meta.fields, "policy_id", "policy")  # type: ignore[assignment]

    @extend_schema_field(serializers.JSONField(help_text="The policy's fields by name and its `rules`, each with its id."))
    def get_policy(self, version: PolicyVersion) -> dict:
        return version.snapshot


class ChangeOut(serializers.Serializer):
    kind = serializers.ChoiceField(["policy", "added", "removed", "changed", "moved"])
    text = serializers.CharField(help_text="The change in words.")
    rule_id = serializers.IntegerField(allow_null=True)
    field = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # the word for it
    before = serializers.JSONField(allow_null=True, help_text="A field's value, a rule, or the place of one that moved.")
    after = serializers.JSONField(allow_null=True)


class Difference(serializers.Serializer):
    from_version = serializers.IntegerField()
    to_version = serializers.IntegerField()
    changes = ChangeOut(many=True)


class SettingsOut(serializers.ModelSerializer):
    record_mode = serializers.SerializerMethodField(help_text="`strict`: what cannot be recorded is not answered.")
    policy_fail_open = serializers.SerializerMethodField(help_text="False: without a policy that can be read no call goes on.")

    class Meta:
        model = Settings
        fields: tuple[str, ...] = ("observe_mode", "run_gap_seconds", "record_mode", "policy_fail_open")

    def get_record_mode(self, settings: Settings) -> str:
        return str(FIXED_SETTINGS["record_mode"])

    def get_policy_fail_open(self, settings: Settings) -> bool:
        return bool(FIXED_SETTINGS["policy_fail_open"])


class EventOut(serializers.ModelSerializer):
    class Meta:
        model = Event
        fields = (
            *("id", "occurred_at", "source", "verdict", "surface", "tool_name", "tools", "skill_name"),
            *("reason", "reason_code", "factors", "risk_score", "policy_id", "policy_name", "policy_version", "rule_id", "rule_label"),
            *("request_id", "client_request_id", "conversation_id", "agent_run_id", "run_source", "step_id", "parent_step_id"),
            *("key_id", "token_name", "environment", "model_name", "args_summary", "args_hash", "approval_id", "cost_micro_usd"),
            *("shadow", "gap", "quarantine"),
        )
