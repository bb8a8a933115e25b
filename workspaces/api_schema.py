"""How the lists of the management API look in its OpenAPI document."""

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from workspaces.paging import MAX_PAGE_SIZE, PAGE_SIZE

PAGING = [
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}),
    OpenApiParameter("cursor", str, description="Out of a `next` or `previous` link."),
]


def page_of(rows: type[serializers.BaseSerializer], name: str = "") -> serializers.Serializer:
    """``{"results", "next", "previous"}``, under a name of its own where other lists have such rows."""
    return inline_serializer(
        name or f"{rows.__name__}Page",
        {
            "results": rows(many=True),
            "next": serializers.URLField(allow_null=True, help_text="Where the list goes on."),
            "previous": serializers.URLField(allow_null=True, help_text="The page before this one."),
        },
    )
