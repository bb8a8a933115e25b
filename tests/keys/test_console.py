"""Pages of keys and providers, as a browser without JavaScript uses them."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from keys.models import ApiKey
from tests.factories.firewall import make_policy
from tests.factories.keys import make_key, make_provider
from tests.factories.workspaces import PASSWORD
from workspaces import tenancy
from workspaces.permissions import Role

FORM = {
    "name": "refund-helper",
    "environment": "prod",
    "policy": "",
    "models_listed": "any",
    "models": "",
    "addresses": "",
    "expires": "never",
    "run_scope": "auto",
    "cycle": "month",
}
PROVIDER = {
    "name": "OpenAI",
    "base_url": "https://198.20.0.1/v1",
    "secret": "sk-canary-1",
    "models": "gpt-4o\nfast = gpt-4o-mini @ 0.15 / 0.60",
    "order": "100",
    "enabled": "on",
}
#: What the editor shows of a key with every limit set.
LIMITED = FORM | {"models_listed": "listed", "models": "a\nb", "addresses": "10.0.0.0/8", "expires": "at", "expires_on": "2030-01-02T03:04"}


@pytest.fixture
def browser(acme) -> Client:
    """A developer's."""
    return acme.client(Role.DEVELOPER)


@pytest.fixture
def office(acme) -> Client:
    """An admin's."""
    return acme.client(Role.ADMIN)


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def the_key(acme) -> ApiKey:
    with tenancy.scope(acme.workspace.pk):
        return acme.workspace.api_keys.get()


# --- The list -------------------------------------------------------------------------------------------------------
def test_an_empty_list_says_what_to_do(browser, acme):
    assert "No key yet" in text_of(browser.get("/keys/"))
    assert "/keys/new/" in browser.get("/keys/").content.decode()
    assert "/keys/new/" not in acme.client(Role.MEMBER).get("/keys/").content.decode()


def test_a_member_sees_keys_masked_and_changes_nothing(acme):
    key, plaintext = make_key(acme, name="agent")
    member = acme.client(Role.MEMBER)
    page = member.get("/keys/").content.decode() + member.get(f"/keys/{key.pk}/").content.decode()
    assert f"sk-orca-{plaintext[8:12]}****{plaintext[-4:]}" in page
    assert plaintext not in page
    for path in ("/keys/new/", f"/keys/{key.pk}/edit/"):
        assert member.get(path).status_code == 403
    for path in (f"/keys/{key.pk}/switch/", f"/keys/{key.pk}/delete/", f"/keys/{key.pk}/reveal/", "/keys/bulk/"):
        assert member.post(path, {"action": "disable"}).status_code == 403


def test_filters_narrow_the_list(browser, acme):
    policy = make_policy(acme.workspace, acme.person(Role.DEVELOPER))
    make_key(acme, name="alpha", environment="prod", firewall_policy=policy)
    make_key(acme, name="beta", is_disabled=True)
    for query, shown, hidden in (
        ("?q=alph", "alpha", "beta"),
        ("?state=disabled", "beta", "alpha"),
        ("?environment=prod", "alpha", "beta"),
        (f"?policy={policy.pk}", "alpha", "beta"),
        ("?policy=0", "beta", "alpha"),
    ):
        table = browser.get(f"/keys/{query}").content.decode().partition("<tbody>")[2]
        assert (shown in table, hidden in table) == (True, False)
    assert "No key matches" in text_of(browser.get("/keys/?q=gamma"))


def test_selected_keys_are_disabled_at_once_and_deleted_after_a_question(browser, acme):
    one, two = make_key(acme, name="one")[0], make_key(acme, name="two")[0]
    ids = [one.pk, two.pk]
    browser.post("/keys/bulk/", {"ids": ids, "action": "disable"})
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.api_keys.filter(is_disabled=True).count() == 2
    asked = browser.post("/keys/bulk/", {"ids": ids, "action": "delete"})
    assert "Delete 2 keys?" in text_of(asked)
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.api_keys.count() == 2
    browser.post("/keys/bulk/", {"ids": ids, "action": "delete", "confirmed": "1"})
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.api_keys.count() == 0


def test_another_workspaces_keys_are_not_touched_or_shown(browser, rival):
    theirs = make_key(rival, name="theirs")[0]
    for path in ("", "edit/"):
        assert browser.get(f"/keys/{theirs.pk}/{path}").status_code == 404
    for path in ("switch/", "delete/", "reveal/"):
        assert browser.post(f"/keys/{theirs.pk}/{path}", {"action": "disable"}).status_code == 404
    browser.post("/keys/bulk/", {"ids": [theirs.pk], "action": "delete", "confirmed": "1"})
    assert the_key(rival).name == "theirs"
    assert browser.get(f"/keys/new/?from={theirs.pk}").status_code == 404


