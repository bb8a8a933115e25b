"""What each operation of the OpenAPI document says beside its own. Apart from the views: DRF reads its settings while it is imported."""

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

#: What any management route may answer beside its success, by the shared base view.
COMMON_ERRORS = {
    400: "A field, a parameter or the body is wrong",
    401: "Not signed in",
    403: "The role or the token's scope does not allow it",
    404: "No such row in this workspace",
    405: "This method is not for this route",
    503: "The database does not answer",
}
WRITE_ERRORS = {409: "It is not as you think it is", 413: "The body is too large", 415: "The body is not application/json", 429: "Too often"}

_IDEMPOTENCY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="Makes a repeated write answer as the first one.")


class Schema(AutoSchema):
    """Adds to each operation what every route shares: the workspace header and the error answers."""

    def _is_list_view(self, serializer=None) -> bool:
        # Our lists are pages, annotated as what they are: an object with ``results``.
        return False

    def get_override_parameters(self):
        return [
            OpenApiParameter("X-Workspace-Id", int, OpenApiParameter.HEADER, description="Another workspace than the credential's own."),
            *([_IDEMPOTENCY] if self.method not in ("GET", "HEAD") else []),
        ]

    def get_operation(self, *args, **kwargs):
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            for status, description in (COMMON_ERRORS | (WRITE_ERRORS if self.method not in ("GET", "HEAD") else {})).items():
                content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
                operation["responses"].setdefault(str(status), {"description": description, "content": content})
        return operation
