"""The event feed."""

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from firewall import selectors
from firewall.api.bodies import EventOut
from workspaces.api_base import ApiRequest, WorkspaceViewSet, page_size
from workspaces.api_schema import PAGING, page_of
from workspaces.errors import NotFound

FILTERS = [
    OpenApiParameter("verdict", str, description="One, or several with commas."),
    OpenApiParameter("surface", str, description="One, or several with commas."),
    OpenApiParameter("tool_name", str, description="A name or a glob (`kb.*`, `*.exec`). A glob looks back 24 hours, unless `from` is given."),
    OpenApiParameter("run_id", str),
    OpenApiParameter("conversation_id", str),
    OpenApiParameter("request_id", str),
    OpenApiParameter("key_id", int),
    OpenApiParameter("environment", str),
    OpenApiParameter("from", str, description="RFC 3339 or Unix seconds, inclusive."),
    OpenApiParameter("to", str, description="RFC 3339 or Unix seconds, exclusive."),
    *PAGING,
]


class EventViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/events``"""

    collection = "events"
    permissions = {"list": "firewall.view_events", "of_request": "firewall.view_events"}
    filters = {"list": frozenset(selectors.PARAMS)}

    @extend_schema(parameters=FILTERS, responses=page_of(EventOut, "EventPage"))
    def list(self, request: ApiRequest) -> Response:
        """Events, newest first. Tools of one request that were plainly let through share an event: ``tools`` has them."""
        wanted, cursor = selectors.event_filter(request.query_params), request.query_params.get("cursor")
        page = selectors.page_of_events(self.workspace, wanted, cursor, at=timezone.now(), size=page_size(request))
        return self.answer_page(page, EventOut(page.rows, many=True).data)

    @extend_schema(responses=page_of(EventOut, "EventsOfRequest"))
    def of_request(self, request: ApiRequest, request_id: str) -> Response:
        """All events of one request, in the order in which they were decided."""
        found = list(selectors.events_of_request(self.workspace, request_id)[: selectors.MOST_OF_A_REQUEST]) if "\x00" not in request_id else []
        if not found:
            raise NotFound("Not found.")
        return Response({"results": EventOut(found, many=True).data, "next": None, "previous": None})
