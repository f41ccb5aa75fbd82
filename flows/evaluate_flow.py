"""Evaluate a published model on any labelled images. Nothing is trained, and the registry stays as it is.

python flows/evaluate_flow.py photos-of-2027 --dataset photos
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.operations import environment

if __name__ == "__main__":
    environment.open_command("evaluate")
else:
    environment.prepare()

import typer
from prefect import flow

from tasks.core.config import SourceSettings
from tasks.core.data.evaluation_set.labelled import LabelledSettings
from tasks.core.data.files.class_names import any_classes
from tasks.core.data.readers import corrections as corrections_file
from tasks.core.operations import prefect_server
from tasks.core.operations.command_line import documented
from tasks.core.storage.mirror import open_workspace
from tasks.display import console
from tasks.download import download
from tasks.evaluate_version import (
    check_request,
    evaluation_report,
    evaluation_set,
    find_version,
    report_inputs,
    score_version,
)
from tasks.orchestration import damaged_outputs, finish_evaluation
from tasks.orchestration.run import Run


@flow(name="evaluate-model", flow_run_name="{dataset} {model} on {data}")
def evaluate_flow(
    data: str,
    dataset: str = "digits",
    model: str = "champion",
    split: str | None = None,
    group_by: str | None = None,
    corrections: Path | None = None,
    positive: str | None = None,
    prevalence: float | None = None,
    no_operating_point: bool = False,
    max_quarantine: float = 0.01,
    workspace: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a published model on any labelled images: a report, and rows in the metrics tables.

    All images of DATA are scored, whatever their split. Left out, counted and named are images of classes
    that the model does not know, and images that the model was trained on. Nothing is trained or chosen, and
    the registry stays as it is.

    Args:
        data: Labelled images, as for --dataset of train: a folder (<class>/*, {train,val,test}/<class>/*), a
            zip or tar of one, a CSV of path,label, parquet files, an address, or a known dataset.
        dataset: The dataset of the model; for a folder of photos, the folder's name.
        model: A version (v0003) or an alias (champion, previous).
        split: Only the images of this split of DATA: train, val or test. Default: all.
        group_by: What belongs together: folder (below the class folder), time-gap=SECONDS (by EXIF), or a
            regular expression for the path such as '(p[0-9]+)_'. Intervals then count groups. Default: the
            column group of a CSV or parquet, if any.
        corrections: A CSV of path (or image_id) and class_name: classes to use instead of those of DATA.
        positive: The class that the curves are about. Default: that of the training.
        prevalence: Share of the positive class where the model is used, above 0 and at most 1, for the
            predictive values. Default: that of the training.
        no_operating_point: Score the most probable class, although the model has an operating point.
        max_quarantine: Share of images that cannot be used above which the evaluation fails, 0 to 1.
        workspace: The workspace with the models: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.

    Returns:
        The summary: accuracy, worst classes, report, numbers of images scored and left out; JSON values.
    """
    given = {name: value for name, value in locals().items() if value is not None and value is not False}
    source = SourceSettings(dataset=data, corrections=corrections)
    settings = LabelledSettings(split or "", group_by, max_quarantine)
    check_request(source, settings)
    run = Run(open_workspace(workspace), given)
    version, question = find_version(dataset, model, positive, prevalence, most_probable=no_operating_point)
    console.log.info("%-13s %s %s", "model", version.dataset, version.version)

    def body() -> dict[str, Any]:
        with any_classes():
            raw = run.execute(download, source)
        images = run.execute(evaluation_set, raw, version, settings)
        evaluation = run.execute(score_version, version, images, question)
        inputs = report_inputs(version, images, evaluation, run.parameters)
        return finish_evaluation.finish(run, raw, inputs, run.execute(evaluation_report, inputs))

    return damaged_outputs.built_again(body)


def main(**parameters: Any) -> None:
    """Check what is asked before anything starts, then run the flow."""
    with console.command_context():
        source = SourceSettings(dataset=parameters["data"], corrections=parameters["corrections"])
        check_request(
            source,
            LabelledSettings(parameters["split"] or "", parameters["group_by"], parameters["max_quarantine"]),
        )
        if source.corrections:
            corrections_file.read(source.corrections)
        prefect_server.wait_until_ready()
        evaluate_flow(**parameters)


command = documented(evaluate_flow.fn, main)

if __name__ == "__main__":
    typer.run(command)
