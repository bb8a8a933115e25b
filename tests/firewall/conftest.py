"""A developer's browser, and a policy of two rules to look at."""

import pytest

from tests.factories.firewall import make_policy
from workspaces.permissions import Role


@pytest.fixture
def browser(acme):
    return acme.client(Role.DEVELOPER)


@pytest.fixture
def policy(acme):
    search = {"priority": 10, "tool_name_glob": "web.search", "verdict": "allow"}
    shell = {"priority": 20, "tool_name_glob": "shell.*", "verdict": "deny", "label": "No shell"}
    return make_policy(acme.workspace, acme.person(Role.DEVELOPER), search, shell, name="agents", default_verdict="deny")
