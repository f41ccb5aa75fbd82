"""The search space and the trials of a sweep."""

import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.errors import UsageError
from tasks.core.sweep import space
from tasks.parameters.runner_settings import RunnerName, RunnerSettings

BASE = TrainSettings(recipe=RecipeName.flash, seed=5)


def test_plan_grid_has_every_combination_with_every_seed() -> None:
    trials = space.plan(BASE, ["learning_rate=0.1,0.2", "augment=true,false"], seeds=2)
    assert [trial.number for trial in trials] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [trial.configuration for trial in trials] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [(t.settings.learning_rate, t.settings.augment, t.settings.seed) for t in trials] == [
        (0.1, True, 5), (0.1, True, 6), (0.1, False, 5), (0.1, False, 6),
        (0.2, True, 5), (0.2, True, 6), (0.2, False, 5), (0.2, False, 6),
    ]  # fmt: skip
    assert {trial.settings.recipe for trial in trials} == {RecipeName.flash}
    assert str(trials[3]) == "learning_rate=0.1, augment=false, seed=6"


def test_plan_without_vary_repeats_seeds() -> None:
    trials = space.plan(BASE, [], seeds=3)
    assert [(trial.configuration, trial.settings.seed) for trial in trials] == [(1, 5), (1, 6), (1, 7)]


def test_plan_draws_are_reproducible_and_in_range() -> None:
    vary = ["learning_rate=0.05..0.8", "batch_size=32..512", "recipe=flash,fast"]
    trials = space.plan(BASE, vary, draws=40)
    assert trials == space.plan(BASE, vary, draws=40)
    assert trials != space.plan(TrainSettings(seed=6), vary, draws=40)
    assert len({trial.label for trial in trials}) == 40
    rates = [trial.settings.learning_rate or 0 for trial in trials]
    assert 0.05 <= min(rates) < 0.1 < 0.4 < max(rates) <= 0.8  # uniform on a logarithmic scale
    assert all(32 <= (trial.settings.batch_size or 0) <= 512 for trial in trials)
    assert {trial.settings.recipe for trial in trials} == {RecipeName.flash, RecipeName.fast}


def test_plan_more_draws_than_combinations_gives_the_grid() -> None:
    trials = space.plan(BASE, ["patience=1,2,3"], draws=50)
    assert [trial.settings.patience for trial in trials] == [1, 2, 3]


@pytest.mark.parametrize(
    ("vary", "seeds", "draws", "message"),
    [
        ([], 1, None, "nothing to sweep"),
        (["colour=red"], 1, None, "does not vary a parameter"),
        (["seed=1,2"], 1, None, "does not vary a parameter"),
        (["learning_rate=fast"], 1, None, "learning_rate cannot be"),
        (["augment=perhaps"], 1, None, "augment cannot be"),
        (["learning_rate=0.1..0.4"], 1, None, "has a range"),
        (["augment=0.1..0.4"], 1, 3, "augment cannot be"),
        (["learning_rate=0.4..0.1"], 1, 3, "learning_rate cannot be"),
        (["batch_size=2..inf"], 1, 3, "batch_size cannot be"),
        (["recipe=flash,Fast"], 1, None, "expected  some of auto, probe, finetune, textbook, flash"),
        (["augment=yes"], 1, None, "expected  true, false or both"),
        (["patience=2.5"], 1, None, "expected  whole numbers"),
        (["epochs=1,2"], 1, 0, "found     --random 0"),
        (["epochs=1,2", "epochs=3"], 1, None, "varied twice"),
        (["learning_rate=-1,2"], 1, None, "learning_rate must be above 0"),
        (["epochs=1,2"], 0, None, "at least 1"),
        (["epochs=1,2"], 6000, None, "at most 10,000"),
        ([], 2, 3, "needs a parameter to vary"),
    ],
)
def test_plan_invalid_sweep_raises(vary: list[str], seeds: int, draws: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space.plan(BASE, vary, seeds, draws)


@pytest.mark.parametrize(
    "settings",
    [
        {"runner": RunnerName.processes, "address": "tcp://127.0.0.1:8786"},
        {"runner": RunnerName.sequence, "workers": 2},
        {"runner": RunnerName.dask, "workers": 0},
        {"runner": RunnerName.ray, "workers": 2, "address": "auto"},
    ],
)
def test_runner_settings_contradictory_options_raise(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        RunnerSettings(**settings)  # type: ignore[arg-type]
