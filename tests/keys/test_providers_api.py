"""Providers over HTTP: the secret comes in and never goes out, the address is vetted, the test asks for real."""

import asyncio
import threading
from contextlib import contextmanager

import pytest
from aiohttp import web

from keys import selectors
from keys.models import ProviderCredential
from tests.factories.keys import make_provider
from tests.keys.conftest import Caller, refusal
from workspaces import tenancy
from workspaces.models import AuditEntry
from workspaces.permissions import Role

SECRET = "sk-canary-0123456789-provider"
BODY = {"name": "OpenAI", "base_url": "https://198.20.0.1/v1", "secret": SECRET, "models": ["gpt-4o"]}


def stored(acme) -> ProviderCredential:
    return acme.workspace.providers.get()


# --- Making and showing ---------------------------------------------------------------------------------------------
def test_a_provider_is_shown_without_its_secret(acme, admin):
    answer = admin("POST", "/api/workspace/providers/", BODY)
    made = answer.json()
    assert answer.status_code == 201
    assert {name: made[name] for name in ("name", "kind", "base_url", "has_secret", "enabled", "order", "is_demo")} == {
        "name": "OpenAI",
        "kind": "openai",
        "base_url": "https://198.20.0.1/v1",
        "has_secret": True,
        "enabled": True,
        "order": 100,
        "is_demo": False,
    }
    shown = [admin("GET", f"/api/workspace/providers/{made['id']}"), admin("GET", "/api/workspace/providers/"), answer]
    assert not any(SECRET in each.content.decode() for each in shown)
    with tenancy.scope(acme.workspace.pk):
        assert selectors.provider_secret(stored(acme)) == SECRET
        assert SECRET.encode() not in bytes(stored(acme).secret_sealed)


