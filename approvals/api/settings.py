"""The firewall's settings as one resource: the firewall's own, and those of holds, which live here."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

import firewall.selectors
import firewall.services
from approvals import addressees, selectors, settings_services
from firewall.api import bodies
from workspaces.api_base import ApiRequest, WorkspaceViewSet
from workspaces.models import Workspace
from workspaces.permissions import Role


class ReviewPlanBody(serializers.Serializer):
    """Who decides about a policy's holds."""

    policy_id = serializers.IntegerField(required=False, allow_null=True, help_text="Null: every policy without a plan of its own.")
    quorum = serializers.IntegerField(required=False, min_value=1, max_value=settings_services.MAX_QUORUM, help_text="How many must approve.")
    least_role = serializers.ChoiceField(["developer", "admin", "owner"], required=False)
    reviewers = serializers.ListField(child=serializers.IntegerField(), required=False, help_text="User ids; empty: everyone of the role or above.")


class SettingsChange(bodies.SettingsChange):
    """Some of the settings; the rest stays."""

    approval_ttl_seconds = serializers.IntegerField(required=False, min_value=60, max_value=settings_services.TTL_SECONDS.stop - 1)
    approval_use_ttl_seconds = serializers.IntegerField(required=False, min_value=10, max_value=settings_services.USE_TTL_SECONDS.stop - 1)
    four_eyes = serializers.BooleanField(required=False, help_text="Admin and above.")
    approval_reviews = ReviewPlanBody(many=True, required=False, help_text="All of them; Admin and above.")
    approval_webhook_url = serializers.CharField(required=False, allow_blank=True, help_text="Public and https; empty: none. Admin and above.")
    approval_webhook_secret = serializers.CharField(
        required=False, allow_blank=True, allow_null=True, write_only=True, min_length=24, max_length=255, help_text="Admin and above."
    )
    approval_webhook_secret_overlap_seconds = serializers.IntegerField(
        required=False, write_only=True, min_value=0, max_value=settings_services.MAX_OVERLAP_SECONDS, help_text="How long the secret before stays valid."
    )
    approval_notify_reviewers = serializers.BooleanField(required=False, help_text="Admin and above.")
    approval_notify_emails = serializers.ListField(child=serializers.EmailField(), required=False, max_length=20, help_text="Admin and above.")
    approval_slack_url = serializers.CharField(
        required=False, allow_blank=True, write_only=True, help_text="A Slack-compatible incoming webhook; empty: none. Admin and above."
    )


class SettingsOut(bodies.SettingsOut):
    approval_ttl_seconds = serializers.IntegerField()
    approval_use_ttl_seconds = serializers.IntegerField()
    four_eyes = serializers.BooleanField()
    approval_reviews = ReviewPlanBody(many=True)
    approval_webhook_url = serializers.CharField(allow_blank=True)
    approval_webhook_secret_set_at = serializers.DateTimeField(allow_null=True, help_text="Null: there is no secret.")
    approval_webhook_former_secret_until = serializers.DateTimeField(allow_null=True, help_text="Until when the secret before is valid too.")
    approval_webhook_paused_at = serializers.DateTimeField(allow_null=True, help_text="Since when the webhook is paused, after repeated failure.")
    approval_notify_reviewers = serializers.BooleanField()
    approval_notify_emails = serializers.ListField(child=serializers.EmailField())
    approval_slack_url_set = serializers.BooleanField()

    class Meta(bodies.SettingsOut.Meta):
        fields = (
            *bodies.SettingsOut.Meta.fields,
            *("approval_ttl_seconds", "approval_use_ttl_seconds", "four_eyes", "approval_reviews", "approval_webhook_url"),
            *("approval_webhook_secret_set_at", "approval_webhook_former_secret_until", "approval_webhook_paused_at"),
            *("approval_notify_reviewers", "approval_notify_emails", "approval_slack_url_set"),
        )


class SettingsViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/settings``"""

    permissions = {"retrieve": "firewall.view_settings", "update": "firewall.change_settings"}

    @extend_schema(responses=SettingsOut)
    def retrieve(self, request: ApiRequest) -> Response:
        """All settings, without secrets."""
        return Response(shown(self.workspace))

    @extend_schema(request=SettingsChange, responses=SettingsOut)
    def update(self, request: ApiRequest) -> Response:
        """Change the settings that are named and leave the rest."""
        changes = bodies.read(SettingsChange, request)
        if (settings_services.GUARDED | firewall.services.FIXED_SETTINGS.keys()) & set(changes):
            self.require("firewall.change_guarded_settings")
        ours = {name: value for name, value in changes.items() if name in settings_services.FIELDS}
        theirs = {name: value for name, value in changes.items() if name not in ours}
        if theirs or not ours:
            firewall.services.change_settings(self.workspace, changes=theirs, actor=request.user, at=timezone.now())
        if ours:
            settings_services.change(self.workspace, changes=ours, actor=request.user, at=timezone.now())
        return Response(shown(self.workspace))


def shown(workspace: Workspace) -> dict[str, Any]:
    """The settings as they are answered: both apps' in one object."""
    settings, endpoint, at = selectors.settings_of(workspace), addressees.endpoint_of(workspace), timezone.now()
    is_overlap = endpoint.former_secret_until is not None and endpoint.former_secret_until > at
    ours = {
        "approval_ttl_seconds": settings.approval_ttl_seconds,
        "approval_use_ttl_seconds": settings.approval_use_ttl_seconds,
        "four_eyes": settings.four_eyes,
        "approval_reviews": [
            {"policy_id": plan.policy_id, "quorum": plan.quorum, "least_role": Role(plan.least_role).label.lower(), "reviewers": plan.reviewer_ids}
            for plan in workspace.review_plans.order_by("policy_id")
        ],
        "approval_webhook_url": endpoint.url,
        "approval_webhook_secret_set_at": _moment(endpoint.secret_set_at),
        "approval_webhook_former_secret_until": _moment(endpoint.former_secret_until) if is_overlap else None,
        "approval_webhook_paused_at": _moment(endpoint.paused_at),
        "approval_notify_reviewers": settings.notify_reviewers,
        "approval_notify_emails": settings.notify_emails,
        "approval_slack_url_set": settings.slack_url_sealed is not None,
    }
    return bodies.SettingsOut(firewall.selectors.settings_of(workspace)).data | ours


def _moment(at: datetime | None) -> str | None:
    # As text: the answer may be kept for a repetition of the request.
    return serializers.DateTimeField().to_representation(at) if at else None
