"""What all tests stand on: real servers, two workspaces, and the whole product when a test asks for it."""

from collections.abc import Iterator
from io import StringIO

import hypothesis
import pytest
from django.core.management import call_command

from orcarouter import embedded
from orcarouter.embedded import postgres
from orcarouter.embedded.servers import Embedded
from tests import figures
from tests import receiver as receiving
from tests.environment import DATA_DIR
from tests.factories.workspaces import Tenant, make_tenant
from tests.stack import Stack
from workspaces import ids

hypothesis.settings.load_profile(figures.PROFILE)


@pytest.fixture(autouse=True)
def ids_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids never go back in time: without this a test that travels ahead would leave those of the next in the future."""
    monkeypatch.setattr(ids, "_last", 0)


@pytest.fixture(scope="session")
def servers() -> Iterator[Embedded]:
    """PostgreSQL and Valkey out of their wheels, for this run alone."""
    # Tests kill processes, not machines: what was committed outlives that without a disk, whose pauses are nobody's here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(postgres.SETTINGS, "fsync", "off")
        running = embedded.start(DATA_DIR, create_databases=True)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def django_db_setup(servers, django_db_blocker) -> None:
    """The product's own database, migrated by its owner: tests run under the role that the product runs under."""
    with django_db_blocker.unblock():
        call_command("migrate", database="owner", verbosity=0, interactive=False)
        # The first workspace is the bootstrap's, as in every installation.
        call_command("bootstrap", stdout=StringIO())


@pytest.fixture
def committed(django_db_setup, django_db_blocker) -> Iterator[None]:
    """A database whose commits are real, for threads and other processes. Nothing is cleaned up: make workspaces of your own."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def acme(db) -> Tenant:
    """A workspace with a person of each role."""
    return make_tenant("acme")


@pytest.fixture
def rival(db) -> Tenant:
    """Another workspace, with other people."""
    return make_tenant("rival")


@pytest.fixture(scope="session")
def stack(django_db_setup) -> Iterator[Stack]:
    """Web, worker and demo provider as processes over this run's servers; use it with ``committed``."""
    running = Stack(DATA_DIR, ALLOWED_PRIVATE_HOSTS=receiving.HOST)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def receiver() -> Iterator[receiving.Receiver]:
    """Where webhooks arrive; the stack may dial it."""
    with receiving.listening() as made:
        yield made
