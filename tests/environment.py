"""Before the settings load: every test run has a data folder of its own, and nothing of the caller's environment."""

import os
import shutil
import tempfile
from pathlib import Path

DATA_DIR = Path(tempfile.mkdtemp(prefix="orca-test-"))

for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_RECORDER_URL", "REDIS_URL", "SECRET_KEY", "KEY_PEPPER", "ENCRYPTION_KEY", "SIGNING_KEY"):
    os.environ.pop(name, None)
os.environ["ORCAROUTER_DATA"] = str(DATA_DIR)
os.environ["ORCA_LOG"] = "text"
# A machine that is busy with all the tests at once is no Valkey that is away, nor a table too long to read.
os.environ["VALKEY_SECONDS"] = os.environ["PREVIEW_READ_SECONDS"] = "20"


def pytest_unconfigure() -> None:
    shutil.rmtree(DATA_DIR, ignore_errors=True)
