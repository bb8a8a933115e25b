"""What every management route shares: strict JSON in, one workspace, a declared permission, one error body, keyset lists."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.viewsets import GenericViewSet

from workspaces import errors, idempotency, tenancy
from workspaces.authentication import Credential, chosen_membership
from workspaces.engine.strict_json import no_constant, unique
from workspaces.models import Membership, User, Workspace
from workspaces.paging import MAX_PAGE_SIZE, PAGE_SIZE, Page, page_of
from workspaces.params import number_of, row_id
from workspaces.permissions import PERMISSIONS, allowed, scope_needed

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 64
#: What a row's own address takes. PUT is as PATCH is: it changes the fields that are named.
ITEM = {"get": "retrieve", "put": "update", "patch": "update", "delete": "destroy"}
MAX_UNKNOWN_TOLD = 50


# --- In: strict JSON ------------------------------------------------------------------------------------------------
class StrictJSONParser(BaseParser):
    """One JSON value: UTF-8, at most 1 MiB and 64 levels, no repeated names, no NaN, no half of a surrogate pair."""

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None):
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise errors.PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
        try:
            value = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=no_constant)
            if b"\\u" in raw:
                # Written as an escape it passes the decoder above, and then no answer that names it could be sent.
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise errors.BadRequestBody(
                f"The body is not valid JSON: {error}" if isinstance(error, ValueError) else "The body is nested too deeply."
            ) from error
        if _depth_exceeds(value, MAX_DEPTH):
            raise errors.BadRequestBody(f"The body is nested more than {MAX_DEPTH} levels deep.")
        return value


def _depth_exceeds(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())]
        if not level:
            return False
    return True


class Body(serializers.Serializer):
    """A serializer that names a field it does not know instead of ignoring it."""

    def run_validation(self, data=serializers.empty):
        if data is None and self.parent is None:
            raise serializers.ValidationError({"non_field_errors": ["The body is a JSON object."]})
        return super().run_validation(data)

    def to_internal_value(self, data):
        if isinstance(data, dict):
            refuse_unknown(data, self.fields)
        return super().to_internal_value(data)


def refuse_unknown(data: Iterable[str], known: Iterable[str]) -> None:
    """Name the fields that a body should not have, all of them up to a bound."""
    if unknown := sorted(set(data) - set(known))[:MAX_UNKNOWN_TOLD]:
        raise serializers.ValidationError({name: ["There is no such field."] for name in unknown})


# --- Out: one error body --------------------------------------------------------------------------------------------
class OnlyJSON(DefaultContentNegotiation):
    """Every answer is JSON, whatever was asked for; an ``Accept`` header is no reason to fail."""

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


def answer_error(error: Exception, context: dict | None = None) -> Response | None:
    """DRF's exception handler: every expected failure in the one body; None for a bug, which rises and is logged once."""
    known = as_orca_error(error, takes=[parser.media_type for parser in context["view"].parser_classes] if context else ())
    return Response(known.body(), status=known.status, headers=known.headers) if known else None


def as_orca_error(error: Exception, *, takes: Sequence[str] = ()) -> errors.OrcaError | None:
    """The product's error for what Django and DRF raise. ``takes`` are the media types of the route's body."""
    match error:
        case errors.OrcaError():
            return error
        case exceptions.ValidationError():
            return errors.ValidationFailed.of(list(_flatten(error.detail)))
        case exceptions.ParseError():
            return errors.BadRequestBody(str(error.detail))
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.AuthenticationRequired("Sign in, or send a personal access token.")
        case exceptions.PermissionDenied():
            return errors.PermissionRefused(str(error.detail))
        case exceptions.MethodNotAllowed():
            return errors.MethodNotAllowed(str(error.detail))
        case exceptions.UnsupportedMediaType():
            return errors.UnsupportedMediaType(f"Send the body as {' or '.join(takes) or 'application/json'}.")
        case Http404() | exceptions.NotFound():
            return errors.NotFound("Not found.")
        case OperationalError() | InterfaceError():
            return errors.StoreUnavailable("The database does not answer.")
    return None


