"""Remove what nothing in a workspace needs any more, as a flow that a schedule can call."""

import sys
from pathlib import Path

if __name__ == "__main__":  # a bare clone works too, and no other package called `tasks` gets in the way
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.operations import environment

environment.prepare()

from prefect import flow

from flows.commands.prune import rows, sentence
from tasks.core.runs import prune
from tasks.core.storage.workspaces import open_existing
from tasks.display.console import log


@flow(name="prune-workspace", validate_parameters=True)
def prune_flow(older_than: str = "30d", keep: int = 10, workspace: Path | None = None) -> str:
    """Remove the outputs that nothing needs any more; tables, models and downloads stay.

    It fails, and removes nothing, while a run is in progress.

    Args:
        older_than: Only what is older: hours, days or weeks, such as 12h, 30d or 8w.
        keep: Number of the newest runs of each dataset whose outputs stay, 1 or more.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    found = prune.prune(open_existing(workspace), keep, prune.parse_age(older_than))
    for row in rows(found):
        log.info("%s", ", ".join(f"{name} {text}" for name, text in row.items() if text))
    log.info("%s", sentence(found))
    return sentence(found)


if __name__ == "__main__":
    prune_flow()
