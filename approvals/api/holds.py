"""The queue of held calls, and the two decisions about each."""

import re
from collections.abc import Mapping

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from approvals import review_selectors, selectors, services
from approvals.engine.binding import State
from approvals.models import Approval
from workspaces import errors
from workspaces.api_base import ApiRequest, Body, WorkspaceViewSet, page_size
from workspaces.api_schema import PAGING, page_of
from workspaces.params import row_id

_ID = re.compile(r"[0-9a-f]{24}")
#: What a list may be narrowed to, beside the state.
_FILTERS = ("tool_name", "surface", "run_id", "conversation_id", "request_id", "key_id", "policy_id")
_COLUMNS = {"run_id": "agent_run_id"}


class Decision(Body):
    reason = serializers.CharField(required=False, allow_blank=True, max_length=services.MAX_REASON, help_text="The agent and the audit log get it.")
    rule_hash = serializers.CharField(
        required=False, max_length=64, help_text="`rule_hash_now` as you saw it: 409 if the rule was changed since, else the decision binds to that rule."
    )


class ApprovalOut(serializers.ModelSerializer):
    state = serializers.SerializerMethodField()
    run_id = serializers.CharField(source="agent_run_id", allow_null=True)
    resolved_by = serializers.CharField(source="resolved_by_label", help_text="The person's address, or what the callback gave; empty while it is pending.")
    rule_changed = serializers.SerializerMethodField(help_text="The rule is another one than when it held the call.")

    class Meta:
        model = Approval
        fields: tuple[str, ...] = (
            *("id", "state", "source", "surface", "tool_name", "skill_name", "args_hash", "key_id", "token_name", "environment", "model_name"),
            *("request_id", "client_request_id", "conversation_id", "agent_run_id", "run_id", "step_id", "parent_step_id"),
            *("policy_id", "policy_name", "policy_version", "rule_id", "rule_label", "rule_changed", "held_because", "factors", "risk_score"),
            *("created_at", "expires_at", "resolved_at", "resolved_by", "reason", "consumed_at", "consumed_request_id"),
        )

    def get_state(self, approval: Approval) -> str:
        return selectors.state_now(approval)

    def get_rule_changed(self, approval: Approval) -> bool:
        rules = self.context.get("rules")
        return (selectors.rule_hash_now(approval) if rules is None else rules.get(approval.rule_id)) != approval.rule_hash


class VoteOut(serializers.Serializer):
    by = serializers.CharField(source="label")
    approves = serializers.BooleanField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()


class ApprovalWhole(ApprovalOut):
    arguments = serializers.SerializerMethodField(help_text="The whole arguments without secrets, as JSON text; null for an offered tool.")
    rule = serializers.JSONField(help_text="The rule as it was when it held the call.")
    rule_now = serializers.SerializerMethodField(help_text="As it is now; null when it is gone.")
    rule_hash_now = serializers.SerializerMethodField()
    votes = VoteOut(many=True)
    approvals_needed = serializers.SerializerMethodField()

    class Meta(ApprovalOut.Meta):
        fields = (*ApprovalOut.Meta.fields, "arguments", "rule", "rule_now", "rule_hash_now", "votes", "approvals_needed")

    def get_arguments(self, approval: Approval) -> str | None:
        return review_selectors.arguments_of(approval)

    def get_rule_now(self, approval: Approval) -> dict | None:
        return selectors.rule_as_it_is(approval)

    def get_rule_hash_now(self, approval: Approval) -> str | None:
        return selectors.rule_hash_now(approval)

    def get_approvals_needed(self, approval: Approval) -> int:
        return selectors.review_plan_of(approval.workspace, approval.policy_id).quorum


class ApprovalViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/approvals``"""

    collection = "approvals"
    permissions = {
        "list": "approvals.view_hold",
        "retrieve": "approvals.view_hold",
        "approve": "approvals.approve_hold",
        "reject": "approvals.approve_hold",
    }
    filters = {"list": frozenset({"state", *_FILTERS})}

    @extend_schema(
        parameters=[
            OpenApiParameter("state", enum=[*State, "all"], default=State.PENDING),
            *(OpenApiParameter(name, int if name in ("key_id", "policy_id") else str) for name in _FILTERS),
            *PAGING,
        ],
        responses=page_of(ApprovalOut, "ApprovalPage"),
    )
    def list(self, request: ApiRequest) -> Response:
        """Held calls, the oldest first: those that are pending, unless ``state`` says otherwise."""
        state = request.query_params.get("state", State.PENDING)
        if state not in (*State, "all"):
            raise errors.ValidationFailed(f"One of {', '.join([*State, 'all'])}.", param="state")
        found = review_selectors.queue(self.workspace, "" if state == "all" else state)
        for name in _FILTERS:
            if value := request.query_params.get(name):
                found = found.filter(**{_COLUMNS.get(name, name): row_id(value, name) if name in ("key_id", "policy_id") else value})
        page = review_selectors.page_of_queue(found, request.query_params.get("cursor"), size=page_size(request))
        rules = selectors.rule_hashes_now(self.workspace, page.rows)
        return self.answer_page(page, ApprovalOut(page.rows, many=True, context={"rules": rules}).data)

    @extend_schema(responses=ApprovalWhole)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        """One held call: what would run, under which rule then and now, and who said what."""
        return Response(ApprovalWhole(self.get_object()).data)

    @extend_schema(request=Decision, responses=ApprovalWhole)
    def approve(self, request: ApiRequest, pk: str) -> Response:
        """Let exactly this call run, once. With a quorum it stays pending until enough people have said so; the first final word wins."""
        return self._decide(request, State.APPROVED)

    @extend_schema(request=Decision, responses=ApprovalWhole)
    def reject(self, request: ApiRequest, pk: str) -> Response:
        """Refuse this call for good. The same decision again changes nothing; the other one is 409."""
        return self._decide(request, State.REJECTED)

    def _decide(self, request: ApiRequest, decision: State) -> Response:
        approval = self.get_object()
        body = Decision(data=request.data)
        body.is_valid(raise_exception=True)
        said: Mapping[str, str] = body.validated_data
        decided = services.resolve(approval, decision=decision, by=request.user, reason=said.get("reason", ""), seen_rule_hash=said.get("rule_hash") or None)
        return Response(ApprovalWhole(decided).data)

    def get_object(self) -> Approval:
        pk = str(self.kwargs["pk"])
        if not _ID.fullmatch(pk):
            raise errors.ValidationFailed("This is not an id.", param="id")
        found = self.get_queryset().filter(pk=pk).first()
        if found is None:
            raise errors.NotFound("Not found.")
        return found
