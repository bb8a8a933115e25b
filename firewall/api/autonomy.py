"""Autonomy levels: apply, undo, and see beforehand what one would do."""

from dataclasses import asdict

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from firewall import autonomy
from firewall.api.bodies import Named, read
from firewall.api.posture import SeedRule
from firewall.engine.autonomy import LEVELS
from firewall.selectors import VERDICTS
from firewall.selectors.simulation import WINDOW_DAYS, simulate
from workspaces.api_base import ApiRequest, WorkspaceViewSet
from workspaces.errors import ValidationFailed
from workspaces.params import row_id


class ApplyLevel(Named):
    level = serializers.ChoiceField(list(LEVELS))


class UndoLevel(Named):
    force = serializers.BooleanField(required=False, default=False, help_text="Restore even what was changed since, and let go of bound keys.")


class BoundKey(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()


class AppliedOut(serializers.Serializer):
    audit_id = serializers.IntegerField(help_text="What undo takes.")
    level = serializers.ChoiceField(list(LEVELS))
    policy_id = serializers.IntegerField(allow_null=True, help_text="Null: at `permissive` no policy is in force.")
    guardrail_id = serializers.IntegerField(allow_null=True)
    observe_mode = serializers.BooleanField()
    unaffected_keys = BoundKey(many=True, help_text="Keys with a policy of their own.")


class UndoneOut(serializers.Serializer):
    audit_id = serializers.IntegerField()
    level = serializers.ChoiceField(list(LEVELS))


class SimulatedTool(serializers.Serializer):
    tool_name = serializers.CharField()
    calls = serializers.IntegerField()
    verdict = serializers.ChoiceField(VERDICTS)


class SimulationOut(serializers.Serializer):
    level = serializers.ChoiceField(list(LEVELS))
    window_days = serializers.IntegerField()
    calls = serializers.IntegerField()
    would_deny = serializers.IntegerField()
    would_hold = serializers.IntegerField()
    by_tool = SimulatedTool(many=True)
    rules = SeedRule(many=True, help_text="Rules that the level has.")
    guardrail_rules = serializers.ListField(child=serializers.JSONField())
    not_replayable = serializers.IntegerField(help_text="Of the calls, those of which not enough was kept; they are in no other count.")
    is_partial = serializers.BooleanField(help_text="There were more events; the newest 10,000 were judged.")


class AutonomyViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/autonomy``"""

    permissions = {"create": "firewall.change_policy", "undo": "firewall.change_policy"}

    @extend_schema(request=ApplyLevel, responses={200: AppliedOut})
    def create(self, request: ApiRequest) -> Response:
        """Make a level the workspace's posture, in one transaction. Keys with a policy of their own keep it."""
        applied = autonomy.apply_level(self.workspace, level=read(ApplyLevel, request).get("level"), actor=request.user, at=timezone.now())
        return Response(AppliedOut(asdict(applied)).data)

    @extend_schema(request=UndoLevel, responses={200: UndoneOut})
    def undo(self, request: ApiRequest, pk: str) -> Response:
        """Restore what was before the level. 409 names what was changed or bound since."""
        audit_id, force = row_id(pk), read(UndoLevel, request).get("force", False)
        if not isinstance(force, bool):
            raise ValidationFailed("True or false.", param="force")
        level = autonomy.undo_level(self.workspace, audit_id=audit_id, force=force, actor=request.user, at=timezone.now())
        return Response({"audit_id": audit_id, "level": level})


class SimulateViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/simulate``"""

    permissions = {"list": "firewall.view_policy"}
    filters = {"list": {"level"}}

    @extend_schema(parameters=[OpenApiParameter("level", str, enum=list(LEVELS), required=True)], responses=SimulationOut(many=False))
    def list(self, request: ApiRequest) -> Response:
        """Judge the calls of the last days anew, as the level would. Nothing changes."""
        found = simulate(self.workspace, autonomy.level_of(request.query_params.get("level")), at=timezone.now())
        body = {
            **{name: getattr(found, name) for name in ("level", "calls", "would_deny", "would_hold", "not_replayable", "is_partial")},
            "window_days": WINDOW_DAYS,
            "by_tool": [asdict(each) for each in found.by_tool],
            "rules": [dict(rule) for rule in found.rules],
            "guardrail_rules": [],
        }
        return Response(body)
