"""The precision that training calculates in: how it is chosen, and that it changes only rounding."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tasks.core import recipes
from tasks.core.config import Precision, RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.devices import device, processor
from tasks.core.model.export import inference_model
from tasks.core.model.training import train
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.stage.handles import TensorCache, TrainedModel
from tasks.core.workspace import Workspace

pytestmark = pytest.mark.slow

Make = Callable[..., TensorCache]
CLUSTER = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.fixture
def simulate_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """A function that simulates a machine without a GPU and with two processors that have these flags."""

    def simulate(flags: str) -> None:
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text("".join(f"processor\t: {n}\nflags\t\t: fpu {flags}\n\n" for n in range(2)))
        monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda device_type: [])

    return simulate


@pytest.mark.parametrize(
    ("flags", "cluster", "policy"),
    [
        ("fma avx2", "", "float32"),
        ("avx512f avx512_vnni", "", "float32"),
        ("avx512f avx512_bf16", "", "mixed_bfloat16"),
        ("avx512f amx_bf16", "", "mixed_bfloat16"),
        ("avx512f avx512_bf16", CLUSTER, "float32"),
    ],
)
def test_policy_follows_cpu_flags_except_in_a_cluster(
    simulate_cpu: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    cluster: str,
    policy: str,
) -> None:
    simulate_cpu(flags)
    monkeypatch.setenv("TF_CONFIG", cluster)
    assert device.policy() == policy
    processor.CPUINFO.unlink()
    assert device.policy() == "float32"


@pytest.mark.parametrize(
    ("recipe", "precision"), [(RecipeName.textbook, "float32"), (RecipeName.flash, "mixed_bfloat16")], ids=str
)
def test_train_textbook_on_bfloat16_cpu_stays_in_float32(
    simulate_cpu: Callable[[str], None],
    tensors: Make,
    workspace: Workspace,
    recipe: RecipeName,
    precision: str,
) -> None:
    simulate_cpu("avx512_bf16")
    settings = TrainSettings(recipe=recipe, epochs=0.5)
    assert train.train(tensors(shape=(16, 16, 3)), settings, workspace).precision == precision


def test_trained_model_names_its_device(tensors: Make, workspace: Workspace) -> None:
    settings = TrainSettings(recipe=RecipeName.flash, epochs=0.5)
    model = train.train(tensors(shape=(16, 16, 3)), settings, workspace)
    assert model.device == device.name()
    facts = {"replicas": 2, "device": "NVIDIA H200", "val_accuracy": 0.8}
    text = str(TrainedModel.unchecked(**model.as_dict() | facts))
    assert text == "flash, 0.5 epochs on 2 replicas on NVIDIA H200, val accuracy 80.00 %"


def test_train_with_given_precision_uses_it(tensors: Make, workspace: Workspace) -> None:
    data = tensors(shape=(16, 16, 3))
    full, mixed = (
        train.train(data, TrainSettings(recipe=RecipeName.flash, precision=precision), workspace)
        for precision in (Precision.float32, Precision.bfloat16)
    )
    assert (full.precision, mixed.precision) == ("float32", "mixed_bfloat16")
    assert full.model_sha256 != mixed.model_sha256
    assert mixed.val_accuracy == pytest.approx(full.val_accuracy, abs=0.05)


def test_training_in_bfloat16_matches_float32(tensors: Make) -> None:
    """bfloat16 has 8 bits of significand: losses differ by a few per cent, and weights stay float32."""
    data = tensors(shape=(16, 16, 3))
    settings = TrainSettings(recipe=RecipeName.flash, epochs=3, batch_size=32)
    recipe = replace(recipes.resolve(settings, data.train), learning_rate=recipes.FLASH.learning_rate)
    splits = open_split(data, "train"), open_split(data, "val")
    last_epochs = []
    for policy in (device.FULL, device.MIXED):
        trainer = Trainer(StepPlan.of(recipe, 0, data.train), *splits, 3, policy)
        while not trainer.done:
            trainer.run(trainer.plan.window(trainer.step, 100))
        last_epochs.append(trainer.close_epoch())
    assert {variable.dtype for variable in trainer.model.variables} == {"float32"}
    assert trainer.model.layers[2].compute_dtype == "bfloat16"
    full, mixed = last_epochs
    assert mixed["train_loss"] == pytest.approx(full["train_loss"], rel=0.1)
    assert mixed["val_accuracy"] == pytest.approx(full["val_accuracy"], abs=0.1)
    published = inference_model.build_inference_model(recipe, trainer.model)
    assert all(layer.dtype_policy.name == "float32" for layer in published.layers)
    correct = np.asarray(published(splits[1].images)).argmax(axis=1) == splits[1].labels
    assert correct.mean() == pytest.approx(mixed["val_accuracy"], abs=0.05)
