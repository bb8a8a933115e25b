"""The OpenAPI document: it describes every route, and the product answers as it says."""

import re

import httpx2 as httpx
import pytest
import schemathesis
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import given
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from orcarouter.gateway import app
from tests.factories.workspaces import make_tenant
from tests.figures import explored
from tests.orcarouter.gateway.conftest import make_agent
from tests.test_routes import ROUTES
from workspaces.permissions import Role

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


DOCUMENT = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(public=True))
OPERATIONS = [found.ok() for found in DOCUMENT.get_all_operations()]


@pytest.fixture(scope="module")
def credentials(stack, django_db_blocker):
    """A token with every scope and a gateway's key, in a workspace that may be laid waste."""
    with django_db_blocker.unblock():
        return {"token": make_tenant("explored").token(Role.OWNER), "key": make_agent(stack, is_firewall_gateway=True).token}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_the_product_answers_as_documented(operation, mode, stack, credentials):
    is_gateway = operation.path.startswith(("/v1/", "/api/v1/"))
    headers = {"Authorization": f"Bearer {credentials['key' if is_gateway else 'token']}"}

    @explored
    @given(case=operation.as_strategy(generation_mode=mode))
    def explore(case):
        case.call_and_validate(base_url=stack.url, headers=headers, timeout=30, checks=CHECKS)

    explore()


def test_every_route_is_described_and_no_other(db):
    paths = Client().get("/api/schema/").json()["paths"]
    described = {
        f"{method.upper()} {path}" for path, operations in paths.items() for method in operations if method in ("get", "post", "put", "patch", "delete")
    }
    management = {f"{route.method} {route.pattern}" for route in ROUTES}
    gateway = {f"{method} {path}" for method, path in app.ROUTES}
    assert {name if "/v1/" in name else re.sub(r"\{\w+\}", "{}", name) for name in described} == management | gateway


def test_the_document_is_valid_and_readable_offline(stack):
    document = httpx.get(f"{stack.url}/api/schema/", timeout=60).json()
    assert document["openapi"].startswith("3.1")
    page = httpx.get(f"{stack.url}/api/docs/", timeout=60)
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "").replace(stack.url, "")
