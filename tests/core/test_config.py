import pytest

from tasks.core.config import NormalizeSettings, PromotePolicy, RecipeName, RunSettings, TrainSettings
from tasks.core.errors import UsageError


@pytest.mark.parametrize(
    "value",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"patience": -1},
        {"seed": -1},
        {"seed": 2**31},
        {"image_size": 7},
        {"image_size": 225},
        {"val_fraction": 0.0},
        {"val_fraction": 0.6},
        {"max_quarantine": 1.5},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_bad_usage(value: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(value))) as raised:
        RunSettings.of(value)
    assert raised.value.exit_code == 2


def test_parameters_reach_their_stage() -> None:
    settings = RunSettings.of(
        {"dataset": "cifar10", "epochs": 0.5, "image_size": 64, "promote": "always", "augment": None}
    )
    assert settings.source.dataset == "cifar10"
    assert settings.train == TrainSettings(recipe=RecipeName.fast, epochs=0.5)
    assert settings.normalize == NormalizeSettings(image_size=64)
    assert settings.promote is PromotePolicy.always