def _flatten(detail: object, path: str = ""):
    """DRF's nested error detail as ``{"param", "message"}`` rows, depth first."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flatten(inner, path if name == "non_field_errors" else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        for index, inner in enumerate(detail):
            yield from _flatten(inner, f"{path}.{index}" if path else str(index)) if inner else ()
    else:
        for message in detail if isinstance(detail, list) else [detail]:
            yield {"param": path or None, "message": str(message)}


# --- The view -------------------------------------------------------------------------------------------------------
class ApiRequest(Request):
    """What an action is given: an authenticated person and what they showed for it."""

    user: User
    auth: Credential


class WorkspaceViewSet(GenericViewSet):
    """A group of routes inside one workspace.

    ``permissions`` names the permission of each action; an action without one fails when the URLs are built.
    ``collection`` is the relation of ``Workspace`` that the rows come from. ``filters`` lists the query parameters an
    action takes beside ``limit`` and ``cursor``; any other is refused. ``keeps_answers`` False is for what changes
    nothing: an idempotency key means nothing to it.
    """

    permissions: dict[str, str] = {}
    collection: str = ""
    filters: dict[str, frozenset[str] | set[str]] = {}
    keeps_answers = True
    # Here and not in the settings: DRF reads those while it is imported from here.
    parser_classes = [StrictJSONParser]
    content_negotiation_class = OnlyJSON
    format_kwarg = None
    pagination_class = None
    filter_backends: list = []

    request: ApiRequest
    workspace: Workspace
    membership: Membership

    @classmethod
    def as_view(cls, actions=None, **initkwargs):
        for action in (actions or {}).values():
            if cls.permissions.get(action) not in PERMISSIONS:
                raise TypeError(f"{cls.__name__}.{action} declares no permission of workspaces/permissions.py")
        return super().as_view(actions, **initkwargs)

    def dispatch(self, request, *args, **kwargs):
        """DRF's dispatch with the whole request in one transaction, narrowed to the person and the workspace."""
        self.args, self.kwargs = args, kwargs
        request = self.initialize_request(request, *args, **kwargs)
        self.request, self.headers = request, self.default_response_headers
        try:
            with transaction.atomic():
                try:
                    self.initial(request, *args, **kwargs)
                    handler = getattr(self, request.method.lower(), self.http_method_not_allowed)
                    response = idempotency.around(self, request, partial(handler, request, *args, **kwargs))
                except Exception as error:
                    transaction.set_rollback(True)
                    response = self.handle_exception(error)
        except (OperationalError, InterfaceError) as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(request, response, *args, **kwargs)
        return self.response

    def initial(self, request: ApiRequest, *args, **kwargs) -> None:  # type: ignore[override]
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self.perform_authentication(request)
        if not isinstance(request.user, User):
            raise errors.AuthenticationRequired("Sign in, or send a personal access token.")
        tenancy.enter(user_id=request.user.pk)
        self.membership = chosen_membership(request, request.user, request.auth)
        self.workspace = self.membership.workspace
        tenancy.enter(workspace_id=self.workspace.pk)
        if self.action not in self.permissions:
            # None for a method that the route does not have, "metadata" for OPTIONS, which DRF adds.
            raise exceptions.MethodNotAllowed(str(request.method))
        self.require(self.permissions[self.action])
        self._refuse_unknown_query(request)

    def require(self, permission: str) -> None:
        """Raise ``PermissionRefused`` unless the member, and the token if there is one, may."""
        if not allowed(self.membership, permission):
            raise errors.PermissionRefused(f"This needs the role {PERMISSIONS[permission].least_role.label} or above.", needs=permission)
        if scope := self.scope_lacked(permission):
            raise errors.PermissionRefused(f"This access token lacks the scope {scope}.", needs=permission, scope=scope)

    def scope_lacked(self, permission: str) -> str | None:
        """The scope that the request's token would need and has not; None where it has it, or where there is no token."""
        scope, scopes = scope_needed(permission, reads=self.request.method in ("GET", "HEAD", "OPTIONS")), self.request.auth.scopes
        return None if scopes is None or scope in scopes else scope

    def _refuse_unknown_query(self, request: Request) -> None:
        known = {*self.filters.get(self.action, ()), *(("limit", "cursor") if self.action == "list" else ())}
        for name, value in request.query_params.items():
            if name not in known:
                raise errors.ValidationFailed(f"There is no query parameter {name[:64]!r} here.", param=name[:64])
            if "\x00" in value or len(value) > 2000:
                raise errors.ValidationFailed("This value is not usable.", param=name)

    def get_queryset(self) -> QuerySet:
        return getattr(self.workspace, self.collection).all()

    def get_object(self):
        """The row of ``pk``. A malformed id is 400, a missing one and another workspace's are both 404."""
        found = self.get_queryset().filter(pk=row_id(self.kwargs["pk"])).first()
        if found is None:
            raise errors.NotFound("Not found.")
        return found

    def keyset(self, queryset: QuerySet, show: Callable[[list], object]) -> Response:
        """A page of rows by descending id; ``show`` turns rows into JSON."""
        page = page_of(queryset, self.request.query_params.get("cursor"), size=page_size(self.request))
        return self.answer_page(page, show(page.rows))

    def answer_page(self, page: Page, results: object, **beside: object) -> Response:
        """``{"results", "next", "previous"}``, with what a route tells ``beside`` them."""
        return Response({"results": results, **beside, "next": self.link(page.older), "previous": self.link(page.newer)})

    def link(self, cursor: str) -> str | None:
        """This address at another place of its list; None for no cursor."""
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor) if cursor else None


def page_size(request: Request) -> int:
    """``limit`` of a list: 50 unless asked otherwise, at most 200."""
    return number_of(request.query_params.get("limit", str(PAGE_SIZE)), "limit", most=MAX_PAGE_SIZE)