def test_models_are_names_or_objects_with_mapping_and_price(admin):
    price = {"input_per_million_usd": 0.15, "output_per_million_usd": 0.6}
    sent = ["gpt-4o", {"name": "fast", "upstream": "gpt-4o-mini", "price": price}, {"name": "x", "price": None}]
    made = admin("POST", "/api/workspace/providers/", BODY | {"models": sent}).json()
    assert made["models"] == [
        {"name": "gpt-4o", "upstream": "gpt-4o", "price": None},
        {"name": "fast", "upstream": "gpt-4o-mini", "price": price},
        {"name": "x", "upstream": "x", "price": None},
    ]
    assert admin("PUT", f"/api/workspace/providers/{made['id']}", {"models": made["models"]}).json()["models"] == made["models"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"base_url": "http://198.20.0.1/v1"}, "base_url"),
        ({"base_url": "https://127.0.0.1/v1"}, "base_url"),
        ({"base_url": "https://2130706433/v1"}, "base_url"),
        ({"base_url": "https://[::ffff:127.0.0.1]/v1"}, "base_url"),
        ({"base_url": "https://169.254.169.254/"}, "base_url"),
        ({"base_url": "https://localhost/v1"}, "base_url"),
        ({"base_url": "https://user@198.20.0.1/v1"}, "base_url"),
        ({"base_url": "https://198.20.0.1/v1?key=1"}, "base_url"),
        ({"base_url": "https://198.20.0.1/v1#x"}, "base_url"),
        ({"base_url": "file:///etc/passwd"}, "base_url"),
        ({"base_url": "x" * 513}, "base_url"),
        ({"secret": "two words"}, "secret"),
        ({"secret": "line\nbreak"}, "secret"),
        ({"secret": "s" * 4097}, "secret"),
        ({"models": "gpt-4o"}, "models"),
        ({"models": ["a", "a"]}, "models"),
        ({"models": [{"upstream": "a"}]}, "models.0.name"),
        ({"models": [{"name": "a", "price": {"input_per_million_usd": -1}}]}, "models.0.price.input_per_million_usd"),
        ({"kind": "anthropic"}, "kind"),
        ({"order": -1}, "order"),
        ({"is_demos": True}, "is_demos"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_made(change, param, acme, admin):
    answer = admin("POST", "/api/workspace/providers/", BODY | change)
    assert refusal(answer) == (400, "validation_error", param)
    assert SECRET not in answer.content.decode()
    assert acme.workspace.providers.count() == 0


def test_nobody_makes_a_demo_provider_by_the_api(admin):
    assert admin("POST", "/api/workspace/providers/", BODY | {"is_demo": True}).json()["is_demo"] is False


def test_a_name_is_once_a_workspace(rival, admin):
    assert admin("POST", "/api/workspace/providers/", BODY).status_code == 201
    assert refusal(admin("POST", "/api/workspace/providers/", BODY)) == (409, "conflict", "name")
    assert Caller(rival, Role.ADMIN)("POST", "/api/workspace/providers/", BODY).status_code == 201


@pytest.mark.parametrize("role", [Role.MEMBER, Role.DEVELOPER])
def test_below_admin_providers_are_not_even_read(role, acme):
    pk = make_provider(acme).pk
    caller = Caller(acme, role)
    for method, path in (("GET", ""), ("GET", f"{pk}"), ("POST", ""), ("PATCH", f"{pk}"), ("DELETE", f"{pk}"), ("POST", f"{pk}/test")):
        assert refusal(caller(method, f"/api/workspace/providers/{path}"))[:2] == (403, "permission_denied")


# --- Changing -------------------------------------------------------------------------------------------------------
def test_a_change_without_a_secret_keeps_it_and_an_empty_one_forgets_it(acme, admin):
    path = f"/api/workspace/providers/{make_provider(acme, secret=SECRET).pk}"
    assert admin("PATCH", path, {"name": "Other", "order": 5, "enabled": False}).json()["has_secret"] is True
    assert admin("PATCH", path, {"secret": SECRET + "2"}).json()["has_secret"] is True
    with tenancy.scope(acme.workspace.pk):
        assert selectors.provider_secret(stored(acme)) == SECRET + "2"
    assert admin("PATCH", path, {"secret": None}).json()["has_secret"] is False


def test_a_stored_secret_is_not_sent_to_another_address(acme, admin):
    path = f"/api/workspace/providers/{make_provider(acme, secret=SECRET).pk}"
    assert refusal(admin("PATCH", path, {"base_url": "https://198.20.0.2/v1"})) == (400, "validation_error", "secret")
    assert admin("PATCH", path, {"base_url": "https://198.20.0.1/v2"}).status_code == 200
    assert admin("PATCH", path, {"base_url": "https://198.20.0.2/v1", "secret": "sk-new"}).status_code == 200


def test_a_deleted_provider_is_gone(acme, admin):
    pk = make_provider(acme).pk
    assert admin("DELETE", f"/api/workspace/providers/{pk}").status_code == 204
    assert refusal(admin("GET", f"/api/workspace/providers/{pk}"))[0] == 404


def test_every_change_is_on_record_without_the_secret(acme, admin):
    pk = admin("POST", "/api/workspace/providers/", BODY).json()["id"]
    admin("PATCH", f"/api/workspace/providers/{pk}", {"secret": SECRET, "order": 1})
    admin("DELETE", f"/api/workspace/providers/{pk}")
    with tenancy.scope(acme.workspace.pk):
        entries = list(AuditEntry.objects.filter(action__startswith="provider_").order_by("sequence").values_list("action", "payload"))
    assert [action for action, _ in entries] == ["provider_create", "provider_update", "provider_delete"]
    assert SECRET not in repr(entries)


def test_the_demo_provider_can_be_switched_off_and_moved_but_not_changed(acme, admin):
    with tenancy.scope(acme.workspace.pk):
        pk = acme.workspace.providers.create(name="Demo", base_url="http://demo.invalid/v1", is_demo=True).pk
    path = f"/api/workspace/providers/{pk}"
    assert admin("PATCH", path, {"enabled": False, "order": 7}).json()["enabled"] is False
    for change in ({"base_url": "https://198.20.0.1/v1"}, {"secret": "x"}, {"models": ["a"]}, {"name": "Mine"}):
        assert refusal(admin("PATCH", path, change))[:2] == (409, "conflict")


# --- The test -------------------------------------------------------------------------------------------------------
@contextmanager
def provider_server(handler):
    """A provider on loopback that answers ``GET /v1/models`` by ``handler``; its address."""
    ready, stop = threading.Event(), threading.Event()
    place: list[int] = []

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/v1/models", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place.append(runner.addresses[0][1])
        ready.set()
        await asyncio.to_thread(stop.wait)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{place[0]}/v1"
    finally:
        stop.set()
        thread.join(10)


def outcome_of(acme, admin, settings, handler) -> dict:
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    with provider_server(handler) as base_url:
        provider = make_provider(acme, base_url=base_url, secret=SECRET)
        answer = admin("POST", f"/api/workspace/providers/{provider.pk}/test")
    assert answer.status_code == 200
    assert SECRET not in answer.content.decode()
    return answer.json()


def test_a_test_asks_with_the_secret_and_lists_the_models(acme, admin, settings):
    async def models(request):
        known = request.headers["Authorization"] == f"Bearer {SECRET}"
        return web.json_response({"data": [{"id": "b"}, {"id": "a"}, {"id": 7}, {"id": "bad\x00"}]}, status=200 if known else 401)

    found = outcome_of(acme, admin, settings, models)
    assert (found["ok"], found["status"], found["models"], found["error"]) == (True, 200, ["a", "b"], None)
    assert found["latency_ms"] >= 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 401, "text": f"bad key {SECRET}"}, "refused the secret"),
        ({"status": 500, "text": f"oops {SECRET}"}, "answered 500"),
        ({"status": 302, "headers": {"Location": "http://169.254.169.254/"}}, "not followed"),
        ({"status": 200, "text": "<html>"}, "not with a list of models"),
        ({"status": 200, "text": '{"data": 5}'}, "not with a list of models"),
    ],
)
def test_what_is_wrong_with_a_provider_is_said_in_our_words(answer, words, acme, admin, settings):
    async def models(request):
        return web.Response(**answer)

    found = outcome_of(acme, admin, settings, models)
    assert (found["ok"], found["status"]) == (False, answer["status"])
    assert words in found["error"]


