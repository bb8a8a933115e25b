"""Tools that were seen, calls that are tried, and what shadow mode held back."""

from dataclasses import asdict

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from firewall import sandbox, selectors
from firewall.api.bodies import EventOut, Named, PolicyFields, RuleFields, read
from firewall.engine.types import Surface, Verdict
from firewall.selectors.shadow import MAX_DAYS, shadow_report
from firewall.selectors.tools import STATUSES, discovered_tools, page_of_tools, wanted_tools
from workspaces.api_base import ApiRequest, WorkspaceViewSet, page_size
from workspaces.api_schema import PAGING, page_of
from workspaces.errors import ValidationFailed
from workspaces.params import number_of, row_id


# --- Discovered tools -----------------------------------------------------------------------------------------------
class ToolKeyOut(serializers.Serializer):
    key_id = serializers.IntegerField(allow_null=True)
    name = serializers.CharField(allow_null=True, help_text="Null: the key is gone.")
    policy_id = serializers.IntegerField(allow_null=True)
    rule_id = serializers.IntegerField(allow_null=True)


class DiscoveredToolOut(serializers.Serializer):
    tool_name = serializers.CharField()
    status = serializers.ChoiceField(STATUSES, help_text="`gap`: for one of its keys, on one surface at least where it was called, no rule speaks of the tool.")
    rule_id = serializers.IntegerField(allow_null=True)
    policy_id = serializers.IntegerField(allow_null=True)
    surfaces = serializers.ListField(child=serializers.ChoiceField(list(Surface)))
    calls = serializers.IntegerField(help_text="In the last 30 days.")
    offers = serializers.IntegerField(help_text="How often a request offered it in the last 30 days.")
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    keys = ToolKeyOut(many=True, help_text="Keys that met it, those with a gap first, then by calls.")


class DiscoveredToolViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/discovered-tools``"""

    permissions = {"list": "firewall.view_tools"}
    filters = {"list": {"status", "surface"}}

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=STATUSES),
            OpenApiParameter("surface", str, enum=list(Surface)),
            *PAGING,
        ],
        responses=page_of(DiscoveredToolOut, "DiscoveredToolPage"),
    )
    def list(self, request: ApiRequest) -> Response:
        """Every tool of the last 30 days by name, and the rule of the policy in force now that speaks of it."""
        found = wanted_tools(discovered_tools(self.workspace, at=timezone.now()), request.query_params)
        page = page_of_tools(found, request.query_params.get("cursor"), size=page_size(request))
        return self.answer_page(page, DiscoveredToolOut([asdict(tool) for tool in page.rows], many=True).data)


# --- Test sandbox ---------------------------------------------------------------------------------------------------
class DraftRule(RuleFields):
    id = serializers.IntegerField(required=False, help_text="What `rule_id` names it by; its place from 1 where rules have none.")


class DraftPolicy(PolicyFields):
    name = serializers.CharField(max_length=64, required=False, default=sandbox.DRAFT_NAME)
    rules = DraftRule(many=True, required=False)


class PastCall(serializers.Serializer):
    surface = serializers.ChoiceField(list(Surface), required=False, default=Surface.RESPONSE.value)
    tool_name = serializers.CharField()
    arguments = serializers.JSONField(required=False)
    destination = serializers.CharField(required=False)
    seconds_ago = serializers.IntegerField(required=False, min_value=0, max_value=sandbox.MAX_SECONDS_AGO, default=0)


class PastRun(serializers.Serializer):
    calls = serializers.IntegerField(required=False, min_value=0, help_text="As many as `before` has, unless given. 0: this call begins the run.")
    spent_micro_usd = serializers.IntegerField(required=False, min_value=0, default=0)
    reserved_micro_usd = serializers.IntegerField(required=False, min_value=0, default=0, help_text="Held for its calls in flight.")
    estimate_micro_usd = serializers.IntegerField(
        required=False, min_value=0, default=0, allow_null=True, help_text="What this call may cost; null: its model has no price."
    )
    runs_this_hour = serializers.IntegerField(required=False, min_value=0, default=0, help_text="Begun by the key, this run among them.")
    is_stopped = serializers.BooleanField(required=False, default=False)
    before = PastCall(many=True, required=False, help_text=f"Calls of the run that went on, for sequences; at most {sandbox.MAX_BEFORE}.")


class TrialCall(Named):
    surface = serializers.ChoiceField(list(Surface))
    tool_name = serializers.CharField()
    arguments = serializers.JSONField(required=False, help_text="An object, or its JSON text as a model wrote it. An offered tool (`inbound`) has none to see.")
    destination = serializers.CharField(
        required=False, help_text="A host, host:port or URL, beside those that the arguments name. On `mcp` and `egress` names are looked up."
    )
    skill = serializers.CharField(required=False, help_text="Who owns the tool.")
    run = PastRun(required=False, help_text="What the call's run was before it; else the call is its first, and it has cost nothing.")
    policy_id = serializers.IntegerField(required=False, help_text="Neither this nor `policy`: the workspace default.")
    policy = DraftPolicy(required=False, help_text="A policy that is not saved.")


class TrialMetadata(serializers.Serializer):
    reason_code = serializers.CharField(allow_null=True)
    factors = serializers.ListField(child=serializers.CharField())
    risk_score = serializers.IntegerField(min_value=0, max_value=100)


class StepOut(serializers.Serializer):
    rule_id = serializers.IntegerField()
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]  # documented name
    matched = serializers.BooleanField(help_text="The rule decided, or is a cap that the call passed under.")
    why = serializers.CharField()


class TrialOut(serializers.Serializer):
    verdict = serializers.ChoiceField(selectors.VERDICTS)
    policy_name = serializers.CharField(allow_null=True, help_text="Null: no policy applies.")
    rule_id = serializers.IntegerField(allow_null=True)
    rule_label = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    arguments = serializers.CharField(required=False, help_text="What would be sent instead; only where the verdict is `sanitize`.")
    metadata = TrialMetadata()
    walk = StepOut(many=True)


class TrialViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/test``"""

    permissions = {"create": "firewall.test_policy"}

    @extend_schema(request=TrialCall, responses={200: TrialOut})
    def create(self, request: ApiRequest) -> Response:
        """Judge one call by a saved policy or a draft, as the gateway would. Nothing is sent, and nothing is kept of it."""
        fields = read(TrialCall, request)
        told = (fields.get(name) for name in ("surface", "tool_name", "arguments", "destination", "skill"))
        call, past = sandbox.tool_call(*told), sandbox.past_of(fields.get("run"))
        trial = sandbox.try_call(self._policy(fields), call, past, observe_mode=selectors.settings_of(self.workspace).observe_mode)
        return Response(_shown(trial))

    def _policy(self, fields: dict):
        draft, policy_id = fields.get("policy"), fields.get("policy_id")
        if draft is None:
            return sandbox.saved_policy(self.workspace, None if policy_id is None else row_id(policy_id, param="policy_id"))
        if policy_id is not None:
            raise ValidationFailed("Name a policy or send one, not both.", param="policy")
        if not isinstance(draft, dict):
            raise ValidationFailed("A JSON object.", param="policy")
        return sandbox.draft_policy(draft)


