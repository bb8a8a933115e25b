"""A policy's versions, and policies as files."""

from http import HTTPStatus

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.response import Response

from firewall import policy_file, selectors, services
from firewall.api.bodies import Difference, Fork, PolicyFile, PolicyWithRules, Restore, VersionOut, VersionWhole, answered, expected_version, read
from firewall.engine import history
from firewall.models import Policy, PolicyVersion
from workspaces.api_base import ApiRequest, StrictJSONParser, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of
from workspaces.errors import NotFound, ValidationFailed
from workspaces.params import row_id

COMPARED = [
    OpenApiParameter("from", int, description="The older version; the one before `to` unless given."),
    OpenApiParameter("to", int, description="The newer version; the newest unless given."),
]


class PolicyVersionViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/policies/{id}/versions``: kept when the policy is deleted, as the events that name them are."""

    permissions = {"list": "firewall.view_policy", "retrieve": "firewall.view_policy", "diff": "firewall.view_policy"}
    filters = {"diff": {"from", "to"}}

    def get_queryset(self) -> QuerySet[PolicyVersion]:
        return selectors.versions(self.workspace, row_id(self.kwargs["pk"]))

    @extend_schema(parameters=PAGING, responses=page_of(VersionOut, "VersionPage"))
    def list(self, request: ApiRequest, pk: str) -> Response:
        """Every save of the policy, newest first, with what changed in words."""
        return self.keyset(self.get_queryset().defer("snapshot"), lambda found: VersionOut(found, many=True).data)

    @extend_schema(responses=VersionWhole)
    def retrieve(self, request: ApiRequest, pk: str, number: str) -> Response:
        """The policy as it was then, its rules in the order in which they were judged."""
        found = self.get_queryset().filter(version=_version(number, "version")).first()
        if found is None:
            raise NotFound("Not found.")
        return Response(VersionWhole(found).data)

    @extend_schema(parameters=COMPARED, responses=Difference)
    def diff(self, request: ApiRequest, pk: str) -> Response:
        """What differs between two versions, field by field and in words."""
        asked = {name: _version(request.query_params[name], name) if name in request.query_params else None for name in ("from", "to")}
        older, newer = selectors.compared(self.get_queryset(), before=asked["from"], after=asked["to"])
        found = history.changes(older.snapshot, newer.snapshot)
        return Response(Difference({"from_version": older.version, "to_version": newer.version, "changes": found}).data)


class YAMLParser(BaseParser):
    """A policy's file: ``(fields, rules)``."""

    media_type = policy_file.MEDIA_TYPE

    def parse(self, stream, media_type=None, parser_context=None):
        return policy_file.read(stream.read(policy_file.MAX_BYTES + 1))


class XYAMLParser(YAMLParser):
    """The names that YAML went by before it had one (RFC 9512, 2.1): clients still send them."""

    media_type = "application/x-yaml"


class TextYAMLParser(YAMLParser):
    media_type = "text/yaml"


