"""`python -m orcarouter.bench`: a process whose environment names none but the bench's own servers."""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import django

from orcarouter.supervision.listening import free_ports

#: What an installation's environment may name and the bench must never touch.
OF_OTHERS = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_RECORDER_URL", "REDIS_URL", "SECRET_KEY", "KEY_PEPPER", "ENCRYPTION_KEY", "SIGNING_KEY", "HOST")


def main() -> None:
    parser = argparse.ArgumentParser(prog="manage.py bench")
    parser.add_argument("--out", type=Path, required=True, help="the folder that gets the JSON file")
    parser.add_argument("--plan", choices=["quick", "default", "long"], default="default")
    options = parser.parse_args()
    # An ordinary exit, so that everything that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="orca-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _become_private(folder)
        run(folder, options.out, options.plan)


def _become_private(folder: Path) -> None:
    ports = free_ports(3)  # web, provider, nginx
    for name in OF_OTHERS:
        for spelling in (name, f"{name}_FILE"):
            os.environ.pop(spelling, None)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "orcarouter.settings",
        "ORCAROUTER_DATA": str(folder),
        "PORT": str(ports[0]),
        "BENCH_PORTS": " ".join(map(str, ports)),
        "ALLOWED_PRIVATE_HOSTS": f"127.0.0.1:{ports[1]}",
    }
    django.setup()


def run(folder: Path, out: Path, plan_name: str) -> None:
    """Measure everything, print the table, leave the JSON file."""
    from orcarouter.bench import figures
    from orcarouter.bench.site import Ports, Site

    plan = {"quick": figures.QUICK, "default": figures.DEFAULT, "long": figures.LONG}[plan_name]
    with Site(folder, Ports(*map(int, os.environ["BENCH_PORTS"].split()))) as site:
        found = figures.measure(site, plan, lambda title: print(f"Measuring: {title}", file=sys.stderr, flush=True))
    at = datetime.now(UTC)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    print(f"\n{at:%Y-%m-%d %H:%M} UTC · {machine} · load {os.getloadavg()[0]:.1f}\n")
    print(table(found))
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = out / f"{at:%Y-%m-%dT%H%M%SZ}.json"
    rows = [asdict(figure) | {"is_met": figure.is_met} for figure in found]
    path.write_text(json.dumps({"at": at.isoformat(), "machine": machine, "plan": plan_name, "figures": rows}, indent=2) + "\n")
    print(f"\n{path}")


def table(found: list) -> str:
    """Aligned columns: figure, target (none: it is watched), measured, whether it is met, and what stands behind it."""
    signs = {True: "met", False: "not met", None: "-"}
    rows = [("figure", "target", "measured", "", "")]
    rows += [
        (each.name, f"<= {_shown(each.limit, each.unit)}" if each.limit is not None else "-", _shown(each.measured, each.unit), signs[each.is_met], each.detail)
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{name:<{widths[0]}}  {target:>{widths[1]}}  {measured:>{widths[2]}}  {met:<{widths[3]}}  {detail}".rstrip()
        for name, target, measured, met, detail in rows
    )


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "count":
        return f"{value:g}"
    return f"{value:.1f} {unit}" if unit != "x" else f"{value:.2f} x"


if __name__ == "__main__":
    main()
