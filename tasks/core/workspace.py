"""The workspace: the one folder in which everything that Plumbline makes lies.

Handles carry paths relative to it, so that a workspace can be moved or mounted elsewhere.
"""

import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PLUMBLINE_WORKSPACE"
DEFAULT = "workspace"


@dataclass(frozen=True)
class Workspace:
    """A workspace by its root folder; every property is an absolute path."""

    root: Path

    @classmethod
    def open(cls, path: str | Path | None = None) -> "Workspace":
        """Make `path` (else the environment's, else ./workspace) this process's workspace.

        Child processes inherit it through the environment.
        """
        root = Path(path or os.environ.get(VARIABLE) or DEFAULT).expanduser().resolve()
        os.environ[VARIABLE] = str(root)
        return cls(root)

    @classmethod
    def active(cls) -> "Workspace":
        """The workspace that this process last opened; handles resolve against it."""
        return cls(Path(os.environ.get(VARIABLE) or DEFAULT).expanduser().resolve())

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def tensors(self) -> Path:
        return self.root / "tensors"

    @property
    def audits(self) -> Path:
        return self.root / "audits"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def profiles(self) -> Path:
        return self.root / "profiles"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def suspects(self) -> Path:
        return self.root / "suspects"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def results(self) -> Path:
        """Prefect's stored task results (small JSON handles)."""
        return self.root / "results"