def _shown(trial: sandbox.Trial) -> dict:
    decision = trial.decision
    sanitized = {"arguments": decision.arguments} if decision.verdict is Verdict.SANITIZE and decision.arguments is not None else {}
    return {
        "verdict": decision.verdict,
        "policy_name": decision.policy_name or None,
        "rule_id": decision.rule_id,
        "rule_label": decision.rule_label or None,
        "reason": decision.reason,
        **sanitized,
        "metadata": {"reason_code": decision.reason_code, "factors": trial.factors, "risk_score": decision.risk_score},
        "walk": [asdict(step) for step in trial.walk],
    }


# --- Shadow report --------------------------------------------------------------------------------------------------
class ShadowLineOut(serializers.Serializer):
    denied = serializers.IntegerField()
    held = serializers.IntegerField()
    sanitized = serializers.IntegerField()
    last_at = serializers.DateTimeField(allow_null=True)


class ShadowToolOut(ShadowLineOut):
    tool_name = serializers.CharField(allow_null=True)


class ShadowKeyOut(ShadowLineOut):
    key_id = serializers.IntegerField(allow_null=True)
    token_name = serializers.CharField(allow_null=True)


class ShadowRunOut(ShadowKeyOut):
    run_id = serializers.CharField()


class ShadowBucketOut(serializers.Serializer):
    at = serializers.DateTimeField()
    denied = serializers.IntegerField(source="line.denied")
    held = serializers.IntegerField(source="line.held")
    sanitized = serializers.IntegerField(source="line.sanitized")


class ShadowReportOut(serializers.Serializer):
    policy_id = serializers.IntegerField(source="policy.id")
    shadow_mode = serializers.BooleanField(source="policy.shadow_mode", help_text="Whether the policy is in shadow now.")
    days = serializers.IntegerField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    total = ShadowLineOut()
    by_tool = ShadowToolOut(many=True, help_text="The 20 with most calls; so are the keys and the runs.")
    by_key = ShadowKeyOut(many=True)
    by_run = ShadowRunOut(many=True)
    over_time = ShadowBucketOut(many=True, help_text="By hour for up to two days, else by day.")
    examples = EventOut(many=True)
    is_partial = serializers.BooleanField(help_text="There were more events than the 100,000 newest, which are counted.")


class ShadowReportViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/policies/{id}/shadow-report``"""

    collection = "policies"
    permissions = {"retrieve": "firewall.view_shadow_report"}
    filters = {"retrieve": {"days"}}

    @extend_schema(parameters=[OpenApiParameter("days", int, description=f"1 to {MAX_DAYS}, 7 unless given.")], responses=ShadowReportOut)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        """What the policy would have stopped while it was in shadow."""
        policy = self.get_object()
        report = shadow_report(policy, days=number_of(request.query_params.get("days", "7"), "days", most=MAX_DAYS), at=timezone.now())
        return Response(ShadowReportOut(report).data)
