"""Rows of a run that was killed while it wrote them: the next run goes on with them, under the same run id.

The tables of a run are written one after the other, `runs` last. Until then a small file names the run that
has begun, so that a run after a kill completes its parts instead of writing each row a second time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import PlumblineError
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

FOLDER = ".unfinished"  # readers of parquet folders leave out names that begin with a dot


@contextmanager
def completing(evaluation: str, run_id: str, workspace: Workspace) -> Iterator[str]:
    """Yield the run id for the parts of an evaluation: that of a killed run that began them, or this run's.

    Args:
        evaluation: Digest of the evaluation, with the version if it is one of `plumbline evaluate`.
        run_id: The id of this run.
        workspace: The workspace with the metrics tables.
    """
    begun = workspace.metrics / "runs" / FOLDER / evaluation
    writer = _read(begun) or run_id
    atomic.write_bytes(begun, writer.encode())
    try:
        yield writer
    except PlumblineError:  # parts that do not suit this run are not tried again
        begun.unlink(missing_ok=True)
        raise
    begun.unlink(missing_ok=True)


def _read(path: Path) -> str:
    """The run id in the file; empty if there is none that can be a file name."""
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    return text if text.replace("-", "").isalnum() else ""
