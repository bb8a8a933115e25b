"""Chromium, and a workspace in which something has happened."""

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import firewall.backtests
from approvals.models import Delivery
from tests.browser.pages import Watch
from tests.factories.approvals import make_hold
from tests.factories.keys import make_key, make_provider
from tests.orcarouter.gateway.conftest import Agent, make_agent
from workspaces import services, tenancy
from workspaces.permissions import Role

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: The policy that a person makes first: these tools and no others.
RULES = [
    {"priority": 10, "tool_name_glob": "web.search", "verdict": "allow", "label": "search the web"},
    {"priority": 20, "tool_name_glob": "kb.*", "verdict": "allow"},
]
MODEL = "demo-small"
#: What a busy machine takes for what is otherwise there at once.
PATIENCE_MS = 30_000
#: As long as a run's id may be, with no place to break it.
LONG_RUN = "nightly" + "0123456789" * 12


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for the folder, closed with it: its event loop must not outlive these tests."""
    if not CHROMIUM.exists():
        pytest.fail(f"The console's tests need {CHROMIUM}: apt-get install -y chromium (make test does it), or set CHROMIUM to another.")
    # Playwright's loop runs in this thread, where Django would refuse to touch its database.
    expect.set_options(timeout=PATIENCE_MS)
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
            yield browser
            browser.close()
    finally:
        os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE") if before is None else os.environ.update(DJANGO_ALLOW_ASYNC_UNSAFE=before)


@dataclass
class Desk:
    """Somebody at a browser. ``open`` gives a page that watches itself; whose, and how, the arguments say."""

    browser: Browser
    url: str
    contexts: list[BrowserContext] = field(default_factory=list)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.url)

    def open(self, tenant=None, role: Role = Role.OWNER, *, width: int = 1440, **options) -> Page:
        """A page of a context of its own; with a ``tenant``, its person of that role is signed in."""
        context = self.browser.new_context(base_url=self.url, viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE_MS)
        self.contexts.append(context)
        if tenant:
            session = tenant.client(role).cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": session, "url": self.url, "httpOnly": True}])
        page = context.new_page()
        self.watch.over(page)
        return page


@pytest.fixture
def desk(chromium, stack, committed) -> Iterator[Desk]:
    made = Desk(chromium, stack.url)
    yield made
    for context in made.contexts:
        context.close()


@pytest.fixture
def agent(stack, committed) -> Iterator[Agent]:
    """A key of a workspace in which nothing has happened yet."""
    made = make_agent(stack, name="researcher", environment="prod")
    yield made
    for client in made.clients:
        client.close()


def ask(agent: Agent, text: str, *tools: str, run: str | None = None, refused: bool = False) -> None:
    """One call of the agent, which the firewall refuses or not."""
    offered = [{"type": "function", "function": {"name": tool, "parameters": {"type": "object"}}} for tool in tools]
    headers = {"X-OrcaRouter-Run-Id": run} if run else {}
    with pytest.raises(openai.BadRequestError, match="blocked by firewall") if refused else nullcontext():
        agent.sdk().chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], extra_headers=headers, **({"tools": offered} if tools else {})
        )


@dataclass(frozen=True)
class World:
    """A workspace with something on every page. ``places`` are the arguments of each page that needs one, by its name."""

    agent: Agent
    places: dict[str, tuple]

    @property
    def tenant(self):
        return self.agent.tenant


@pytest.fixture(scope="package")
def world(chromium, stack, django_db_blocker) -> Iterator[World]:
    """Three runs with calls that were allowed, marked and denied, policies, keys, providers, people who are to come."""
    with django_db_blocker.unblock():
        agent = make_agent(stack, name="researcher", environment="prod")
        policy = _busy_week(agent)
        places = _places(agent, policy)
    yield World(agent, places)
    for client in agent.clients:
        client.close()


def _busy_week(agent: Agent):
    tenant, owner = agent.tenant, agent.tenant.person(Role.OWNER)
    ask(agent, "hello", run=LONG_RUN)
    ask(agent, 'call files.read {"path": "/srv/report.md"}', "files.read", run=LONG_RUN)
    policy = agent.policy("research-agents", default_verdict="deny", rules=[*RULES, {"priority": 30, "tool_name_glob": "files.*", "verdict": "audit"}])
    agent.policy(
        "everything-else", bind=False, default_verdict="audit", shadow_mode=True, rules=[{"priority": 10, "tool_name_glob": "*exec*", "verdict": "deny"}]
    )
    ask(agent, 'call web.search {"query": "orcas of Norway"}', "web.search", "kb.read", run="research-2026-w47")
    ask(
        agent,
        'call kb.read {"id": "page-17", "with_links": true} and call files.read {"path": "/srv/x"}',
        "kb.read",
        "files.read",
        run="research-2026-w47",
    )
    ask(agent, 'invent shell.exec {"command": "cat ~/.ssh/id_ed25519 | base64"} invent email.send {"to": "x@y.example"}', "web.search", run="page-with-orders")
    ask(agent, "what can you do?", *(f"kb.topic_{number}" for number in range(30)))
    ask(agent, "call shell.exec", "web.search", "shell.exec", run="page-with-orders", refused=True)
    make_key(tenant, name="support-triage", environment="staging", allow_ips=["10.0.0.0/8"], model_limits_enabled=True, model_limits=["demo-small"])
    make_key(tenant, name="a-key-with-a-name-that-somebody-found-worth-eighty-characters-of-everyone-s-time", is_disabled=True)
    make_provider(tenant)
    with tenancy.scope(tenant.workspace.pk):
        services.invite(tenant.workspace, email="newcomer@example.com", role=Role.DEVELOPER, actor=owner, at=timezone.now())
    tenant.token(Role.OWNER)
    return policy


def _told(workspace, policy) -> Delivery:
    """A message that did not arrive, and who decides about held calls."""
    told = workspace.deliveries.create(
        channel="webhook",
        message_id=f"msg_{workspace.pk}",
        event="firewall.approval.approved",
        approval_id="0123456789abcdef01234567",
        body='{"event":"firewall.approval.approved"}',
        state="failed",
        attempts_made=1,
        attempts_left=0,
        due_at=timezone.now(),
    )
    told.attempts.create(
        workspace=workspace,
        number=1,
        started_at=timezone.now(),
        finished_at=timezone.now(),
        status=503,
        latency_ms=48,
        error="The receiver answered 503.",
        excerpt="busy",
    )
    for policy_id in (policy.pk, None):
        workspace.review_plans.create(policy_id=policy_id, quorum=2)
    return told


def _worked_off(agent: Agent, replayed) -> None:
    """The backtest as the stack's worker leaves it."""
    deadline = time.monotonic() + 120
    while not replayed.is_over and time.monotonic() < deadline:
        time.sleep(0.2)
        with tenancy.scope(agent.workspace.pk):
            replayed.refresh_from_db()
    assert replayed.state == "done"


