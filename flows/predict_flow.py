"""Classify images with a published model.

python flows/predict_flow.py photos/new a.jpg --dataset photos
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core import environment

if __name__ == "__main__":
    environment.open_command("predict")
else:
    environment.prepare()

import typer
from prefect import flow

from tasks import console
from tasks.core import server
from tasks.core.command import documented
from tasks.core.workspace import Workspace
from tasks.predict import predict


@flow(name="predict-images", flow_run_name="{dataset} {model}")
def predict_flow(
    images: list[Path],
    dataset: str = "digits",
    model: str = "champion",
    out: Path = Path("predictions.parquet"),
    workspace: Path | None = None,
) -> dict[str, Any]:
    """Classify images with a published model, into a parquet file and a printed table.

    Args:
        images: Image files, or folders that are searched for images.
        dataset: The dataset whose models are meant; for a folder of photos the folder's name.
        model: A version (v0003) or an alias (champion, previous).
        out: The parquet file to write: file, predicted class, probability, all probabilities, problem.
        workspace: Where the models are. Default: PLUMBLINE_WORKSPACE, else ./workspace.

    Returns:
        Counts of images and of problems, and the file's path; JSON values.
    """
    Workspace.open(workspace)
    rows = predict(images, dataset, model, out)
    console.predictions(rows)
    unread = sum(row["problem"] is not None for row in rows)
    console.log.info("%d images, %d unreadable; all in %s", len(rows), unread, out)
    return {"images": len(rows), "unreadable": unread, "out": str(out)}


def main(**parameters: Any) -> None:
    """Run the flow; errors that a person can act on are shown without a traceback."""
    with console.person():
        server.wait()
        predict_flow(**parameters)


if __name__ == "__main__":
    typer.run(documented(predict_flow.fn, main))
