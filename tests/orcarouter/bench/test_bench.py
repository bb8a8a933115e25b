"""The bench runs, on servers of its own, and its table is whole. What the figures are is not a test's to say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent


@pytest.mark.stack
def test_a_quick_bench_fills_every_row_and_touches_no_data_folder_but_for_its_result(tmp_path):
    environment = os.environ | {"ORCAROUTER_DATA": str(tmp_path)}
    command = [sys.executable, "manage.py", "bench", "--quick"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    (path,) = (tmp_path / "bench").iterdir()
    assert done.stdout.rstrip().endswith(str(path))
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) == 30
    for figure in figures:
        assert figure["name"] in done.stdout
        assert figure["measured"] is not None or "nginx is not installed" in figure["detail"] or "not the same load" in figure["detail"]
        assert figure["is_met"] is None or figure["limit"] is not None
    assert {each.name for each in tmp_path.iterdir()} <= {"bench", "secrets.json", "secrets.lock", "static"}
