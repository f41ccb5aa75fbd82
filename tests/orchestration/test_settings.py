"""The flows' parameters: declared once, shown alike by the command line and by Prefect's form."""

from pathlib import Path

import pydantic
import pytest

from flows import sweep_flow, train_flow
from tasks.core.config import NormalizeSettings, PromotePolicy, RecipeName, TrainSettings
from tasks.core.errors import UsageError
from tasks.core.operations.command_line import TRI_STATE
from tasks.orchestration.settings import SweepSettings, TrainRunSettings
from tasks.parameters.flow_parameters import parameters_of
from tasks.parameters.model_settings import PredictSettings

FLOWS = {TrainRunSettings: train_flow, SweepSettings: sweep_flow}


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
        {"image_size": 513},
        {"val_fraction": 0.0},
        {"val_fraction": 0.6},
        {"max_quarantine": 1.5},
        {"time_limit": 0},
        {"workers": 0, "runner": "processes"},
    ],
    ids=str,
)
def test_of_value_out_of_range_is_usage_error(value: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(value))) as raised:
        TrainRunSettings.of(value)
    assert raised.value.exit_code == 2


def test_an_empty_text_is_refused() -> None:
    """A variable that is empty would mean the current folder, or no groups."""
    for name in ("dataset", "group_by", "workspace"):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is empty"):
            TrainRunSettings.of({name: ""})
    assert TrainRunSettings.of({"mlflow": ""}).parameters()["mlflow"] == ""
    form = pydantic.TypeAdapter(
        {each.name: each for each in parameters_of(TrainRunSettings)}["name"].annotation
    )
    assert form.json_schema()["minLength"] == 1


def test_of_unknown_parameter_is_usage_error() -> None:
    with pytest.raises(UsageError, match=r"epoch\n(.|\n)*did you mean epochs\?"):
        TrainRunSettings.of({"epoch": 3})


def test_an_address_is_refused_where_a_path_is_wanted() -> None:
    for name in ("out", "embeddings"):
        given = {"images": ["a.jpg"], name: Path("s3://bucket/rows")}
        with pytest.raises(UsageError, match=f"{name} is an address"):
            PredictSettings.of(given)
    assert PredictSettings.of({"images": ["s3://bucket/a"], "workspace": Path("s3://bucket/ws")})


def test_of_sorts_parameters_into_groups() -> None:
    given = {
        "dataset": "cifar10",
        "epochs": 0.5,
        "image_size": 64,
        "promote": PromotePolicy.always,
        "augment": None,
    }
    settings = TrainRunSettings.of(given)
    assert settings.source.dataset == "cifar10"
    assert settings.train == TrainSettings(recipe=RecipeName.auto, epochs=0.5)
    assert settings.normalize == NormalizeSettings(image_size=64)
    assert settings.publish.promote is PromotePolicy.always
    assert {name: settings.parameters()[name] for name in ("dataset", "epochs", "image_size")} == {
        "dataset": "cifar10",
        "epochs": 0.5,
        "image_size": 64,
    }
    assert TrainRunSettings.of(settings.parameters()) == settings


@pytest.mark.parametrize("kind", FLOWS, ids=lambda kind: kind.__name__)
def test_every_parameter_is_documented_in_help_and_form(kind: type[TrainRunSettings | SweepSettings]) -> None:
    flow = {TrainRunSettings: train_flow.train_flow, SweepSettings: sweep_flow.sweep_flow}[kind]
    form = flow.parameters.model_dump()["properties"]
    parameters = parameters_of(kind)
    assert [parameter.name for parameter in parameters] == list(form)
    for parameter in parameters:
        assert parameter.text
        assert parameter.group
        assert form[parameter.name]["description"] == parameter.text


def test_form_shows_limits() -> None:
    form = train_flow.train_flow.parameters.model_dump()["properties"]
    assert form["image_size"]["anyOf"][0] == {"type": "integer", "minimum": 8, "maximum": 512}
    assert form["epochs"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0, "maximum": 10_000}


def test_tri_state_flags_are_those_without_a_default() -> None:
    """`options` writes --no-x for these only: every other flag that is off is left out."""
    flags = {
        parameter.name
        for kind in FLOWS
        for parameter in parameters_of(kind)
        if parameter.annotation == (bool | None)
    }
    assert flags == set(TRI_STATE)


def test_of_options_of_the_decision_leave_the_training_as_it_is() -> None:
    plain = TrainRunSettings.of({})
    asked = TrainRunSettings.of({"least_recall": ["8=0.99"], "prevalence": 0.02})
    assert asked.decision.promises() == [("recall", "8", 0.99)]
    assert asked.train == plain.train
    assert asked.tensors == plain.tensors
    assert "least_recall" not in plain.parameters()
    with pytest.raises(UsageError, match="--least-recall cannot be read"):
        TrainRunSettings.of({"least_recall": ["8"]})


def test_cross_validate_takes_no_single_fold() -> None:
    with pytest.raises(UsageError, match="one fold leaves no images"):
        TrainRunSettings.of({"cross_validate": 1})
    with pytest.raises(UsageError, match=r"cross_validate must lie in 0\.\.20"):
        TrainRunSettings.of({"cross_validate": 21})
    assert TrainRunSettings.of({}).cross_validate is None
    assert TrainRunSettings.of({"cross_validate": 0}).cross_validate == 0
    assert SweepSettings.of({}).cross_validate == 0
