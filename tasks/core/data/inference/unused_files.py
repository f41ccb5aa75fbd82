"""The files among the inputs that are no images: `_quarantine.csv` in the folder of the predictions.

It names the files of the latest listing, and is replaced by the next one. Programs that read the folder's
parquet files do not see it.
"""

import csv
import logging
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core import markup
from tasks.core.data import file_types
from tasks.core.data.files import quarantine_table
from tasks.core.storage import atomic

log = logging.getLogger("plumbline.predict")

NAME = "_quarantine.csv"


@dataclass(frozen=True)
class UnusedFiles:
    """Collects files that are no images.

    Args:
        reasons: Of each, by path or address.
    """

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, reason: str) -> None:
        """Add a file, which inputs may name more than once; serves as `inputs.OnUnused`."""
        self.reasons[path] = reason

    def write(self, out: Path) -> None:
        """Write the table into a folder, or remove it if there are no such files, and log their types."""
        path = out / NAME
        if not self.reasons:
            path.unlink(missing_ok=True)
            return
        with (
            atomic.replacing(path) as staging,
            staging.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["path", "reason"])
            writer.writerows([*map(markup.cell, row)] for row in self.reasons.items())
        reasons = [*self.reasons.values()]
        level = logging.INFO if set(reasons) <= file_types.SYSTEM_REASONS else logging.WARNING
        log.log(level, "not images: %s; %s names each", quarantine_table.counts(reasons), path)
