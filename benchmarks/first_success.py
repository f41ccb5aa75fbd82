"""From nothing to a model of a folder, to its first answer over HTTP, and to a run by a schedule.

    python benchmarks/first_success.py photos/       # photos/<class>/*.jpg; options of `train` may follow
    python benchmarks/first_success.py photos/ --recipe probe

Each step is the command that a person types, with an empty workspace and an empty PREFECT_HOME, so that
Prefect makes its database. The schedule is one of every minute, on the same folder, of a deployment like
those of `deployments/prefect.yaml`. Seconds are wall time from the first command on; CPU-seconds are those of
the commands and their children.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.servers.free_ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 1800  # seconds that a step may take
POOL = "first-success"
PICTURES = (".jpg", ".jpeg", ".png")


def post(address: str, content: bytes | None = None, kind: str = "application/json") -> Any:
    """The JSON answer to a POST or, without content, to a GET."""
    request = urllib.request.Request(address, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_until(found: Callable[[], Any]) -> Any:
    """Ask again and again until there is something; an address that does not answer yet is nothing."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        try:
            if (value := found()) is not None:
                return value
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"nothing after {LONGEST} s")


@contextmanager
def started(environment: dict[str, str], *words: str) -> Iterator[None]:
    """Keep a command running; its output goes to the log of the folder."""
    with Path(f"{environment['PREFECT_HOME']}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def command(environment: dict[str, str], *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", *words], env=environment, check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )


def deployment(folder: Path, options: dict[str, str], target: Path) -> Path:
    """Write a prefect.yaml with one deployment: the first of ours, every minute, on the folder."""
    content = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    chosen = content["deployments"][0] | {"name": "own-photos", "schedules": [{"cron": "* * * * *"}]}
    chosen["parameters"] = {"dataset": str(folder), "workspace": str(target / "nightly"), **options}
    chosen["work_pool"] = {"name": POOL}
    path = target / "prefect.yaml"
    path.write_text(yaml.safe_dump(content | {"deployments": [chosen]}))
    return path


def ended_run(api: str) -> Any:
    """The first run of the schedule that has ended."""
    wanted = json.dumps(
        {"sort": "START_TIME_ASC", "flow_runs": {"deployment_id": {"is_null_": False}}}
    ).encode()
    ended = [run for run in post(f"{api}/flow_runs/filter", wanted) if run["end_time"]]
    if ended and ended[0]["state_type"] != "COMPLETED":
        raise SystemExit(f"the scheduled run ended as {ended[0]['state']}")
    return ended[0] if ended else None


def surroundings(scratch: Path, port: int) -> dict[str, str]:
    """An environment whose workspace and PREFECT_HOME are empty, and whose server has this port."""
    own = {
        "PREFECT_HOME": str(scratch / "home"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PLUMBLINE_WORKSPACE": str(scratch / "ws"),
        "PLUMBLINE_HOME": str(ROOT),
        "PYTHONPATH": str(ROOT),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | own


def first_answer(environment: dict[str, str], port: int, image: Path) -> None:
    """Start `plumbline serve`, and wait for its answer about an image."""
    address = f"http://127.0.0.1:{port}/v1/predict"
    with started(environment, "flows", "serve", "--port", str(port)):
        answer = wait_until(lambda: post(address, image.read_bytes(), "image/jpeg"))
        print(json.dumps(answer)[:160])


def scheduled_run(environment: dict[str, str], api: str, path: Path) -> None:
    """Start a server, a pool, a deployment and a worker, and wait for the first run of the schedule."""
    with started(environment, "prefect", "server", "start"):
        wait_until(lambda: post(f"{api}/health") or None)
        online = environment | {"PREFECT_API_URL": api}
        command(online, "prefect", "work-pool", "create", POOL, "--type", "process")
        command(online, "prefect", "--no-prompt", "deploy", "--prefect-file", str(path), "--all")
        with started(online, "prefect", "worker", "start", "--pool", POOL):
            wait_until(lambda: ended_run(api))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    arguments, more = parser.parse_known_args()
    options = {more[n].removeprefix("--").replace("-", "_"): more[n + 1] for n in range(0, len(more), 2)}
    folder = arguments.folder.absolute()
    pictures = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES)
    scratch = Path(tempfile.mkdtemp(prefix="plumbline-first-"))
    served, port = free_ports(2)
    environment = surroundings(scratch, port)
    began, cpu = time.perf_counter(), sum(os.times()[2:4])

    def show(what: str, commands: int) -> None:
        seconds, cpu_seconds = time.perf_counter() - began, sum(os.times()[2:4]) - cpu
        print(f"{what:32} {commands:2} commands {seconds:7.1f} s {cpu_seconds:7.1f} CPU-s", flush=True)

    command(environment, "flows", "train", "--dataset", str(folder), *more)
    show("a model of the folder", 1)
    first_answer(environment, served, next(pictures))
    show("its first answer over HTTP", 2)
    scheduled_run(environment, f"http://127.0.0.1:{port}/api", deployment(folder, options, scratch))
    show("a scheduled run has ended", 7)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
