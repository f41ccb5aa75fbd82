"""Scores of a published version: against scikit-learn, at its operating point, and beside its own run."""

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from tasks.core.errors import UsageError
from tasks.core.evaluation import class_curves, evaluate, scores
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.evaluation.published import against_run, question
from tasks.core.evaluation.published.question import Question
from tasks.core.evaluation.published.score import score
from tasks.core.stage import publish
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import Evaluation, ModelVersion, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import CLASSES, FakeOutputs

GNU = CLASSES.index("gnu")
POINT = {"rule": {"thresholds": [[GNU, 0.05]]}, "kept": True, "sentences": ["gnu is predicted from 5 % on."]}


def images_of(tensors: TensorCache) -> EvaluationSet:
    """The test images of tensors as an evaluation set."""
    values = {each.name: getattr(tensors, each.name) for each in fields(TensorCache)}
    return EvaluationSet(**values, source_images=tensors.test)


def scored(outputs: FakeOutputs, asked: Question) -> tuple[Evaluation, pd.DataFrame]:
    """The evaluation, and labels and probabilities of its images."""
    predictions, tensors = outputs.predictions("model", 1.0), outputs.tensors()
    evaluation = score(predictions, images_of(tensors), outputs.workspace, asked)
    probabilities = np.load(predictions.directory / "test.probabilities.npy")
    return evaluation, pd.DataFrame({"label": outputs.labels("test"), "p": list(probabilities)})


def test_metrics_are_those_of_scikit_learn(workspace: Workspace) -> None:
    evaluation, rows = scored(FakeOutputs(workspace), Question(DecisionRequest()))
    probabilities = np.stack(rows["p"])
    predicted = probabilities.argmax(1)
    test = scores.read_metrics(evaluation)["test"]
    assert evaluation.accuracy == pytest.approx(accuracy_score(rows["label"], predicted))
    assert test["macro_f1"]["value"] == pytest.approx(f1_score(rows["label"], predicted, average="macro"))
    assert set(scores.read_metrics(evaluation)) == {"test"}
    classes = evaluate.read_classes(evaluation)
    assert classes["recall"].tolist() == pytest.approx(recall_score(rows["label"], predicted, average=None))
    areas = [roc_auc_score(rows["label"] == label, probabilities[:, label]) for label in range(len(CLASSES))]
    assert classes["roc_auc"].tolist() == pytest.approx(areas)
    assert class_curves.read_point(evaluation) is None


def test_intervals_count_groups(workspace: Workspace) -> None:
    evaluation, _ = scored(FakeOutputs(workspace, images=80, group_size=8), Question(DecisionRequest()))
    test = scores.read_metrics(evaluation)["test"]
    assert (test["images"], test["groups"], test["accuracy"]["method"]) == (80, 10, "cluster")


def test_decisions_are_those_of_the_point_of_the_version(workspace: Workspace) -> None:
    asked = Question(DecisionRequest(promises=(("recall", "gnu", 0.9),)), POINT)
    evaluation, rows = scored(FakeOutputs(workspace, images=100), asked)
    gnu = np.stack(rows["p"])[:, GNU].astype(np.float64) >= 0.05
    recall = gnu[rows["label"] == GNU].mean()
    table = evaluate.read_classes(evaluation).set_index("class_name")
    assert table.loc["gnu", "recall"] == pytest.approx(recall)
    assert table.loc["gnu", "predicted_count"] == gnu.sum()
    (sentence,) = against_run.promise_sentences(evaluation)
    assert sentence.startswith("gnu: recall of at least 90 % was promised")
    assert f"here it is {recall * 100:.2f} %" in sentence


@pytest.mark.parametrize(
    ("hits", "word"),
    [((0.99, 0.96, 1.0), "kept"), ((0.8, 0.7, 0.89), "broken"), ((0.9, 0.7, 0.97), "neither")],
)
def test_a_promise_is_kept_broken_or_open(hits: tuple[float, float, float], word: str) -> None:
    row: dict[Any, Any] = {"promised": "recall", "least": 0.95, "class_name": "gnu"}
    row |= dict(zip(("sensitivity", "sensitivity_low", "sensitivity_high"), hits, strict=True))
    assert word in against_run._promise(row)


def version_of(workspace: Workspace, **facts: Any) -> ModelVersion:
    """A version with these facts."""
    facts = {"classes": ["cat", "dog", "eel"], "shape": [8, 8, 3], "fit": "crop"} | facts
    directory = workspace.models / "animals" / "v0001"
    manifest = publish.publish(directory, Ingredients("publish", {}, facts), lambda _: facts)
    return ModelVersion(workspace.relative(directory), manifest["digest"], "0" * 64, "animals", "v0001")


def test_the_question_is_that_of_the_training_unless_another_is_asked(workspace: Workspace) -> None:
    rule = {"thresholds": [[1, 0.2]]}
    version = version_of(
        workspace,
        parameters={"least_recall": ["dog=0.95"], "positive": "dog", "prevalence": 0.1},
        operating_point={"rule": rule, "kept": False, "sentences": ["dog ..."], "test": ["..."]},
    )
    own = question.of_version(version)
    assert own.request == DecisionRequest("dog", (("recall", "dog", 0.95),), (), 0.1)
    assert own.chosen == {"rule": rule, "kept": False, "sentences": ["dog ..."]}
    other = question.of_version(version, "eel", 0.5, most_probable=True)
    assert other == Question(DecisionRequest("eel", (), (), 0.5))
    with pytest.raises(UsageError, match="--positive names a class"):
        question.of_version(version, "cow")


def test_the_difference_from_its_own_run_has_an_interval(workspace: Workspace) -> None:
    """Newcombe's example, Statistics in Medicine 17, 1998, table II: 56 of 70 and 48 of 80, method 10."""
    there = {"value": 0.6, "low": 0.4904547, "high": 0.7003817, "method": "wilson"}
    version = version_of(workspace, metrics={"images": 80, "accuracy": there})
    here = {"value": 0.8, "low": 0.6918336, "high": 0.8769526}
    text = against_run.difference_sentence(here, version, 0)
    assert text.endswith("here higher, +20.00 points (+5.24 to +33.39)")
    assert "points" not in against_run.difference_sentence(here, version, 3)
    assert against_run.difference_sentence(here, version_of(workspace), 0) != ""
