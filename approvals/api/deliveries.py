"""What was sent to the webhook, attempt by attempt; once more; a test; and going on after a pause."""

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from approvals import outbox, settings_services
from approvals.models import Attempt, Channel, Delivery
from workspaces import errors
from workspaces.api_base import ApiRequest, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of


class AttemptOut(serializers.ModelSerializer):
    class Meta:
        model = Attempt
        fields = ("number", "started_at", "finished_at", "status", "latency_ms", "error", "excerpt")


class DeliveryOut(serializers.ModelSerializer):
    class Meta:
        model = Delivery
        fields: tuple[str, ...] = (
            *("id", "channel", "message_id", "event", "approval_id", "state", "created_at", "finished_at"),
            *("attempts_made", "attempts_left", "due_at"),
        )


class DeliveryWithAttempts(DeliveryOut):
    attempts = AttemptOut(many=True)

    class Meta(DeliveryOut.Meta):
        fields = (*DeliveryOut.Meta.fields, "attempts")


class DeliveryViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/approval-webhook``"""

    collection = "deliveries"
    permissions = {
        "list": "approvals.view_delivery",
        "retrieve": "approvals.view_delivery",
        "resend": "approvals.change_webhook",
        "test": "approvals.change_webhook",
        "resume": "approvals.change_webhook",
    }
    filters = {"list": frozenset({"state", "channel", "approval_id"})}

    @extend_schema(
        parameters=[
            OpenApiParameter("state", enum=Delivery.State.values),
            OpenApiParameter("channel", enum=Channel.values),
            OpenApiParameter("approval_id", description="What was told of one hold."),
            *PAGING,
        ],
        responses=page_of(DeliveryOut, "DeliveryPage"),
    )
    def list(self, request: ApiRequest) -> Response:
        """Messages, newest first."""
        found = self.get_queryset()
        for name, values in (("state", Delivery.State.values), ("channel", Channel.values), ("approval_id", None)):
            if name in request.query_params:
                value = request.query_params[name]
                if values is not None and value not in values:
                    raise errors.ValidationFailed(f"One of {', '.join(values)}.", param=name)
                found = found.filter(**{name: value})
        return self.keyset(found, lambda rows: DeliveryOut(rows, many=True).data)

    @extend_schema(responses=DeliveryWithAttempts)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        """One message with its attempts."""
        return Response(DeliveryWithAttempts(self.get_object()).data)

    @extend_schema(request=None, responses={202: DeliveryOut})
    def resend(self, request: ApiRequest, pk: str) -> Response:
        """Send a message once more, under the same ``webhook-id``."""
        delivery = self.get_object()
        outbox.resend(delivery, actor=request.user, at=timezone.now())
        delivery.refresh_from_db()
        return Response(DeliveryOut(delivery).data, status=202)

    @extend_schema(request=None, responses={202: DeliveryOut})
    def test(self, request: ApiRequest) -> Response:
        """Send a test message; its delivery says what came of it."""
        return Response(DeliveryOut(outbox.enqueue_test(self.workspace, actor=request.user, at=timezone.now())).data, status=202)

    @extend_schema(request=None, responses={204: None})
    def resume(self, request: ApiRequest) -> Response:
        """Go on after a pause; what waited is sent now."""
        settings_services.resume(self.workspace, actor=request.user, at=timezone.now())
        return Response(status=204)