class PolicyCopyViewSet(WorkspaceViewSet):
    """Policies made of policies: of an earlier version, of another policy, of a file."""

    permissions = {
        "restore": "firewall.change_policy",
        "fork": "firewall.change_policy",
        "export": "firewall.view_policy",
        "import_file": "firewall.change_policy",
    }
    filters = {"export": {"version"}, "import_file": {"policy_id", "version"}}
    parser_classes = [StrictJSONParser, YAMLParser, XYAMLParser, TextYAMLParser]

    def get_queryset(self) -> QuerySet[Policy]:
        return selectors.policies(self.workspace)

    @extend_schema(request={"application/json": Restore}, responses=PolicyWithRules)
    def restore(self, request: ApiRequest, pk: str) -> Response:
        """Make the policy what it was at a version, fields and rules, as a new version."""
        policy, fields = self.get_object(), self._body(Restore, request)
        expected, wanted = expected_version(fields, request), _version(fields.get("version_to_restore"), "version_to_restore")
        services.restore_version(policy, version=wanted, expected_version=expected, actor=request.user, at=timezone.now())
        return answered(self.get_queryset(), policy.pk)

    @extend_schema(request={"application/json": Fork}, responses={201: PolicyWithRules})
    def fork(self, request: ApiRequest, pk: str) -> Response:
        """Copy the policy with its rules under a new name, bound to no key and not the default."""
        policy, name = self.get_object(), self._body(Fork, request).get("name")
        if name is None:
            raise ValidationFailed("The copy needs a name.", param="name")
        made = services.fork_policy(policy, name=name, actor=request.user, at=timezone.now())
        return answered(self.get_queryset(), made.pk, HTTPStatus.CREATED)

    @extend_schema(
        parameters=[OpenApiParameter("version", int, description="As it was then; as it is, unless given.")],
        responses={(200, policy_file.MEDIA_TYPE): PolicyFile},
    )
    def export(self, request: ApiRequest, pk: str) -> HttpResponse:
        """The policy as YAML that `policies/import` reads back."""
        return policy_as_file(*self._kept(request))

    @extend_schema(
        parameters=[
            OpenApiParameter("policy_id", int, description="The policy whose fields and rules the file replaces; a new one is made unless given."),
            OpenApiParameter("version", int, description="The version that the replacement is based on: 409 if it moved on. `If-Match` does the same."),
        ],
        request={policy_file.MEDIA_TYPE: PolicyFile, "application/json": PolicyFile},
        responses={200: PolicyWithRules, 201: PolicyWithRules},
    )
    def import_file(self, request: ApiRequest) -> Response:
        """Make a policy of a file, or replace one by it as its next version. At most 16 MB of YAML, or 1 MB of JSON, without anchors, aliases and tags."""
        replaced = None
        if (policy_id := request.query_params.get("policy_id")) is not None:
            replaced = self.get_queryset().filter(pk=row_id(policy_id, param="policy_id")).first()
            if replaced is None:
                raise NotFound("There is no such policy.", param="policy_id")
        based_on = {"version": _version(request.query_params["version"], "version")} if "version" in request.query_params else {}
        expected = expected_version(based_on, request)
        # What the YAML parser gives is sorted out already.
        fields, rules = request.data if isinstance(request.data, tuple) else policy_file.sorted_out(request.data)
        if replaced is None:
            if expected is not None:
                raise ValidationFailed("A version is one of the policy that the file replaces: name it (policy_id).", param="version")
            made = services.create_policy(self.workspace, fields=fields, rules=rules, actor=request.user, at=timezone.now(), words="Made of a file.")
            return answered(self.get_queryset(), made.pk, HTTPStatus.CREATED)
        services.replace_policy(replaced, fields=fields, rules=rules, expected_version=expected, actor=request.user, at=timezone.now())
        return answered(self.get_queryset(), replaced.pk)

    def _kept(self, request: ApiRequest) -> tuple[str, int, dict]:
        """Name, version and content to export."""
        versions = selectors.versions(self.workspace, row_id(self.kwargs["pk"]))
        if "version" in request.query_params:
            versions = versions.filter(version=_version(request.query_params["version"], "version"))
        found = versions.first()
        if found is None:
            raise NotFound("This policy has no such version.", param="version")
        return found.snapshot["name"], found.version, found.snapshot

    def _body(self, body, request: ApiRequest) -> dict:
        if isinstance(request.data, tuple):
            raise ValidationFailed("Send the body as application/json.")
        return read(body, request)


def policy_as_file(name: str, version: int, snapshot: dict) -> HttpResponse:
    """The download of one version of a policy."""
    file = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in name)
    return HttpResponse(
        policy_file.write(snapshot),
        content_type=policy_file.MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{file}.v{version}.yaml"', "ETag": f'"{version}"'},
    )


def _version(value: object, param: str) -> int:
    """A version out of a path, a query or a body. Raises ``ValidationFailed``."""
    text = str(value) if type(value) in (int, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise ValidationFailed("A version of a policy is a whole number from 1.", param=param)
    return int(text)
