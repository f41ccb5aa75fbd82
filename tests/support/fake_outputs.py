"""Finished stages as the other rooms leave them, small and made up: only their files are read."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.audit import duplicate_table
from tasks.core.evaluation import evaluate
from tasks.core.stage import publish
from tasks.core.stage.handles import (
    Audit,
    Evaluation,
    Exports,
    Predictions,
    Profile,
    TensorCache,
    TrainedModel,
)
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")


def blurred(labels: NDArray[np.integer], classes: int, skill: float, seed: int) -> NDArray[np.float32]:
    """Probabilities float32 (N, C) that are right the more often the larger `skill` is."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class FakeOutputs:
    """Makes tensors, models and predictions in a workspace.

    Args:
        classes: Names of the classes.
        images: Test images; val has a fifth of them.
    """

    workspace: Workspace
    classes: tuple[str, ...] = CLASSES
    images: int = 400
    shape: tuple[int, int, int] = (8, 8, 3)
    dataset: str = "animals"

    def made(self, **changed: object) -> "FakeOutputs":
        return replace(self, **changed)

    def _count(self, split: str) -> int:
        return self.images if split == "test" else self.images // 5

    def labels(self, split: str) -> NDArray[np.int32]:
        count = self._count(split)
        generator = np.random.default_rng([len(split), len(self.classes)])
        return generator.integers(0, len(self.classes), count).astype(np.int32)

    def tensors(self) -> TensorCache:
        made_of = Ingredients(
            "normalize", {}, {"classes": self.classes, "images": self.images, "shape": self.shape}
        )
        directory = self.workspace.root / "tensors" / made_of.digest
        facts = publish.publish(directory, made_of, self._write_tensors)["facts"]
        return TensorCache(
            path=self.workspace.relative(directory),
            digest=made_of.digest,
            dataset=self.dataset,
            classes=self.classes,
            shape=self.shape,
            quarantined=0,
            **facts,
        )

    def _write_tensors(self, staging: Path) -> dict[str, int]:
        rows = []
        for split in ("train", "val", "test"):
            labels = self.labels(split)
            images = np.random.default_rng(len(split)).integers(0, 256, (len(labels), *self.shape), np.uint8)
            np.save(staging / f"{split}.labels.npy", labels)
            np.save(staging / f"{split}.images.npy", images)
            rows += [{"split": split, "row": row, "path": f"{split}/{row}.png"} for row in range(len(labels))]
        table = pd.DataFrame(rows)
        table["height"], table["width"] = self.shape[:2]
        table["image_id"] = [sha256(path.encode()).hexdigest()[:16] for path in table["path"]]
        table.to_parquet(staging / "rows.parquet", index=False)
        return {split: len(self.labels(split)) for split in ("train", "val", "test")}

    def trained(self, name: str) -> TrainedModel:
        """A model directory; what is in `model.keras` is `name`."""

        def write(staging: Path) -> dict[str, object]:
            (staging / "model.keras").write_text(name)
            epochs = np.arange(1.0, 4.0)
            pd.DataFrame({"epoch": epochs, "train_loss": 2 / epochs, "val_accuracy": epochs / 4}).to_parquet(
                staging / "history.parquet", index=False
            )
            return {
                "model_sha256": sha256(name.encode()).hexdigest(),
                "recipe": "fast",
                "epochs": 3.0,
                "val_accuracy": 0.75,
            }

        made_of = Ingredients("train", {"tensors": self.tensors().digest}, {"name": name})
        directory = self.workspace.root / "training" / made_of.digest
        facts = publish.publish(directory, made_of, write)["facts"]
        return TrainedModel(path=self.workspace.relative(directory), digest=made_of.digest, **facts)

    def predictions(self, name: str, skill: float, seed: int = 0) -> Predictions:
        def write(staging: Path) -> dict[str, object]:
            for split in ("val", "test"):
                probabilities = blurred(self.labels(split), len(self.classes), skill, seed + len(split))
                np.save(staging / f"{split}.probabilities.npy", probabilities)
            return {"model_sha256": sha256(name.encode()).hexdigest(), "tensors": self.tensors().digest}

        made_of = Ingredients(
            "predict", {"tensors": self.tensors().digest}, {"name": name, "skill": skill, "seed": seed}
        )
        directory = self.workspace.root / "predictions" / made_of.digest
        facts = publish.publish(directory, made_of, write)["facts"]
        return Predictions(path=self.workspace.relative(directory), digest=made_of.digest, **facts)

    def evaluation(self, name: str, skill: float, seed: int = 0) -> Evaluation:
        return evaluate.evaluate(self.predictions(name, skill, seed), self.tensors(), self.workspace)

    def _write_audit(self, staging: Path) -> None:
        """The first train image and the second test image are a pair, and so are the first two val images."""
        columns = [["train", "val"], [0, 0], ["test", "val"], [1, 1], ["near", "exact"], [0.5, 0.0]]
        pq.write_table(pa.table(columns, schema=duplicate_table.SCHEMA), staging / duplicate_table.NAME)
        leaks = {"train": [0], "val": [], "test": [1]}
        for split, rows in leaks.items():
            np.save(staging / duplicate_table.leaks_of(split), np.isin(np.arange(self._count(split)), rows))

    def exported(self, name: str) -> Exports:
        """A certified ONNX file and a refused int8 one, as the export stage leaves them."""
        common = {"images": self.images, "agreement": 1.0, "largest_difference": 2e-6, "bytes": 2_500_000}
        common |= {"accuracy": 0.7, "expected_accuracy": 0.7, "p50_ms": 0.12, "p95_ms": 0.31}
        lines = [
            common
            | {"format": "litert-int8", "file": "model_int8.tflite", "passed": False}
            | {"accuracy": 0.6, "reasons": ["10.00 points of accuracy are lost"]},
            common | {"format": "onnx", "file": "model.onnx", "passed": True, "reasons": []},
        ]

        def write(staging: Path) -> dict[str, object]:
            (staging / "model.onnx").write_text(name)
            (staging / "certificate.json").write_text(json.dumps(lines))
            return {}

        made_of = Ingredients("export", {"model": sha256(name.encode()).hexdigest()}, {})
        directory = self.workspace.root / "exports" / made_of.digest
        publish.publish(directory, made_of, write)
        model = sha256(name.encode()).hexdigest()
        path = self.workspace.relative(directory)
        return Exports(path, made_of.digest, model, passed=("onnx",), refused=("litert-int8",))

    def profiled(self, name: str) -> Profile:
        """A profile of a single number."""

        def write(staging: Path) -> dict[str, object]:
            pq.write_table(pa.table({"brightness": [1.0, 2.0]}), staging / "profile.parquet")
            return {}

        model = sha256(name.encode()).hexdigest()
        made_of = Ingredients("profile", {"model": model}, {})
        directory = self.workspace.root / "profiles" / made_of.digest
        publish.publish(directory, made_of, write)
        return Profile(self.workspace.relative(directory), made_of.digest, model, split="val", images=2)

    def audit(self) -> Audit:
        findings = ("1 test image is also in train",)
        made_of = Ingredients("audit", {"tensors": self.tensors().digest}, {})
        directory = self.workspace.root / "audits" / made_of.digest
        publish.publish(
            directory, made_of, lambda staging: self._write_audit(staging) or {"findings": findings}
        )
        return Audit(path=self.workspace.relative(directory), digest=made_of.digest, findings=findings)