def test_a_provider_that_is_not_there_is_said_without_our_network(acme, admin, settings, unused_tcp_port):
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    pk = make_provider(acme, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1").pk
    found = admin("POST", f"/api/workspace/providers/{pk}/test").json()
    assert (found["ok"], found["status"], found["error"]) == (False, None, "The provider could not be reached.")


def test_an_address_that_is_no_longer_allowed_is_not_dialled(acme, admin, settings):
    async def models(request):
        raise AssertionError("nothing may arrive")

    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    with provider_server(models) as base_url:
        pk = make_provider(acme, base_url=base_url).pk
        settings.ALLOWED_PRIVATE_HOSTS = []
        found = admin("POST", f"/api/workspace/providers/{pk}/test").json()
    assert (found["ok"], found["status"]) == (False, None)
    assert "https" in found["error"]


def test_a_test_asks_again_whatever_its_idempotency_key(acme, admin, settings, unused_tcp_port):
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    provider = make_provider(acme, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    answers = [admin("POST", f"/api/workspace/providers/{provider.pk}/test", **{"Idempotency-Key": "once"}).json() for _ in range(2)]
    assert [answer["error"] for answer in answers] == ["The provider could not be reached."] * 2


def test_tests_are_counted(acme, admin, settings, unused_tcp_port):
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    pk = make_provider(acme, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1").pk
    statuses = [admin("POST", f"/api/workspace/providers/{pk}/test").status_code for _ in range(41)]
    # Twenty a minute: forty-one in a row are too many whichever minute they fall into.
    assert statuses[0] == 200
    assert 429 in statuses