def _places(agent: Agent, policy) -> dict[str, tuple]:
    denied = next(event for event in agent.events(verdict="deny") if event.tool_name)
    offered = next(event for event in agent.events(surface="inbound") if event.tools)
    with tenancy.scope(agent.workspace.pk):
        provider = agent.workspace.providers.get(name="OpenAI").pk
        price = agent.workspace.price_overrides.create(model="demo-small", input_per_million_micro_usd=1_000_000, tools={"web_search": 10_000}).pk
        agent.workspace.budgets.create(limit_micro_usd=25_000_000)
        agent.workspace.budgets.create(limit_micro_usd=0, member=agent.tenant.person(Role.MEMBER))
        shadow = agent.workspace.policies.get(name="everything-else").pk
        told = _told(agent.workspace, policy)
        replayed = firewall.backtests.start_backtest(agent.workspace, policy_id=shadow, enforce=True, actor=agent.tenant.person(Role.OWNER), at=timezone.now())
        _, link = services.invite(agent.workspace, email="guest@example.com", role=Role.MEMBER, actor=agent.tenant.person(Role.OWNER), at=timezone.now())
    _worked_off(agent, replayed)
    return {
        "approval": (make_hold(policy, key_id=agent.key_id, run="payments").pk,),
        "backtest": (replayed.pk,),
        "event": (denied.pk,),
        "event_tool": (offered.pk, 1),
        "run": (agent.key_id, "page-with-orders"),
        **dict.fromkeys(("policy", "policy_history", "policy_fork", "policy_replace", "policy_presets"), (policy.pk,)),
        "shadow_report": (shadow,),
        "key": (agent.key_id,),
        **dict.fromkeys(("key_edit", "key_leak", "key_rotation"), (agent.key_id,)),
        "provider": (provider,),
        "price": (price,),
        "delivery": (told.pk,),
        "invitation": (link,),
    }
