"""Predictions of a champion with other classes, from the model's order to that of the tensors."""

import numpy as np
import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import evaluate
from tasks.core.model.inference import class_order, predict_splits
from tasks.core.registry import registry
from tasks.core.registry.promotion import promotion
from tasks.core.stage import publish
from tasks.core.stage.handles import Predictions
from tasks.core.stage.ingredients import Ingredients


@pytest.fixture
def champion(fake):
    """A champion that knows ant, bee, cat, dog, eel, fox and gnu."""
    promotion.promote(
        fake.trained("one"),
        fake.evaluation("one", 1.0),
        None,
        PromotePolicy.better,
        fake.tensors(),
        {},
        fake.workspace,
        "ann",
    )
    return registry.champion("animals", fake.workspace)


def test_in_order_maps_classes_by_name_and_keeps_those_that_only_the_model_knows(fake, champion) -> None:
    tensors = fake.with_fields(classes=("hen", "gnu", "ant", "cat")).tensors()
    assert class_order.other_classes(champion, tensors) == ("bee", "dog", "eel", "fox")
    probabilities = np.arange(7, dtype=np.float32)[None] / 21  # ant 0, bee 1, cat 2, ... gnu 6
    ordered = class_order.in_order(probabilities, champion, tensors) * 21
    assert ordered[0].tolist() == pytest.approx([0, 6, 0, 2, 1, 3, 4, 5])


def test_same_classes_leave_predictions_and_digest_alone(fake, champion) -> None:
    probabilities = np.full((2, 7), 1 / 7, np.float32)
    assert class_order.in_order(probabilities, champion, fake.tensors()) is probabilities
    assert predict_splits.ingredients(champion, fake.tensors()).parameters == {}
    turned = fake.with_fields(classes=fake.classes[::-1]).tensors()
    assert predict_splits.ingredients(champion, turned).parameters != {}
    assert class_order.in_order(np.eye(7, dtype=np.float32), champion, turned).argmax(1).tolist() == [
        *(6, 5, 4, 3, 2, 1, 0)
    ]


def test_a_prediction_of_a_class_that_only_the_champion_knows_is_wrong(fake) -> None:
    narrow = fake.with_fields(classes=("ant", "bee"), images=100)
    tensors, others = narrow.tensors(), ("cat",)

    def write(staging):
        for split in ("val", "test"):
            np.save(
                staging / f"{split}.probabilities.npy", np.eye(3, dtype=np.float32)[narrow.labels(split) * 2]
            )
        return {"model_sha256": "champion", "tensors": tensors.digest, "other_classes": others}

    ingredients = Ingredients("predict", {"tensors": tensors.digest}, {"other_classes": others})
    directory = fake.workspace.root / "predictions" / ingredients.digest
    facts = publish.publish(directory, ingredients, write)["facts"]
    facts["other_classes"] = tuple(facts["other_classes"])
    predictions = Predictions(fake.workspace.relative(directory), ingredients.digest, **facts)
    evaluation = evaluate.evaluate(predictions, tensors, fake.workspace)
    assert evaluation.accuracy == pytest.approx(np.mean(narrow.labels("test") == 0))
    classes = evaluate.read_classes(evaluation).query("split == 'test'")
    assert classes["class_name"].tolist() == ["ant", "bee", "cat"]
    assert classes["recall"].tolist()[:2] == [1, 0]
