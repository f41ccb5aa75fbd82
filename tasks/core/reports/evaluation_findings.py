"""The first paragraph of an evaluation's report, in words, and what is most worth doing next."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.evaluation.evaluate import Scored
from tasks.core.evaluation.published import against_run
from tasks.core.metrics.comparison import baseline
from tasks.core.metrics.comparison.detectable import Detectable
from tasks.core.operations.command_line import train_command
from tasks.core.reports.inputs import Scores
from tasks.core.reports.sections import key_findings, next_steps
from tasks.core.reports.sections.next_steps import Step
from tasks.core.stage.handles import ModelVersion


def evaluation_findings(
    inputs: Scores, version: ModelVersion, scored: Scored, values: Mapping[str, Any]
) -> dict[str, Any]:
    """The sentences, and the steps that are most worth doing.

    Args:
        inputs: The evaluation and its images.
        version: The version that was evaluated.
        scored: The scored images.
        values: What the report shows already: metrics, classes, and the command that repeats it.
    """
    test = values["metrics"] | without_model(scored, inputs.tensors.classes)
    name = f"{version.dataset} {version.version}"
    sentences = [
        key_findings.accuracy(name, test, "image"),
        key_findings.against_no_model(test),
        key_findings.mixed_up(inputs),
    ]
    return {
        "sentences": [sentence for sentence in sentences if sentence],
        "steps": _steps(inputs, version, values),
    }


def without_model(scored: Scored, classes: Sequence[str]) -> dict[str, Any]:
    """The answers that need no model, beside the model; empty if all images are of one class.

    The commonest class is that of these images, which is the hardest to beat: the train images may have
    another one.
    """
    counts = np.bincount(scored.labels, minlength=len(classes))
    if np.count_nonzero(counts) < 2:
        return {}
    alone = baseline.baselines(scored.labels, counts, scored.groups)
    compared = baseline.compare(
        *(scored.labels, scored.probabilities, counts, tuple(classes), scored.groups),
        most_probable=scored.most_probable,
    )
    return {name: estimate.record() for name, estimate in alone.items()} | {"baseline": compared}


def _steps(inputs: Scores, version: ModelVersion, values: Mapping[str, Any]) -> list[Step]:
    dataset, metrics = version.dataset, values["metrics"]
    found = Detectable(**metrics["detectable"])
    steps = [
        *_such_images(metrics["accuracy"], version, own_test=values["images"].own_test),
        *next_steps.of_a_class(dataset, metrics["images"], values["classes"]),
    ]
    if found.most is None:
        steps.append(next_steps.more_test_images(found, next_steps.SMALLEST, values["command"]))
    return next_steps.first(steps) or next_steps.of_all_classes(dataset, 1 - inputs.evaluation.accuracy)


def _such_images(here: Mapping[str, Any], version: ModelVersion, own_test: int) -> Iterator[Step]:
    """Train on images like these, if the accuracy here is proven lower than in the version's own run."""
    there = against_run.own_accuracy(version)
    if there is None or own_test:
        return
    lost = against_run.difference(here, there)
    if lost.high >= 0:
        return
    text = (
        f"Add images like these to those that it is trained on, and train again: its accuracy here is "
        f"{-lost.value * 100:.1f} points lower ({-lost.high * 100:.1f} to {-lost.low * 100:.1f}) than on the "
        "test images of its own run."
    )
    yield Step(-lost.value, text, _train(version))


def _train(version: ModelVersion) -> str:
    """The command that trained the version."""
    known = dict(version.manifest["facts"].get("parameters") or {})
    known = {name: value for name, value in known.items() if name not in NON_OUTPUT_PARAMETERS}
    return train_command(known)
