"""What Django answers by itself: the one body for machines, a page for people."""

import json

import pytest
from django.test import Client, RequestFactory

from workspaces import errors_views


@pytest.mark.parametrize("path", ["/api/nothing", "/api/workspace/nothing/", "/api"])
def test_an_unknown_path_of_the_api_has_the_one_body(db, path):
    answer = Client().get(path)
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": {"message": "Not found.", "type": "orcarouter_api_error", "code": "not_found", "param": None}},
    )


def test_an_unknown_page_is_a_page(db):
    answer = Client().get("/nothing/")
    assert (answer.status_code, answer.headers["Content-Type"].startswith("text/html")) == (404, True)


@pytest.mark.parametrize(
    ("view", "status", "code"),
    [
        (errors_views.bad_request, 400, "bad_request_body"),
        (errors_views.permission_denied, 403, "permission_denied"),
        (errors_views.csrf_failure, 403, "permission_denied"),
        (errors_views.not_found, 404, "not_found"),
        (errors_views.server_error, 500, "internal_error"),
    ],
)
def test_every_handler_speaks_both(view, status, code):
    """Without a database, session or user on the request: what a page shows may be just what failed."""
    machine, person = view(RequestFactory().get("/v1/x")), view(RequestFactory().get("/x"))
    assert (machine.status_code, person.status_code) == (status, status)
    assert f'"code": "{code}"' in machine.content.decode()
    assert "<html" in person.content.decode()


def test_a_bug_is_found_in_the_log_by_what_the_caller_is_given(caplog):
    error = json.loads(errors_views.server_error(RequestFactory().post("/api/x%0Ay?q=secret")).content)["error"]
    assert list(error["metadata"]) == ["request_id"]
    assert [record.getMessage() for record in caplog.records] == [f"internal error {error['metadata']['request_id']} on POST '/api/x\\ny'"]
    page = errors_views.server_error(RequestFactory().get("/x")).content.decode()
    assert caplog.records[-1].args[0] in page
