"""Pages of people and workspaces."""

from django.urls import path

from workspaces import console

urlpatterns = [
    path("members/", console.members, name="members"),
    path("members/invite/", console.invite, name="invite"),
    path("members/<str:pk>/role/", console.member_role, name="member_role"),
    path("members/<str:pk>/remove/", console.member_remove, name="member_remove"),
    path("invitations/<str:pk>/revoke/", console.invitation_revoke, name="invitation_revoke"),
    path("invitation/<str:token>/", console.invitation, name="invitation"),
    path("workspace/rename/", console.rename, name="rename"),
    path("workspace/switch/", console.switch, name="switch"),
    path("workspace/leave/", console.leave, name="leave"),
    path("access-tokens/", console.tokens, name="tokens"),
    path("access-tokens/new/", console.token_create, name="token_create"),
    path("access-tokens/<str:pk>/revoke/", console.token_revoke, name="token_revoke"),
    path("profile/", console.account, name="account"),
    path("audit/", console.audit_log, name="audit"),
]
