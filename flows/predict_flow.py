"""Classify images with a published model, and check them for drift from the images that it was validated on.

python flows/predict_flow.py photos/new a.jpg --dataset photos
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.addresses import concealed
from tasks.core.operations import environment

if __name__ == "__main__":
    environment.open_command("predict")
else:
    environment.prepare()

import typer
from prefect import flow

from tasks.core.config import Precision
from tasks.core.data.inference import prediction_table
from tasks.core.data.inference.inputs import check_inputs
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.operations import prefect_server
from tasks.core.operations.command_line import documented
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage.mirror import open_workspace
from tasks.display import console, dashboard, server_link
from tasks.predict import (
    choose_to_label,
    compare,
    decision_sentences,
    pending_batches,
    precision_sentence,
    predict,
    validate_request,
)


@flow(name="predict-images", flow_run_name="{dataset} {model}")
def predict_flow(
    images: list[str],
    dataset: str = "digits",
    model: str = "champion",
    out: Path = Path("predictions"),
    abstain: float | None = None,
    threshold: float | None = None,
    no_operating_point: bool = False,
    label_next: int = 0,
    precision: Precision = Precision.auto,
    workspace: Path | None = None,
) -> dict[str, Any]:
    """Classify images with a published model; the predictions are added to a folder of parquet files.

    Images that this model has already classified are skipped, so the command may be run as often as you like.
    A run that was killed is resumed. The new images are compared with the model's validation images.

    Args:
        images: Image files, parquet files of images, folders of either, globs, or addresses (s3://, https://).
        dataset: The dataset of the model; for a folder of photos, the folder's name.
        model: A version (v0003) or an alias (champion, previous).
        out: The folder of parquet files, new or with earlier predictions. Each batch is a folder in it.
        abstain: Give no answer to images of low confidence, so that the error rate of the answers stays below
            this rate: 0.01, 0.02, 0.05 or 0.1. The validation images must support a threshold for it.
        threshold: Instead of --abstain, the confidence, 0 to 1, below which no answer is given.
        no_operating_point: Predict the most probable class, although the model has an operating point
            (--least-recall, --least-precision or --cost of its training).
        label_next: How many images to name that are worth a label next: the model is unsure about them, and
            they are unlike each other. They get a table and a contact sheet in the batch. At most 1000.
        precision: What the model calculates in. auto: bfloat16, where the processor multiplies in it and the
            model has proven on its validation images that it predicts as in float32; float32 elsewhere, and
            with a threshold or an operating point.
        workspace: The workspace with the models: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.

    Returns:
        The numbers of images, of images without an answer and of unreadable images, by name; `drift`, one
        text per batch; and `out`, the folder.
    """
    open_workspace(workspace)
    request, version = validate_request(
        images,
        dataset,
        model,
        abstain,
        threshold,
        label_next,
        most_probable=no_operating_point,
        precision=precision,
    )
    if request.operating_point:
        console.log.info("decision      %s", " ".join(decision_sentences(version)))
    if in_bfloat16 := precision_sentence(request, version):
        console.log.info("precision     %s", in_bfloat16)
    out = out.expanduser().absolute()
    with prediction_table.locked_folder(out):
        batches = [predict_one_batch(batch, version, label_next) for batch in pending_batches(request, out)]
    if not batches:
        console.log.info("nothing to do: %s already has the predictions of all images", out)
    totals = {name: sum(batch[name] for batch in batches) for name in ("images", "abstained", "unreadable")}
    drift = {"drift": [batch["drift"] for batch in batches], "out": str(out)}
    return server_link.completed(totals | drift)


def predict_one_batch(batch: Batch, version: ModelVersion, label_next: int = 0) -> dict[str, Any]:
    """Predict one batch, compare it with the model's profile, and show the results.

    Returns:
        The counts of `Batch.counts`, and `drift`, the comparison as text.
    """
    predict(batch, version, with_candidates=label_next > 0)
    if label_next:
        chosen = choose_to_label(batch, version, label_next)
        console.log.info("to label next: %s of %s images", f"{chosen:,}", f"{batch.images:,}")
    drift = compare(batch, version)
    counts = batch.counts()
    dashboard.publish_predictions(batch, counts, drift)
    batch.finish(counts | {"drift": drift.record()})
    console.predictions(batch.first(console.MAX_ROWS), counts["images"])
    text = "{images:,} images, {abstained:,} without an answer, {unreadable:,} unreadable".format(**counts)
    console.log.info("%s; in %s", text, batch.directory)
    (console.log.warning if drift.drifted else console.log.info)("%s", drift)
    return counts | {"drift": str(drift)}


def main(**parameters: Any) -> None:
    """Run the flow; a `PlumblineError` is shown without a traceback."""
    with console.command_context():
        check_inputs(parameters["images"])
        parameters["images"] = [concealed(path) for path in parameters["images"]]
        prefect_server.wait_until_ready()
        with server_link.surviving():
            predict_flow(**parameters)


command = documented(predict_flow.fn, main)

if __name__ == "__main__":
    typer.run(command)
