"""What a run knows of itself and of its stages. It needs neither Prefect nor pandas."""

import resource
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.addresses import without_secrets
from tasks.core.markup import is_utf8
from tasks.core.progress import duration
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class StageRecord:
    """What a run records of a stage.

    Args:
        digest: The digest of the stage's output; empty if the output is not a handle.
        state: "ran", "cached" (Prefect reused the result), "unchanged" (the stage found its output) or
            "skipped" (nothing changed since the last run, so the stage was not called).
        seconds: Wall time in this run.
        cost: `wall_seconds`, `cpu_seconds`, `peak_memory_mb` when the output was built.
        why: For a stage that ran, what differs from the dataset's last run.
    """

    digest: str
    state: str
    seconds: float
    cost: Mapping[str, float | None]
    why: tuple[str, ...] = ()


class RunRecord:
    """A run: its workspace, its parameters and the records of its stages.

    Args:
        workspace: The workspace that the stages read and write.
        parameters: The flow's parameters that were given or have a default.

    Attributes:
        sweep: The id of the sweep that chose the training; empty if none did.
        started: Start time, UTC.
        run_id: Start time and four random hexadecimal digits, such as "20261126-093000-1a2b".
        records: The stages so far, by name, in the order in which they ran.
        source_root: Where the images are, as `RawDataset.root`; empty before the download stage.
        folder: The folder in which the run was called.
    """

    def __init__(self, workspace: Workspace, parameters: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.parameters = {name: json_value(value) for name, value in parameters.items()}
        self.sweep = ""
        self.started = datetime.now(UTC)
        self.run_id = f"{self.started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.records: dict[str, StageRecord] = {}
        self.source_root = ""
        self.folder = str(Path.cwd())

    def stages(self) -> dict[str, dict[str, Any]]:
        """Return, by stage, its digest, state, seconds in this run, cost when it was built, and reasons."""
        return {
            name: {
                "digest": stage.digest,
                "state": stage.state,
                "seconds": stage.seconds,
                "cpu_seconds": stage.cost.get("cpu_seconds"),
                "made_in_seconds": stage.cost.get("wall_seconds"),
                "peak_memory_mb": stage.cost.get("peak_memory_mb"),
                "why": list(stage.why),
            }
            for name, stage in self.records.items()
        }

    def copy_from(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """Copy the stage records of the last run; no stage is called."""
        for name, stage in stages.items():
            cost = {"cpu_seconds": stage["cpu_seconds"], "wall_seconds": stage["made_in_seconds"]}
            self.records.setdefault(name, StageRecord(stage["digest"], "skipped", 0.0, cost))

    def columns(self, flow_run_id: str | None) -> dict[str, Any]:
        """Columns of the table `runs` that any run has: when it was, what it cost, its stages."""
        return {
            "run_id": self.run_id,
            "started": self.started,
            "wall_seconds": (datetime.now(UTC) - self.started).total_seconds(),
            "cpu_seconds": time.process_time(),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            "stages": self.stages(),
            "flow_run_id": flow_run_id,
            "folder": self.folder if is_utf8(self.folder) else None,
        }

    def reused(self) -> str:
        """The stages that were not run, and the time that this saved, for the summary."""
        names = [name for name, stage in self.records.items() if stage.state != "ran"]
        saved = sum(self.records[name].cost.get("wall_seconds") or 0 for name in names)
        return f"{', '.join(names)} (saved {duration(saved)})" if names else "nothing: every stage ran"


def json_value(value: Any) -> Any:
    """A parameter's value for JSON, without secrets."""
    if isinstance(value, list | tuple | set):
        return [json_value(item) for item in value]
    return value if isinstance(value, bool | int | float) else without_secrets(str(value))


def time_text(state: str, seconds: float, cost: float) -> str:
    """The time of a stage, for its line of the console."""
    return duration(seconds) if state == "ran" else f"{state} (cost {duration(cost)} when made)"
