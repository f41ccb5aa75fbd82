"""A workspace as an object. Prefect, pandas and TensorFlow are imported by the calls that need them."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import platforms
from tasks.core.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Workspace:
    """A workspace: models, tables and reports.

    Args:
        location: An absolute path, or an address such as "s3://bucket/prefix".
    """

    location: str

    @classmethod
    def open(cls, location: str | Path | None = None) -> "Workspace":
        """Open a workspace; a folder is created when something is written to it.

        Args:
            location: A folder, or an address such as "s3://bucket/prefix". By default the value of
                PLUMBLINE_WORKSPACE, else "workspace".

        Raises:
            UsageError: The address cannot be used, it is a file, or this is native Windows.
        """
        platforms.check()
        from tasks.core.storage.workspaces import refuse_file
        from tasks.core.workspace import Workspace as Files

        opened = Files.open(location)
        refuse_file(opened)
        return cls(opened.address or str(opened.root))

    def train(self, dataset: str | Path = "digits", **options: Any) -> dict[str, Any]:
        """Train, evaluate and publish a model, as `plumbline train` does.

        Args:
            dataset: A folder of images, a known dataset, or what else --dataset takes.
            **options: The options of `plumbline train`, with underscores: recipe="probe", epochs=3.

        Returns:
            The run's summary: accuracy, verdict, paths, what was reused.

        Raises:
            UsageError: An option that cannot be used.
            PlumblineError: What the command would print as an error.
        """
        from flows import start

        parameters = {"dataset": str(dataset), "workspace": Path(self.location), **options}
        return dict(start.in_process("train", parameters))

    def table(self, name: str, dataset: str | None = None) -> "pd.DataFrame":
        """Read a metrics table.

        Args:
            name: "runs", "epochs", "classes", "predictions", or another one of docs/outputs.md.
            dataset: Only the rows of this dataset.

        Returns:
            One row per run, epoch, ...; docs/outputs.md has the columns.

        Raises:
            UsageError: There is no such table yet.
        """
        import pandas as pd

        folder = self._files().metrics / name
        if not folder.is_dir():
            there = sorted(path.name for path in folder.parent.glob("[a-z]*") if path.is_dir())
            raise UsageError(f"no table {name}", expected=", ".join(there) or "a workspace with a run")
        filters = [("dataset", "==", dataset)] if dataset else None
        return pd.read_parquet(folder, filters=filters)

    def models(self, dataset: str | None = None) -> "pd.DataFrame":
        """List the published models: dataset, version, aliases, damage, test metrics, file.

        Args:
            dataset: Only the models of this dataset.

        Returns:
            One row per version; `model` is the path of `model.keras`, which `keras.models.load_model` loads.
            `damage` says what is wrong with a version whose files changed since; it is empty if nothing is.
        """
        import pandas as pd

        from tasks.core.registry import listing

        return pd.DataFrame(listing.model_rows(self._files(), dataset), columns=listing.model_columns())

    def predict(
        self, images: str | Path | Sequence[str | Path], dataset: str | None = None, **options: Any
    ) -> "pd.DataFrame":
        """Classify images with a published model, as `plumbline predict` does.

        Args:
            images: Image files, parquet files of images, folders of either, globs, or addresses.
            dataset: The dataset of the model. By default the one whose model was published last.
            **options: The options of `plumbline predict`, such as model="v0003", abstain=0.05, out="rows".
                Without out nothing is kept.

        Returns:
            One row per image; docs/predict-and-drift.md has the columns. With out, all rows of
            that folder.
        """
        from flows import start
        from tasks.core.data.inference.output_folder import TEMPORARY

        listed = [images] if isinstance(images, str | Path) else list(images)
        if strangers := {type(each).__name__ for each in listed if not isinstance(each, str | Path)}:
            raise UsageError(
                "images are named by their paths",
                expected="str or Path",
                found=", ".join(sorted(strangers)),
                todo="arrays go into keras.models.load_model(...).predict; models() has the file",
            )
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            parameters = {"images": [str(path) for path in listed], "dataset": dataset, "model": "champion"}
            parameters |= {"workspace": Path(self.location), "out": Path(folder) / "rows"} | options
            start.in_process("predict", parameters)
            return _rows(parameters["out"])

    def _files(self) -> Any:
        from tasks.core.storage.workspaces import open_workspace

        return open_workspace(self.location)


def _rows(out: Any) -> "pd.DataFrame":
    """The predictions of a folder; without any row, the columns."""
    import pandas as pd

    from tasks.core.model.inference.prediction_rows import SCHEMA

    rows = pd.read_parquet(out)
    return pd.DataFrame(columns=[*SCHEMA.names, "batch"]) if rows.columns.empty else rows
