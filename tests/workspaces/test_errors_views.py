"""What Django answers by itself: the one body for machines, a page for people."""

import json
from html import unescape

import pytest
from django.db import OperationalError, connection
from django.test import Client, RequestFactory

from workspaces import errors_views
from workspaces.permissions import Role


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


def away(execute, *_):
    raise OperationalError("connection to server at 10.0.0.7 failed: password of orca_app")


@pytest.mark.parametrize(("path", "sent"), [("/policies/", None), ("/policies/?q=a&state=shadow", None), ("/policies/new/", {"name": "triage-9"})])
def test_with_the_database_away_a_page_says_so_and_nothing_more(acme, path, sent):
    browser = acme.client(Role.OWNER)
    browser.raise_request_exception = False
    browser.cookies["theme"] = "dark"
    with connection.execute_wrapper(away):
        answer = browser.post(path, sent) if sent else browser.get(path)
    page = unescape(answer.content.decode())
    assert (answer.status_code, bool(answer.headers["Retry-After"])) == (503, True)
    assert "The database does not answer" in page
    assert 'data-bs-theme="dark"' in page
    assert (f'href="{path}"' in page, "not saved" in page) == (not sent, bool(sent))
    assert not any(word in page for word in ("10.0.0.7", "orca_app", "Traceback", "triage-9"))


def test_with_the_database_away_the_api_says_so_with_the_one_body(acme):
    for caller in (acme.client(Role.OWNER), Client(headers={"Authorization": f"Bearer {acme.token(Role.OWNER)}"})):
        caller.raise_request_exception = False
        with connection.execute_wrapper(away):
            answer = caller.get("/api/workspace/firewall/policies")
        assert (answer.status_code, bool(answer.headers["Retry-After"])) == (503, True)
        assert answer.json()["error"] == {
            "message": "The database does not answer.", "type": "orcarouter_api_error", "code": "store_unavailable", "param": None
        }  # fmt: skip


def test_a_bug_is_found_in_the_log_by_what_the_caller_is_given(caplog):
    error = json.loads(errors_views.server_error(RequestFactory().post("/api/x%0Ay?q=secret")).content)["error"]
    assert list(error["metadata"]) == ["request_id"]
    assert [record.getMessage() for record in caplog.records] == [f"internal error {error['metadata']['request_id']} on POST '/api/x\\ny'"]
    page = errors_views.server_error(RequestFactory().get("/x")).content.decode()
    assert caplog.records[-1].args[0] in page
