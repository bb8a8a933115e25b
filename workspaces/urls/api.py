"""``/api/workspaces/`` and ``/api/workspace/...``"""

from django.urls import path

from workspaces import api
from workspaces.api_base import ITEM

READ_WRITE = {"get": "list", "post": "create"}

urlpatterns = [
    path("workspaces/", api.MyWorkspaces.as_view({"get": "list"})),
    path("workspace/", api.ThisWorkspace.as_view({"get": "retrieve", "put": "update", "patch": "update"})),
    path("workspace/members/", api.Members.as_view({"get": "list"})),
    path("workspace/members/<str:pk>/", api.Members.as_view(ITEM)),
    path("workspace/invitations/", api.Invitations.as_view(READ_WRITE)),
    path("workspace/invitations/<str:pk>/", api.Invitations.as_view({"get": "retrieve", "delete": "destroy"})),
    path("workspace/access-tokens/", api.AccessTokens.as_view(READ_WRITE)),
    path("workspace/access-tokens/<str:pk>/", api.AccessTokens.as_view({"get": "retrieve", "delete": "destroy"})),
    path("workspace/audit/", api.AuditLog.as_view({"get": "list"})),
    path("workspace/audit/<str:pk>/", api.AuditLog.as_view({"get": "retrieve"})),
]
