"""The recipes, and how they are fitted to settings and datasets."""

from dataclasses import fields

import pytest

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings


def test_recipes_have_every_name() -> None:
    assert {*recipes.RECIPES, RecipeName.auto, RecipeName.probe} == set(RecipeName)
    assert all(recipe.name is name for name, recipe in recipes.RECIPES.items())


def test_resolve_textbook_keeps_tutorial_settings() -> None:
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
    assert (small.batch_size, small.epochs) == (32, 10)  # the textbook recipe is not fitted


def test_resolve_with_user_settings_overrides_recipe() -> None:
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
def test_resolve_with_augment_chooses_augmentation_of_the_architecture(
    name: RecipeName, augment: str
) -> None:
    assert recipes.resolve(TrainSettings(recipe=name, augment=True), images=1000).augment == augment
    assert recipes.resolve(TrainSettings(recipe=name, augment=False), images=1000).augment == "none"


def test_resolve_for_small_dataset_gives_small_batches_and_min_steps() -> None:
    recipe = recipes.resolve(TrainSettings(recipe=RecipeName.fast), images=1284)
    assert recipe.batch_size == 64  # the largest power of two that is at most a twentieth of the images
    steps = recipe.epochs * 1284 / recipe.batch_size
    assert (
        recipes.RECIPES[RecipeName.fast].min_steps <= steps < recipes.RECIPES[RecipeName.fast].min_steps + 21
    )


@pytest.mark.parametrize(("images", "epochs"), [(2_560, 30), (10_000, 8), (44_932, 2.5)])
def test_resolve_for_larger_datasets_counts_images_instead_of_steps(images: int, epochs: float) -> None:
    recipe = recipes.resolve(TrainSettings(recipe=RecipeName.fast), images)
    assert recipe.epochs == epochs  # 76,800 images, or two and a half epochs


def test_resolve_for_tiny_dataset_limits_batch_size() -> None:
    assert recipes.resolve(TrainSettings(batch_size=4096), images=30).batch_size == 30
    assert recipes.resolve(TrainSettings(), images=3).batch_size == 3


def test_parameters_have_every_field_as_json_values() -> None:
    parameters = recipes.RECIPES[RecipeName.fast].parameters()
    assert set(parameters) == {field.name for field in fields(recipes.Recipe)}
    assert parameters["name"] == "fast"
    assert all(isinstance(group, list) for group in parameters["block_widths"])


@pytest.mark.parametrize(("batch_size", "factor"), [(None, 1), (64, 0.5), (1024, 2)])
def test_resolve_with_batch_size_scales_learning_rate_by_square_root(
    batch_size: int | None, factor: float
) -> None:
    recipe = recipes.RECIPES[RecipeName.fast]
    settings = TrainSettings(recipe=RecipeName.fast, batch_size=batch_size)
    assert recipe.batch_size == 256
    resolved = recipes.resolve(settings, images=45_000)
    assert resolved.learning_rate == pytest.approx(recipe.learning_rate * factor)
    textbook = TrainSettings(recipe=RecipeName.textbook, batch_size=batch_size)
    assert recipes.resolve(textbook, images=45_000).learning_rate == 1e-3
