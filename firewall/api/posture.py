"""Rules and policies to begin with."""

from http import HTTPStatus

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.response import Response

from firewall import posture, selectors
from firewall.api.bodies import Named, PolicyWithRules, answered, read
from firewall.engine.presets import PRESETS, Fields
from firewall.engine.templates import TEMPLATES
from firewall.models import DefaultVerdict, RuleVerdict, Stage
from workspaces.api_base import ApiRequest, WorkspaceViewSet


class SeedRule(serializers.Serializer):
    """A rule that is not made yet: a body for ``POST /rules``, but for its policy."""

    verdict = serializers.ChoiceField(RuleVerdict.choices)
    label = serializers.CharField()  # type: ignore[assignment]  # documented name
    notes = serializers.CharField(help_text="What the rule is for.")
    tool_name_glob = serializers.CharField(allow_blank=True)
    stage = serializers.ChoiceField(Stage.choices, allow_blank=True)
    priority = serializers.IntegerField(required=False, help_text="Of a template's rule; a preset's rules go where you put them, in this order.")
    args_match = serializers.JSONField(required=False)
    egress = serializers.JSONField(required=False)
    sanitize = serializers.JSONField(required=False)
    sequence = serializers.JSONField(required=False)
    cap_cost_cents = serializers.IntegerField(required=False)


class PresetOut(serializers.Serializer):
    id = serializers.ChoiceField(list(PRESETS))
    name = serializers.CharField()
    description = serializers.CharField()
    rules = SeedRule(many=True)


class TemplateOut(PresetOut):
    id = serializers.ChoiceField(list(TEMPLATES))
    default_verdict = serializers.ChoiceField(DefaultVerdict.choices)
    max_runs_per_key_per_hour = serializers.IntegerField()


class ApplyTemplate(Named):
    template = serializers.ChoiceField(list(TEMPLATES))
    name = serializers.CharField(required=False, max_length=64, help_text="The template's own name unless given.")


class PresetViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/presets``"""

    permissions = {"list": "firewall.view_policy"}

    @extend_schema(responses=inline_serializer("PresetList", {"results": PresetOut(many=True)}))
    def list(self, request: ApiRequest) -> Response:
        """Rules to copy into a policy."""
        shown = [{"id": each.id, "name": each.name, "description": each.description, "rules": _rules(each.rules)} for each in PRESETS.values()]
        return Response({"results": shown})


class TemplateViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/templates``"""

    permissions = {"list": "firewall.view_policy", "apply": "firewall.change_policy"}

    @extend_schema(responses=inline_serializer("TemplateList", {"results": TemplateOut(many=True)}))
    def list(self, request: ApiRequest) -> Response:
        """Whole policies to begin with, each rule explained."""
        named = ("id", "name", "description", "default_verdict", "max_runs_per_key_per_hour")
        shown = [{name: getattr(each, name) for name in named} | {"rules": _rules(each.rules)} for each in TEMPLATES.values()]
        return Response({"results": shown})

    @extend_schema(request=ApplyTemplate, responses={201: PolicyWithRules})
    def apply(self, request: ApiRequest) -> Response:
        """Make a policy of a template, with all its rules. It judges nothing until a key is bound to it or it is the default."""
        fields = read(ApplyTemplate, request)
        made = posture.apply_template(self.workspace, template=fields.get("template"), name=fields.get("name"), actor=request.user, at=timezone.now())
        return answered(selectors.policies(self.workspace), made.pk, HTTPStatus.CREATED)


def _rules(rules: tuple[Fields, ...]) -> list[dict]:
    return [dict(rule) for rule in rules]
