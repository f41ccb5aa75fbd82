from dataclasses import fields

import pytest

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings


def test_every_name_has_a_recipe() -> None:
    assert set(recipes.RECIPES) == set(RecipeName)
    assert all(recipe.name is name for name, recipe in recipes.RECIPES.items())


def test_the_seed_recipe_is_what_a_tutorial_sets() -> None:
    recipe = recipes.resolve(TrainSettings(recipe=RecipeName.textbook), images=45_000)
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size, recipe.epochs) == (
        "adam",
        1e-3,
        32,
        10,
    )
    assert (recipe.augment, recipe.label_smoothing, recipe.tta_views, recipe.logit_adjustment) == (
        "none",
        0,
        1,
        False,
    )
    small = recipes.resolve(TrainSettings(recipe=RecipeName.textbook), images=100)
    assert (small.batch_size, small.epochs) == (32, 10)  # the textbook stays the textbook


def test_what_a_person_sets_takes_the_place_of_the_recipes_value() -> None:
    settings = TrainSettings(
        recipe=RecipeName.fast, epochs=0.5, batch_size=48, learning_rate=0.01, augment=False, patience=3
    )
    recipe = recipes.resolve(settings, images=45_000)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (0.5, 48, 0.01)
    assert (recipe.augment, recipe.patience) == ("none", 3)


@pytest.mark.parametrize(
    ("name", "augment"),
    [(RecipeName.textbook, "rotate"), (RecipeName.flash, "shift"), (RecipeName.fast, "shift")],
)
def test_augment_means_what_suits_the_architecture(name: RecipeName, augment: str) -> None:
    assert recipes.resolve(TrainSettings(recipe=name, augment=True), images=1000).augment == augment
    assert recipes.resolve(TrainSettings(recipe=name, augment=False), images=1000).augment == "none"


def test_a_small_dataset_gets_small_batches_and_enough_steps() -> None:
    recipe = recipes.resolve(TrainSettings(recipe=RecipeName.fast), images=1284)
    assert recipe.batch_size == 64  # the largest power of two that is at most a twentieth of the images
    steps = recipe.epochs * 1284 / recipe.batch_size
    assert (
        recipes.RECIPES[RecipeName.fast].min_steps <= steps < recipes.RECIPES[RecipeName.fast].min_steps + 21
    )


def test_a_batch_is_never_larger_than_the_dataset() -> None:
    assert recipes.resolve(TrainSettings(batch_size=4096), images=30).batch_size == 30
    assert recipes.resolve(TrainSettings(), images=3).batch_size == 3


def test_parameters_name_every_field_in_json_values() -> None:
    parameters = recipes.RECIPES[RecipeName.fast].parameters()
    assert set(parameters) == {field.name for field in fields(recipes.Recipe)}
    assert parameters["name"] == "fast"
    assert all(isinstance(group, list) for group in parameters["block_widths"])


@pytest.mark.parametrize(("batch_size", "factor"), [(None, 1), (32, 0.5), (512, 2)])
def test_the_learning_rate_follows_the_root_of_the_batch_size(batch_size: int | None, factor: float) -> None:
    own = recipes.RECIPES[RecipeName.fast]
    settings = TrainSettings(recipe=RecipeName.fast, batch_size=batch_size)
    assert own.batch_size == 128
    assert recipes.resolve(settings, images=45_000).learning_rate == pytest.approx(own.learning_rate * factor)
    textbook = TrainSettings(recipe=RecipeName.textbook, batch_size=batch_size)
    assert recipes.resolve(textbook, images=45_000).learning_rate == 1e-3
