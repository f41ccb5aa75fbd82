"""What Plumbline's runs cost beside a bare Prefect flow of five empty tasks, with and without a server.

    python benchmarks/overhead.py --runs 5
    python benchmarks/overhead.py --runs 5 --quick --against ../earlier-checkout

Whole processes, in turn: Prefect's bare flow; a no-op run (nothing changed); a fully cached run; a first run
of the bundled digits, and the same core functions called directly. Wall and CPU seconds (children included),
medians. "own" is a first run minus its direct calls: what orchestration costs.

--quick: only a no-op run, a first run, `train --help` and `plumbline models list`. --against: another
checkout's commands, each beside ours.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.prefect_service import ROOT, Service

BARE = """
from prefect import flow, task

@task
def nothing(number):
    return number

@flow
def bare():
    return [nothing(number) for number in range(5)]

if __name__ == "__main__":
    bare()
"""
DIRECT = """
import sys
from tasks.core.operations import environment
environment.prepare()
from tasks.core.config import PromotePolicy
from tasks.core.data.audit import audit
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.evaluation import evaluate, label_issues
from tasks.core.model.inference import predict_splits, profile
from tasks.core.model.training import train
from tasks.core.registry.promotion import promotion
from tasks.core.reports import report
from tasks.core.reports.inputs import ReportInputs
from tasks.core.runs import record
from tasks.core.workspace import Workspace
from tasks.orchestration.settings import TrainRunSettings

workspace = Workspace.open(sys.argv[1])
settings = TrainRunSettings.of({"epochs": 2})
raw = acquire.acquire(settings.source, workspace)
tensors = normalize.normalize(raw, settings.normalize, workspace)
audited = audit.audit(tensors, workspace)
trained = train.train(tensors, settings.train, workspace)
predicted = predict_splits.predict_splits(trained, tensors, workspace)
scored = evaluate.evaluate(predicted, tensors, workspace)
profiled = profile.profile(trained, tensors, workspace)
issues = label_issues.find_label_issues(scored, tensors, None, workspace)
policy, given = PromotePolicy.better, {"who": "me", "profiled": profiled}
decision = promotion.promote(trained, scored, None, policy, tensors, {}, workspace, **given)
inputs = ReportInputs(raw, tensors, audited, trained, scored, decision, label_issues=issues)
report.write_report(inputs, workspace)
row = {"run_id": "direct", "recipe": trained.recipe, "version": decision.version}
record.append_run(row, tensors, trained, scored, workspace)
"""


@dataclass
class Times:
    """Seconds of each run of a command."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def take(self, command: list[str], environment: dict[str, str], root: Path = ROOT) -> None:
        began = time.perf_counter()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - read only if the command fails
        process = subprocess.Popen(
            command, env=environment, cwd=root, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode())
        self.wall.append(time.perf_counter() - began)
        self.cpu.append(usage.ru_utime + usage.ru_stime)

    def __str__(self) -> str:
        return f"{statistics.median(self.wall):6.2f} s wall  {statistics.median(self.cpu):6.2f} s CPU"


def measured(scratch: Path, environment: dict[str, str], runs: int) -> dict[str, Times]:
    """Each command `runs` times, in turn."""
    times = {
        name: Times() for name in ("bare Prefect", "no-op run", "cached run", "first run", "direct calls")
    }
    python, flow, kept = sys.executable, str(ROOT / "flows" / "train_flow.py"), str(scratch / "kept")
    train = [python, flow, "--epochs", "2", "--workspace"]
    bare, direct = scratch / "bare.py", scratch / "direct.py"
    bare.write_text(BARE)
    direct.write_text(DIRECT)
    with_root = environment | {"PYTHONPATH": str(ROOT)}
    Times().take([python, str(bare)], environment)  # migrates the database
    Times().take([*train, kept], environment)
    for _ in range(runs):
        fresh = [str(scratch / name) for name in ("fresh", "called")]
        for name in fresh:
            shutil.rmtree(name, ignore_errors=True)
        times["bare Prefect"].take([python, str(bare)], environment)
        times["cached run"].take([*train, kept, "--promote", "never"], environment)
        times["cached run"].take([*train, kept], environment)
        times["no-op run"].take([*train, kept], environment)
        times["first run"].take([*train, fresh[0]], environment)
        times["direct calls"].take([python, str(direct), fresh[1]], with_root)
    return times


def quick(scratch: Path, environment: dict[str, str], runs: int, roots: dict[str, Path]) -> dict[str, Times]:
    """The commands whose start a user waits for, of each checkout in turn."""
    commands = {
        "no-op run": ["flows/train_flow.py", "--epochs", "2", "--workspace", "{kept}"],
        "first run": ["flows/train_flow.py", "--epochs", "2", "--workspace", "{fresh}"],
        "train --help": ["flows/train_flow.py", "--help"],
        "models list": ["-m", "flows", "models", "list", "--workspace", "{kept}"],
    }
    times = {f"{name}{mark}": Times() for name in commands for mark in roots}
    for number in range(runs + 1):
        for mark, root in roots.items():
            kept, fresh = (scratch / f"{kind}{len(mark)}" for kind in ("kept", "fresh"))
            shutil.rmtree(fresh, ignore_errors=True)
            for name, words in commands.items():
                command = [sys.executable, *(word.format(kept=kept, fresh=fresh) for word in words)]
                taken = times[f"{name}{mark}"] if number else Times()  # the first fills caches and workspaces
                taken.take(command, environment | {"PYTHONPATH": str(root)}, root)
    return times


def show(title: str, times: dict[str, Times]) -> None:
    print(f"\n{title}")
    width = max(map(len, times))
    for name, taken in times.items():
        print(f"  {name:<{width}} {taken}   n = {len(taken.wall)}")
    if "direct calls" not in times:
        return
    middle = {name: statistics.median(taken.wall) for name, taken in times.items()}
    print(f"  {'own':<13} {middle['first run'] - middle['direct calls']:6.1f} s wall")
    print(f"  no-op / bare Prefect: {middle['no-op run'] / middle['bare Prefect']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each command")
    parser.add_argument("--quick", action="store_true", help="only what a user waits for")
    parser.add_argument("--against", type=Path, help="another checkout, for --quick")
    options = parser.parse_args()
    roots = {"": ROOT} | ({" (other)": options.against.resolve()} if options.against else {})
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    clean |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        alone = {
            "PREFECT_HOME": str(scratch / "home"),
            "PREFECT_SERVER_API_PORT": "1",  # a server that happens to run on this machine is not used
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        }

        def taken(folder: Path, environment: dict[str, str]) -> dict[str, Times]:
            if options.quick:
                return quick(folder, environment, options.runs, roots)
            return measured(folder, environment, options.runs)

        show("without a server", taken(scratch, clean | alone))
        with Service(scratch / "service") as service:
            (scratch / "served").mkdir()
            show("with a running server", taken(scratch / "served", service.environment))


if __name__ == "__main__":
    main()