# --- The editor -----------------------------------------------------------------------------------------------------
def test_making_a_key_shows_it_once(browser, acme):
    policy = make_policy(acme.workspace, acme.person(Role.DEVELOPER), name="agents-prod")
    made = browser.post("/keys/new/", LIMITED | {"policy": policy.pk})
    plaintext = re.search(r"sk-orca-[0-9A-Za-z]{48}", made.content.decode())[0]
    assert "no-store" in made["Cache-Control"]
    key = the_key(acme)
    assert (key.name, key.firewall_policy_id, key.model_limits_enabled) == ("refund-helper", policy.pk, True)
    assert (key.model_limits, key.allow_ips) == (["a", "b"], ["10.0.0.0/8"])
    assert key.expires_at == datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    assert plaintext not in browser.get(f"/keys/{key.pk}/").content.decode()
    assert "agents-prod judges its tools" in text_of(browser.get(f"/keys/{key.pk}/"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"addresses": "here"}, "is not an IP address"),
        ({"models_listed": "listed"}, "List at least one model"),
        ({"expires": "at"}, "Give the date"),
        ({"expires": "at", "expires_on": "0001-01-01T00:00"}, "No date is before 1970"),
        ({"policy": "999999"}, "Select a valid choice"),
    ],
)
def test_a_wrong_field_keeps_what_was_typed(change, words, browser, acme):
    answer = browser.post("/keys/new/", FORM | {"environment": "kept-as-typed"} | change)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert "kept-as-typed" in answer.content.decode()


def test_another_workspaces_policy_is_not_offered_or_taken(browser, acme, rival):
    theirs = make_policy(rival.workspace, rival.person(Role.DEVELOPER), name="theirs")
    assert "theirs" not in browser.get("/keys/new/").content.decode()
    assert browser.post("/keys/new/", FORM | {"policy": theirs.pk}).status_code == 422


def test_a_narrower_key_is_saved_at_once_and_a_wider_one_after_a_question(browser, acme):
    key = make_key(acme, name="refund-helper", environment="prod")[0]
    path = f"/keys/{key.pk}/edit/"
    assert browser.post(path, FORM | {"addresses": "10.0.0.0/8"}).status_code == 302
    asked = browser.post(path, FORM)
    assert asked.status_code == 422
    assert "It works from any address." in text_of(asked)
    assert the_key(acme).allow_ips == ["10.0.0.0/8"]
    assert browser.post(path, FORM | {"confirmed": "1"}).status_code == 302
    assert the_key(acme).allow_ips == []


def test_saving_what_the_form_shows_changes_nothing(browser, acme):
    expires_at = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    key = make_key(acme, name="a", environment="e", expires_at=expires_at, allow_ips=["::1"], model_limits=["m"], model_limits_enabled=True)[0]
    page = browser.get(f"/keys/{key.pk}/edit/").content.decode()
    assert 'value="2030-01-02T03:04"' in page
    sent = LIMITED | {"name": "a", "environment": "e", "models": "m", "addresses": "::1"}
    assert browser.post(f"/keys/{key.pk}/edit/", sent).status_code == 302
    assert the_key(acme).expires_at == expires_at


def test_only_an_admin_is_offered_the_gateway_switch(browser, office, acme):
    assert "is_firewall_gateway" not in browser.get("/keys/new/").content.decode()
    browser.post("/keys/new/", FORM | {"is_firewall_gateway": "on"})
    assert the_key(acme).is_firewall_gateway is False
    pk = the_key(acme).pk
    assert office.post(f"/keys/{pk}/edit/", FORM | {"is_firewall_gateway": "on", "confirmed": "1"}).status_code == 302
    assert the_key(acme).is_firewall_gateway is True
    # Saved by somebody who does not see the switch, it stays.
    browser.post(f"/keys/{pk}/edit/", FORM | {"name": "renamed"})
    assert (the_key(acme).name, the_key(acme).is_firewall_gateway) == ("renamed", True)


def test_the_effect_is_told_while_typing_and_stays_silent_on_what_cannot_be_read(browser):
    told = text_of(browser.get("/keys/effect/", FORM | {"name": "", "addresses": "10.0.0.0/8", "models_listed": "listed", "models": "a"}))
    assert "It may call a from 10.0.0.0/8; it may spend without a ceiling of its own; it never expires." in told
    assert "It may call" not in text_of(browser.get("/keys/effect/", FORM | {"addresses": "10.0.0"}))


def test_a_successor_begins_with_the_same_scope(browser, acme):
    key = make_key(acme, name="old", allow_ips=["10.0.0.0/8"])[0]
    page = browser.get(f"/keys/new/?from={key.pk}").content.decode()
    assert 'value="old-2"' in page
    assert "10.0.0.0/8" in page


# --- One key --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("action", "field", "value"),
    [("disable", "is_disabled", True), ("enable", "is_disabled", False), ("freeze", "is_frozen", True), ("unfreeze", "is_frozen", False)],
)
def test_a_key_is_switched(action, field, value, browser, acme):
    key = make_key(acme, **{field: not value})[0]
    assert browser.post(f"/keys/{key.pk}/switch/", {"action": action}).status_code == 302
    assert getattr(the_key(acme), field) is value


