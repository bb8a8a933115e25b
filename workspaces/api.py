"""The management API of a workspace itself: name, members, invitations, one's own access tokens, the audit log."""

from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from workspaces import selectors, services
from workspaces.api_base import ApiRequest, Body, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of
from workspaces.errors import PermissionRefused
from workspaces.models import AccessToken, AuditEntry
from workspaces.permissions import Role

ROLE_WORDS = {role.label.lower(): role for role in reversed(Role)}


# --- Bodies ---------------------------------------------------------------------------------------------------------
class RoleField(serializers.ChoiceField):
    """A role by its word, lowest first: ``member``, ``developer``, ``admin``, ``owner``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[role.label.lower() for role in Role], **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return ROLE_WORDS[super().to_internal_value(data)]

    def to_representation(self, value: Any) -> str:
        return Role(value).label.lower()


class WorkspaceBody(Body):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=80)
    created_at = serializers.DateTimeField(read_only=True)


class MyWorkspaceBody(Body):
    id = serializers.IntegerField(source="workspace.id", read_only=True)
    name = serializers.CharField(source="workspace.name", read_only=True)
    role = RoleField(read_only=True)


class MemberBody(Body):
    id = serializers.IntegerField(read_only=True)
    user_id = serializers.IntegerField(read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)
    role = RoleField()
    created_at = serializers.DateTimeField(read_only=True)


class InvitationBody(Body):
    id = serializers.IntegerField(read_only=True)
    email = serializers.EmailField(max_length=254)
    role = RoleField()
    invited_by = serializers.CharField(source="invited_by.email", read_only=True, default=None, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)


class NewInvitationBody(InvitationBody):
    link = serializers.URLField(read_only=True, help_text="Shown this once. It opens for the invited address alone.")


class AccessTokenBody(Body):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=AccessToken.Scope.choices), allow_empty=False, max_length=5, default=lambda: ["read", "write"]
    )
    expires_in_days = serializers.IntegerField(min_value=1, max_value=365, default=90, write_only=True)
    token_end = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)


class NewAccessTokenBody(AccessTokenBody):
    token = serializers.CharField(read_only=True, help_text="Shown this once.")


class AuditEntryBody(serializers.ModelSerializer):
    payload = serializers.DictField()

    class Meta:
        model = AuditEntry
        fields = ["id", "sequence", "at", "actor_id", "actor_label", "action", "target_kind", "target_id", "target_label", "payload", "entry_hash"]
        read_only_fields = fields


# --- Views ----------------------------------------------------------------------------------------------------------
class MyWorkspaces(WorkspaceViewSet):
    """``/api/workspaces``: where the caller is a member. A token belongs to one workspace and sees that one."""

    permissions = {"list": "workspaces.view"}
    serializer_class = MyWorkspaceBody

    @extend_schema(operation_id="workspaces_list", responses=page_of(MyWorkspaceBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        mine = selectors.memberships_of(request.user)
        if not request.auth.is_session:
            mine = mine.filter(workspace=self.workspace)
        return self.keyset(mine, lambda rows: MyWorkspaceBody(rows, many=True).data)


class ThisWorkspace(WorkspaceViewSet):
    """``/api/workspace``"""

    permissions = {"retrieve": "workspaces.view", "update": "workspaces.change"}
    serializer_class = WorkspaceBody

    @extend_schema(responses=WorkspaceBody)
    def retrieve(self, request: ApiRequest) -> Response:
        return Response(WorkspaceBody(self.workspace).data)

    @extend_schema(request=WorkspaceBody, responses=WorkspaceBody)
    def update(self, request: ApiRequest) -> Response:
        body = WorkspaceBody(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        if "name" in body.validated_data:
            services.rename_workspace(self.workspace, name=body.validated_data["name"], actor=request.user, at=timezone.now())
        return Response(WorkspaceBody(self.workspace).data)


class Members(WorkspaceViewSet):
    """``/api/workspace/members``"""

    collection = "memberships"
    permissions = {
        "list": "workspaces.view_members",
        "retrieve": "workspaces.view_members",
        "update": "workspaces.change_members",
        "destroy": "workspaces.change_members",
    }
    serializer_class = MemberBody

    def get_queryset(self):
        return selectors.members(self.workspace)

    @extend_schema(operation_id="workspace_members_list", responses=page_of(MemberBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset(), lambda rows: MemberBody(rows, many=True).data)

    @extend_schema(responses=MemberBody)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(MemberBody(self.get_object()).data)

    @extend_schema(request=MemberBody, responses=MemberBody)
    def update(self, request: ApiRequest, pk: str) -> Response:
        membership = self.get_object()
        body = MemberBody(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        if "role" in body.validated_data:
            services.change_role(membership, role=body.validated_data["role"], actor=request.user, at=timezone.now())
        return Response(MemberBody(membership).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        services.remove_member(self.get_object(), actor=request.user, at=timezone.now())
        return Response(status=204)


class Invitations(WorkspaceViewSet):
    """``/api/workspace/invitations``: the open ones."""

    collection = "invitations"
    permissions = {
        "list": "workspaces.change_members",
        "retrieve": "workspaces.change_members",
        "create": "workspaces.change_members",
        "destroy": "workspaces.change_members",
    }
    serializer_class = InvitationBody

    def get_queryset(self):
        return selectors.open_invitations(self.workspace, timezone.now())

    @extend_schema(operation_id="workspace_invitations_list", responses=page_of(InvitationBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset(), lambda rows: InvitationBody(rows, many=True).data)

    @extend_schema(responses=InvitationBody)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(InvitationBody(self.get_object()).data)

    @extend_schema(request=InvitationBody, responses={201: NewInvitationBody})
    def create(self, request: ApiRequest) -> Response:
        body = InvitationBody(data=request.data)
        body.is_valid(raise_exception=True)
        invitation, token = services.invite(self.workspace, **body.validated_data, actor=request.user, at=timezone.now())
        return _shown_once(InvitationBody(invitation).data | {"link": invitation_link(request, token)})

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        services.revoke_invitation(self.get_object(), actor=request.user, at=timezone.now())
        return Response(status=204)


class AccessTokens(WorkspaceViewSet):
    """``/api/workspace/access-tokens``: the caller's own. Only a person at the console makes one: a token mints no tokens."""

    collection = "access_tokens"
    permissions = {"list": "workspaces.own_tokens", "retrieve": "workspaces.own_tokens", "create": "workspaces.own_tokens", "destroy": "workspaces.own_tokens"}
    serializer_class = AccessTokenBody

    def get_queryset(self):
        return selectors.own_tokens(self.workspace, self.request.user)

    @extend_schema(operation_id="workspace_access_tokens_list", responses=page_of(AccessTokenBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset(), lambda rows: AccessTokenBody(rows, many=True).data)

    @extend_schema(responses=AccessTokenBody)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(AccessTokenBody(self.get_object()).data)

    @extend_schema(request=AccessTokenBody, responses={201: NewAccessTokenBody})
    def create(self, request: ApiRequest) -> Response:
        if not request.auth.is_session:
            raise PermissionRefused("An access token makes no access tokens. Sign in to the console.")
        body = AccessTokenBody(data=request.data)
        body.is_valid(raise_exception=True)
        now, wanted = timezone.now(), body.validated_data
        expires_at = now + timedelta(days=wanted["expires_in_days"])
        token, plaintext = services.create_access_token(
            self.workspace, user=request.user, name=wanted["name"], scopes=wanted["scopes"], expires_at=expires_at, at=now
        )
        return _shown_once(AccessTokenBody(token).data | {"token": plaintext})

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        services.revoke_access_token(self.get_object(), actor=request.user, at=timezone.now())
        return Response(status=204)


AUDIT_FILTERS = {
    "action": "Exactly, or the beginning of one with a `*`: `member_*`.",
    "actor": "A person's address or number, or `system`.",
    "target": "`kind` or `kind:id`, as in `firewall.policy:12`.",
}


class AuditLog(WorkspaceViewSet):
    """``/api/workspace/audit``: Developers read what concerns firewall, keys and guardrails; Admins (a token: scope ``admin``) all of it."""

    collection = "audit_entries"
    permissions = {"list": "workspaces.view_audit", "retrieve": "workspaces.view_audit"}
    filters = {"list": frozenset(AUDIT_FILTERS)}
    serializer_class = AuditEntryBody

    def get_queryset(self):
        asked = {name: self.request.query_params.get(name, "") for name in AUDIT_FILTERS}
        return selectors.audit_entries(self.membership, scoped=self.scope_lacked("workspaces.view_whole_audit") is not None, **asked)

    @extend_schema(
        operation_id="workspace_audit_list",
        responses=page_of(AuditEntryBody),
        parameters=PAGING + [OpenApiParameter(name, str, description=words) for name, words in AUDIT_FILTERS.items()],
    )
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset(), lambda rows: AuditEntryBody(rows, many=True).data)

    @extend_schema(responses=AuditEntryBody)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(AuditEntryBody(self.get_object()).data)


def invitation_link(request, token: str) -> str:
    """Where an invitation is accepted. The token is part of the path, so it is in no query string and no referrer."""
    return request.build_absolute_uri(reverse("console:invitation", args=[token]))


def _shown_once(body: dict) -> Response:
    return Response(body, status=201, headers={"Cache-Control": "no-store"})
