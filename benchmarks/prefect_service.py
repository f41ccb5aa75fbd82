"""A real Prefect server with workers in processes of its own, for the benchmarks of operation."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]


class Service:
    """A server on a free port with a home of its own; stopped with its workers at the end of a `with` block.

    Args:
        home: Its database (SQLite) and storage; must be new.
        database: Address of another database, such as postgresql+asyncpg://user@host/name.
    """

    def __init__(self, home: Path, database: str = "") -> None:
        home.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home, self.address = home, f"http://127.0.0.1:{port}/api"
        self.environment = os.environ | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.address,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PLUMBLINE_HOME": str(ROOT),
        }
        if database:
            self.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Service":
        self.start("server", "server", "start")
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2):
                    return self
            except OSError:
                time.sleep(0.3)
        self.__exit__()
        raise TimeoutError((self.home / "server.log").read_text())

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def start(self, log: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A `prefect` command that stays, in a process group of its own."""
        with (self.home / f"{log}.log").open("w") as output:
            process = subprocess.Popen(
                [*PREFECT, *arguments],
                env=self.environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def prefect(self, *arguments: str) -> None:
        """A `prefect` command that ends."""
        subprocess.run(
            [*PREFECT, *arguments], env=self.environment, cwd=ROOT, check=True, capture_output=True
        )

    def ask(self, path: str, body: Any) -> Any:
        """POST to the API; the answer as JSON."""
        content, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", content, kind)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def flow_runs(self) -> list[dict[str, Any]]:
        """All flow runs, in pages of the API's limit."""
        runs: list[dict[str, Any]] = []
        while page := self.ask("/flow_runs/filter", {"limit": 200, "offset": len(runs), "sort": "ID_DESC"}):
            runs += page
        return runs
