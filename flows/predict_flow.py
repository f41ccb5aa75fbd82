"""Classify images with a published model, and check them for drift from the images that it was validated on.

python flows/predict_flow.py photos/new a.jpg --dataset photos
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from flows.__main__ import main as plumbline

    plumbline("predict")
    sys.exit()

from tasks.core.operations import environment

environment.prepare()

from prefect import flow, runtime

from flows.declarations import PREDICT
from tasks.core import shares
from tasks.core.addresses import concealed
from tasks.core.data.inference import output_folder, prediction_table
from tasks.core.data.inference.embeddings_table import check_folder
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.model.devices import early_import
from tasks.core.operations import prefect_server, run_lock
from tasks.core.operations.run_lock import RunOwner
from tasks.core.registry import last_published
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage.workspaces import open_workspace
from tasks.core.workspace import expanded
from tasks.display import console, dashboard, server_link
from tasks.orchestration.crashed_runs import mark_earlier
from tasks.parameters.flow_parameters import with_parameters
from tasks.parameters.model_settings import PredictSettings
from tasks.predict import (
    choose_to_label,
    compare,
    decision_sentences,
    list_images,
    pending_batches,
    precision_sentence,
    predict,
    validate_request,
)


def run_name() -> str:
    """The flow run's name in the dashboard."""
    given = runtime.flow_run.parameters
    return f"{given['dataset'] or 'the last trained'} {given['model']}"


@flow(name="predict-images", flow_run_name=run_name)
@with_parameters(PredictSettings, PREDICT.text)
def predict_flow(settings: PredictSettings) -> dict[str, Any]:
    """Run the prediction flow; `PREDICT` has its text."""
    asked, answers, label_next = settings.version, settings.answers, settings.inputs.label_next
    dataset = last_published.choose(asked.dataset, open_workspace(asked.workspace))
    request, version = validate_request(
        list(settings.inputs.images),
        dataset,
        asked.model,
        answers.abstain,
        answers.threshold,
        label_next,
        most_probable=answers.no_operating_point,
        all_images=answers.all_images,
        precision=answers.precision,
    )
    if request.operating_point:
        console.log.info("decision      %s", " ".join(decision_sentences(version)))
    if in_bfloat16 := precision_sentence(request, version):
        console.log.info("precision     %s", in_bfloat16)
    out = expanded(settings.inputs.out).absolute()
    embeddings = settings.inputs.embeddings and expanded(settings.inputs.embeddings).absolute()
    check_folder(embeddings, out)
    chunks, unused, has_images = list_images(request)
    output_folder.check(out)
    owner = RunOwner.this(runtime.flow_run.id, runtime.flow_run.name)
    with run_lock.exclusive_writer(out, owner) as killed, prediction_table.locked_folder(out):
        server_link.tell(mark_earlier, killed)
        pending = pending_batches(request, out, chunks, unused)
        batches = [predict_one_batch(batch, version, label_next, embeddings) for batch in pending]
    if has_images and not batches:
        unnamed = "; so none is named to label next" if label_next else ""
        console.log.info("nothing to do: %s already has the predictions of all images%s", out, unnamed)
    return server_link.completed(_totals(batches) | {"out": str(out)})


def _totals(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of all batches together, and the drift of each."""
    counts = {name: sum(batch[name] for batch in batches) for name in ("images", "abstained", "unreadable")}
    return counts | {"drift": [batch["drift"] for batch in batches]}


def predict_one_batch(
    batch: Batch, version: ModelVersion, label_next: int = 0, embeddings: Path | None = None
) -> dict[str, Any]:
    """Predict one batch, compare it with the model's profile, and show the results.

    Returns:
        The counts of `Batch.counts`, and `drift`, the comparison as text.
    """
    predict(batch, version, with_candidates=label_next > 0, embeddings=embeddings)
    if label_next:
        chosen = choose_to_label(batch, version, label_next)
        console.log.info("to label next: %s of %s", f"{chosen:,}", shares.counted(batch.images, "image"))
    drift = compare(batch, version)
    counts = batch.counts()
    dashboard.publish_predictions(batch, counts, drift)
    batch.finish(counts | {"drift": drift.record()})
    console.predictions(batch.first(console.MAX_ROWS), counts["images"])
    text = shares.said(counts["images"], "image", "images")
    text += ", {abstained:,} without an answer, {unreadable:,} unreadable".format(**counts)
    console.log.info("%s%s", text, output_folder.kept_in(batch.directory))
    (console.log.warning if drift.drifted else console.log.info)("%s", drift)
    return counts | {"drift": str(drift)}


def main(**parameters: Any) -> None:
    """Run the flow; a `PlumblineError` is shown without a traceback."""
    with console.command_context():
        parameters["images"] = [concealed(path) for path in parameters["images"]]
        prefect_server.wait_until_ready(early_import.import_tensorflow)
        with server_link.surviving():
            predict_flow(**parameters)
