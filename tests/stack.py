"""The product as processes: what an agent and a person meet. Ports are chosen free, everything started is stopped."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from orcarouter.supervision.listening import free_ports

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180


def free_port() -> int:
    return free_ports(1)[0]


class Stack:
    """``url`` is where it answers. Each process can be killed and started again by its name: web, worker, demo."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = os.environ | {"ORCAROUTER_DATA": str(data_dir), "PORT": str(self.port), "PYTHONUNBUFFERED": "1"} | environment
        self._processes: dict[str, subprocess.Popen] = {}

    def _command(self, name: str) -> list[str]:
        from django.conf import settings

        beat = str(self.data_dir / "beat")
        return {
            "web": ["manage.py", "serve"],
            "worker": ["-m", "celery", "-A", "orcarouter.celery", "worker", "-B", "-s", beat, "-c", "1", "--without-gossip", "--without-mingle"],
            "demo": ["-m", "orcarouter.demo_provider", "--uds", settings.DEMO_PROVIDER_SOCKET],
        }[name]

    def log(self, name: str) -> Path:
        return self.data_dir / f"{name}.log"

    def start(self) -> None:
        for name in ("demo", "worker", "web"):
            self.run(name)
        self.wait_until_ready()

    def run(self, name: str) -> None:
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *self._command(name)], cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """SIGKILL, to the whole process group: nothing is said, nothing is flushed."""
        process = self._processes.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def wait_until_ready(self, path: str = "/readyz") -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}: {self.log(name).read_text()[-20_000:]}")
            try:
                with urllib.request.urlopen(self.url + path, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError("the stack is not ready: " + "\n".join(f"--- {name}\n{self.log(name).read_text()[-2000:]}" for name in self._processes))

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self._processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()
