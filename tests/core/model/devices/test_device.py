"""The precision that training calculates in: what decides it, and that it decides nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tasks.core import recipes
from tasks.core.config import Precision, RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.devices import device
from tasks.core.model.export import inference_model
from tasks.core.model.training import train
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

Make = Callable[..., TensorCache]
TOGETHER = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes a machine of two processors with these flags, and without a GPU, of this one."""

    def of(flags: str) -> None:
        told = tmp_path / "cpuinfo"
        told.write_text("".join(f"processor\t: {n}\nflags\t\t: fpu {flags}\n\n" for n in range(2)))
        monkeypatch.setattr(device, "TOLD", told)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    return of


@pytest.mark.parametrize(
    ("flags", "cluster", "policy"),
    [
        ("fma avx2", "", "float32"),
        ("avx512f avx512_vnni", "", "float32"),
        ("avx512f avx512_bf16", "", "mixed_bfloat16"),
        ("avx512f amx_bf16", "", "mixed_bfloat16"),
        ("avx512f avx512_bf16", TOGETHER, "float32"),
    ],
)
def test_precision_follows_the_processor_but_not_in_a_cluster(
    processor: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    cluster: str,
    policy: str,
) -> None:
    processor(flags)
    monkeypatch.setenv("TF_CONFIG", cluster)
    assert device.policy() == policy
    device.TOLD.unlink()
    assert device.policy() == "float32"


@pytest.mark.parametrize(
    ("recipe", "precision"), [(RecipeName.textbook, "float32"), (RecipeName.flash, "mixed_bfloat16")], ids=str
)
def test_the_textbook_net_stays_in_float32(
    processor: Callable[[str], None],
    tensors: Make,
    workspace: Workspace,
    recipe: RecipeName,
    precision: str,
) -> None:
    processor("avx512_bf16")
    settings = TrainSettings(recipe=recipe, epochs=0.5)
    assert train.train(tensors(shape=(16, 16, 3)), settings, workspace).precision == precision


def test_a_model_says_what_trained_it(tensors: Make, workspace: Workspace) -> None:
    settings = TrainSettings(recipe=RecipeName.flash, epochs=0.5)
    model = train.train(tensors(shape=(16, 16, 3)), settings, workspace)
    assert model.device == device.name()
    said = str(replace(model, replicas=2, device="NVIDIA H200", val_accuracy=0.8))
    assert said == "flash, 0.5 epochs on 2 replicas on NVIDIA H200, val accuracy 80.00%"


def test_precision_can_be_asked_for(tensors: Make, workspace: Workspace) -> None:
    data = tensors(shape=(16, 16, 3))
    asked = (Precision.float32, Precision.bfloat16)
    full, mixed = (
        train.train(data, TrainSettings(recipe=RecipeName.flash, precision=precision), workspace)
        for precision in asked
    )
    assert (full.precision, mixed.precision) == ("float32", "mixed_bfloat16")
    assert full.model_sha256 != mixed.model_sha256
    assert mixed.val_accuracy == pytest.approx(full.val_accuracy, abs=0.05)


def test_bfloat16_trains_as_float32_does(tensors: Make) -> None:
    """bfloat16 has 8 bits of significand: losses differ by some per cent, and weights stay float32."""
    data = tensors(shape=(16, 16, 3))
    settings = TrainSettings(recipe=RecipeName.flash, epochs=3, batch_size=32)
    recipe = replace(recipes.resolve(settings, data.train), learning_rate=recipes.FLASH.learning_rate)
    splits = open_split(data, "train"), open_split(data, "val")
    ended = []
    for policy in (device.FULL, device.MIXED):
        one = Trainer(StepPlan.of(recipe, 0, data.train), *splits, 3, policy)
        while not one.done:
            one.run(one.plan.window(one.step, 100))
        ended.append(one.close_epoch())
    assert {variable.dtype for variable in one.model.variables} == {"float32"}
    assert one.model.layers[2].compute_dtype == "bfloat16"
    full, mixed = ended
    assert mixed["train_loss"] == pytest.approx(full["train_loss"], rel=0.1)
    assert mixed["val_accuracy"] == pytest.approx(full["val_accuracy"], abs=0.1)
    published = inference_model.build_inference_model(recipe, one.model)
    assert all(layer.dtype_policy.name == "float32" for layer in published.layers)
    right = np.asarray(published(splits[1].images)).argmax(axis=1) == splits[1].labels
    assert right.mean() == pytest.approx(mixed["val_accuracy"], abs=0.05)