def test_a_key_is_revealed_after_a_fresh_sign_in(acme, clock):
    key, plaintext = make_key(acme)
    browser = Client()
    browser.post("/account/login/", {"login": "developer@acme.example", "password": PASSWORD})
    assert plaintext in browser.post(f"/keys/{key.pk}/reveal/").content.decode()
    clock.shift(16 * 60)
    again = browser.post(f"/keys/{key.pk}/reveal/")
    assert again.status_code == 302
    assert again["Location"].startswith("/account/reauthenticate/?next=")
    assert browser.get(again["Location"]).status_code == 200
    browser.post(again["Location"], {"password": PASSWORD})
    assert plaintext in browser.post(f"/keys/{key.pk}/reveal/").content.decode()


def test_a_gateway_key_is_revealed_by_an_admin(browser, office, acme):
    key, plaintext = make_key(acme, is_firewall_gateway=True)
    assert browser.post(f"/keys/{key.pk}/reveal/").status_code == 403
    assert f"/keys/{key.pk}/reveal/" not in browser.get(f"/keys/{key.pk}/").content.decode()
    assert plaintext in office.post(f"/keys/{key.pk}/reveal/").content.decode()


def test_names_are_shown_and_never_run(browser, acme):
    key = make_key(acme, name="<script>alert(1)</script>", environment="\u202eevil")[0]
    for path in ("/keys/", f"/keys/{key.pk}/", f"/keys/{key.pk}/edit/"):
        assert "<script>alert" not in browser.get(path).content.decode()


# --- Providers ------------------------------------------------------------------------------------------------------
def test_a_provider_is_added_and_its_secret_never_shown(office, acme):
    assert office.post("/providers/new/", PROVIDER).status_code == 302
    provider = acme.workspace.providers.get()
    shown = office.get("/providers/").content.decode() + office.get(f"/providers/{provider.pk}/").content.decode()
    assert "sk-canary-1" not in shown
    assert "fast = gpt-4o-mini @ 0.15 / 0.6" in shown
    assert [model.name for model in provider.models.all()] == ["gpt-4o", "fast"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_url": "https://127.0.0.1/v1"}, "not on the public internet"),
        ({"models": "a b"}, "Line 1"),
        ({"secret": "a b"}, "visible ASCII"),
        ({"name": ""}, "required"),
    ],
)
def test_a_wrong_provider_is_not_saved_and_the_secret_not_echoed(change, words, office, acme):
    answer = office.post("/providers/new/", PROVIDER | change)
    assert (answer.status_code, words in text_of(answer)) == (422, True)
    assert "sk-canary" not in answer.content.decode()
    assert acme.workspace.providers.count() == 0


def test_an_edited_provider_keeps_its_secret_unless_told(office, acme):
    provider = make_provider(acme, name="OpenAI")
    same = PROVIDER | {"secret": ""}
    office.post(f"/providers/{provider.pk}/", same)
    assert acme.workspace.providers.get().secret_sealed
    elsewhere = office.post(f"/providers/{provider.pk}/", same | {"base_url": "https://198.20.0.2/v1"})
    assert "Give the secret again" in text_of(elsewhere)
    office.post(f"/providers/{provider.pk}/", same | {"forget_secret": "on"})
    assert acme.workspace.providers.get().secret_sealed is None


def test_providers_are_moved_and_deleted(office, acme):
    first, second = make_provider(acme, name="first", order=1), make_provider(acme, name="second", order=1)
    office.post(f"/providers/{second.pk}/move/", {"to": "up"})
    assert [provider.name for provider in acme.workspace.providers.order_by("order", "pk")] == ["second", "first"]
    office.post(f"/providers/{second.pk}/move/", {"to": "up"})
    office.post(f"/providers/{first.pk}/delete/")
    assert [provider.name for provider in acme.workspace.providers.all()] == ["second"]


def test_a_provider_is_tested_on_the_page_and_for_htmx(office, acme, settings, unused_tcp_port):
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    provider = make_provider(acme, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    for headers in ({}, {"HX-Request": "true"}):
        answer = office.post(f"/providers/{provider.pk}/test/", headers=headers)
        assert "OpenAI cannot be used. The provider could not be reached." in text_of(answer)
        assert ("<html" in answer.content.decode()) is not bool(headers)


def test_below_admin_there_are_no_providers(browser, acme, rival):
    provider = make_provider(acme)
    assert "/providers/" not in browser.get("/keys/").content.decode()
    for path in ("", "new/", f"{provider.pk}/"):
        assert browser.get(f"/providers/{path}").status_code == 403
    for path in ("delete/", "move/", "test/"):
        assert browser.post(f"/providers/{provider.pk}/{path}").status_code == 403
        assert rival.client(Role.OWNER).post(f"/providers/{provider.pk}/{path}").status_code == 404


def test_the_demo_provider_is_labelled_and_only_switched(office, acme):
    with tenancy.scope(acme.workspace.pk):
        demo = acme.workspace.providers.create(name="Demo provider", base_url="http://demo.invalid/v1", is_demo=True)
    assert "Demo" in text_of(office.get("/providers/"))
    office.post(f"/providers/{demo.pk}/", {"order": "5", "name": "Mine", "base_url": "https://198.20.0.1/v1"})
    demo.refresh_from_db()
    assert (demo.enabled, demo.order, demo.name, demo.base_url) == (False, 5, "Demo provider", "http://demo.invalid/v1")
