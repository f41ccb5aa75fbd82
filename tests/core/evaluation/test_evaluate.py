import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from tasks.core.errors import DataError, FormatError
from tasks.core.evaluation import evaluate, scores
from tasks.core.stage.handles import Evaluation


def test_evaluate_matches_scikit_learn(fake) -> None:
    evaluation = fake.evaluation("one", skill=2.0)
    labels = fake.labels("test")
    probabilities = np.load(fake.workspace.root / evaluation.predictions / "test.probabilities.npy")
    assert evaluation.accuracy == pytest.approx(accuracy_score(labels, probabilities.argmax(axis=1)))
    assert evaluation.log_loss == pytest.approx(log_loss(labels, probabilities), rel=1e-6)
    assert evaluation.images == 400
    assert np.array_equal(
        evaluate.read_confusion(evaluation), confusion_matrix(labels, probabilities.argmax(axis=1))
    )


def test_evaluate_metrics_are_strict_json_with_intervals(fake) -> None:
    evaluation = fake.evaluation("one", skill=2.0)
    text = (evaluation.directory / scores.METRICS).read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert set(record) == {"test", "val"}
    assert record["val"]["images"] == 80
    accuracy = record["test"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] == evaluation.accuracy < accuracy["high"]
    assert accuracy["method"] == "exact"
    assert record["test"]["macro_f1"]["method"] == "classes"


def test_read_classes_has_both_splits(fake) -> None:
    table = evaluate.read_classes(fake.evaluation("one", skill=2.0))
    assert table.groupby("split")["support"].sum().to_dict() == {"test": 400, "val": 80}
    assert table["class_name"].head(7).tolist() == list(fake.classes)


def test_evaluate_second_call_reuses_the_output(fake) -> None:
    first = fake.evaluation("one", skill=2.0)
    before = first.manifest["created"], (first.directory / scores.METRICS).stat().st_mtime_ns
    second = fake.evaluation("one", skill=2.0)
    assert second == first
    assert (second.manifest["created"], (second.directory / scores.METRICS).stat().st_mtime_ns) == before
    assert Evaluation(**first.as_dict()) == first


def test_ingredients_of_digest_matches_the_evaluation(fake) -> None:
    predictions = fake.predictions("one", skill=2.0)
    expected = evaluate.ingredients_of_digest(predictions.digest, fake.tensors()).digest
    assert expected == evaluate.evaluate(predictions, fake.tensors(), fake.workspace).digest


def test_evaluate_predictions_of_other_tensors_raise(fake) -> None:
    predictions = fake.predictions("one", skill=2.0)
    with pytest.raises(DataError, match="don't belong together"):
        evaluate.evaluate(predictions, fake.with_fields(images=500).tensors(), fake.workspace)
    assert list((fake.workspace.root / "evaluations").glob("[0-9a-f]*")) == []


def test_predictions_handle_damaged_file_raises(fake) -> None:
    predictions = fake.predictions("one", skill=2.0)
    (predictions.directory / "test.probabilities.npy").write_bytes(b"")
    with pytest.raises(FormatError, match="not usable"):
        type(predictions)(**predictions.as_dict())


def test_accuracy_text_has_the_interval() -> None:
    from tasks.core.metrics.classification import Estimate

    assert evaluate.accuracy_text(Estimate(0.7012, 0.6921, 0.7101, "exact")) == (
        "70.12 % (95 % interval 69.21 to 71.01)"
    )
