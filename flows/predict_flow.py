"""Classify images with a published model, batch after batch, and say whether they are like those it knows.

python flows/predict_flow.py photos/new a.jpg --dataset photos
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.operations import environment

if __name__ == "__main__":
    environment.open_command("predict")
else:
    environment.prepare()

import typer
from prefect import flow

from tasks.core.data.inference import prediction_table
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.operations import prefect_server
from tasks.core.operations.command_line import documented
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage.mirror import open_workspace
from tasks.display import console, dashboard
from tasks.predict import compare, pending_batches, predict, validate_request


@flow(name="predict-images", flow_run_name="{dataset} {model}")
def predict_flow(
    images: list[str],
    dataset: str = "digits",
    model: str = "champion",
    out: Path = Path("predictions"),
    abstain: float | None = None,
    threshold: float | None = None,
    workspace: Path | None = None,
) -> dict[str, Any]:
    """Classify images with a published model; the rows are added to a folder of parquet files.

    What the folder has from this model already is not predicted again: run it as often as you like. A run
    that was killed is gone on with. The new images are compared with those that the model was validated on.

    Args:
        images: Image files, parquet files of images, folders of either, globs, or addresses (s3://, https://).
        dataset: The dataset whose models are meant; for a folder of photos the folder's name.
        model: A version (v0003) or an alias (champion, previous).
        out: The folder of parquet files, new or with earlier predictions. A batch is a folder in it.
        abstain: Give no answer where the model isn't sure enough to keep the errors among its answers below
            this rate, as far as its validation images prove one: 0.01, 0.02, 0.05 or 0.1.
        threshold: Give no answer below this confidence, 0 to 1, instead.
        workspace: Where the models are. Default: PLUMBLINE_WORKSPACE, else ./workspace.

    Returns:
        Counts of images, of those without an answer and of unreadable ones, what drifted, and the folder.
    """
    open_workspace(workspace)
    request, version = validate_request(images, dataset, model, abstain, threshold)
    out = out.expanduser().absolute()
    with prediction_table.locked_folder(out):
        done = [predict_one_batch(batch, version) for batch in pending_batches(request, out)]
    if not done:
        console.log.info("nothing new: all images are in %s already", out)
    counts = {name: sum(tally[name] for tally in done) for name in ("images", "abstained", "unreadable")}
    return counts | {"drift": [tally["drift"] for tally in done], "out": str(out)}


def predict_one_batch(batch: Batch, version: ModelVersion) -> dict[str, Any]:
    """One batch; returns what came out."""
    predict(batch, version)
    drift = compare(batch, version)
    tally = batch.counts()
    dashboard.publish_predictions(batch, tally, drift)
    batch.finish(tally | {"drift": drift.record()})
    console.predictions(batch.first(console.MAX_ROWS), tally["images"])
    words = "{images:,} images, {abstained:,} without an answer, {unreadable:,} unreadable".format(**tally)
    console.log.info("%s; in %s", words, batch.directory)
    (console.log.warning if drift.drifted else console.log.info)("%s", drift)
    return tally | {"drift": str(drift)}


def main(**parameters: Any) -> None:
    """Run the flow; errors that a person can act on are shown without a traceback."""
    with console.command_context():
        prefect_server.wait_until_ready()
        predict_flow(**parameters)


command = documented(predict_flow.fn, main)

if __name__ == "__main__":
    typer.run(command)
