"""The OpenAPI document as it is served: to anybody, so it must cost nothing."""

from django.test import Client

from orcarouter import openapi


def test_the_document_is_made_once_and_without_remarks(capfd):
    openapi._document.cache_clear()
    answers = [Client().get("/api/schema/") for _ in range(2)]
    assert [(answer.status_code, answer.json()["openapi"][:3]) for answer in answers] == [(200, "3.1")] * 2
    assert openapi._document.cache_info().misses == 1
    assert "Warning" not in capfd.readouterr().err


def test_the_document_can_only_be_read(db):
    answer = Client().post("/api/schema/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


def test_each_route_stands_under_one_heading_in_words():
    paths = Client().get("/api/schema/").json()["paths"]
    headings = {path: {tag for operation in operations.values() if "tags" in operation for tag in operation["tags"]} for path, operations in paths.items()}
    assert set().union(*headings.values()) == {*openapi.HEADINGS.values(), "Gateway"}
    assert all(len(found) == 1 for found in headings.values())
    assert headings["/api/workspace/firewall/trace/by-run"] == {"Events and runs"}
