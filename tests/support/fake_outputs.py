"""Small invented stage outputs for tests that only read the files of other stages."""

import json
import shutil
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

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
from tasks.core.stage.stages import EVALUATE
from tasks.core.workspace import Workspace

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
_EVALUATIONS = TemporaryDirectory(prefix="plumbline-evaluations-")  # of this process


def blurred(labels: NDArray[np.integer], classes: int, skill: float, seed: int) -> NDArray[np.float32]:
    """Random probabilities float32 (N, C); a larger `skill` gives more correct predictions."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class FakeOutputs:
    """Writes fake outputs of the stages to a workspace.

    Args:
        workspace: The workspace.
        classes: Names of the classes.
        images: Number of test images; train and val have a fifth of them each.
        shape: Height, width and channels of the images.
        dataset: Name of the dataset.
        fit: How images of other proportions became `shape`.
        group_size: Images in each group; 0 for images without groups.
        sites: Number of sites, S0, S1, ..., that take turns in the column site; 0 for no such column.
    """

    workspace: Workspace
    classes: tuple[str, ...] = CLASSES
    images: int = 400
    shape: tuple[int, int, int] = (8, 8, 3)
    dataset: str = "animals"
    fit: str = "crop"
    group_size: int = 0
    sites: int = 0

    def with_fields(self, **changed: object) -> "FakeOutputs":
        """A copy with changed fields."""
        return replace(self, **changed)

    def _count(self, split: str) -> int:
        return self.images if split == "test" else self.images // 5

    def labels(self, split: str) -> NDArray[np.int32]:
        """The random labels of a split, int32 (N,), the same in every call."""
        count = self._count(split)
        generator = np.random.default_rng([len(split), len(self.classes)])
        return generator.integers(0, len(self.classes), count).astype(np.int32)

    def tensors(self) -> TensorCache:
        """Random images and labels of the three splits."""
        ingredients = Ingredients(
            "normalize",
            {},
            {"classes": self.classes, "images": self.images, "shape": self.shape, "fit": self.fit}
            | ({"group_size": self.group_size} if self.group_size else {})
            | ({"sites": self.sites} if self.sites else {}),
        )
        directory = self.workspace.root / "tensors" / ingredients.digest
        facts = publish.publish(directory, ingredients, self._write_tensors)["facts"]
        return TensorCache(
            path=self.workspace.relative(directory),
            digest=ingredients.digest,
            dataset=self.dataset,
            classes=self.classes,
            shape=self.shape,
            quarantined=0,
            fit=self.fit,
            groups=tuple(-(-count // self.group_size) for count in facts.values()) if self.group_size else (),
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
        if self.group_size:
            table["group"] = [f"{row // self.group_size}" for row in table["row"]]
            text = pd.ArrowDtype(pa.string())  # as normalize writes them; pandas writes large strings
            table = table.astype({"group": text, "image_id": text})
        if self.sites:
            names = [f"S{row % self.sites}" for row in table["row"]]
            table["attribute_site"] = pd.array(names, dtype=pd.ArrowDtype(pa.string()))
        table.to_parquet(staging / "rows.parquet", index=False)
        return {split: len(self.labels(split)) for split in ("train", "val", "test")}

    def trained(self, name: str, **parameters: object) -> TrainedModel:
        """A model whose file `model.keras` has the text `name`."""

        def write(staging: Path) -> dict[str, object]:
            (staging / "model.keras").write_text(name)
            epochs = np.arange(1.0, 4.0)
            pd.DataFrame({"epoch": epochs, "train_loss": 2 / epochs, "val_accuracy": epochs / 4}).to_parquet(
                staging / "history.parquet", index=False
            )
            return {
                "model_sha256": sha256(name.encode()).hexdigest(),
                "shape": self.shape,
                "fit": self.fit,
                "recipe": "fast",
                "epochs": 3.0,
                "val_accuracy": 0.75,
            }

        ingredients = Ingredients("train", {"tensors": self.tensors().digest}, {"name": name, **parameters})
        directory = self.workspace.root / "training" / ingredients.digest
        facts = publish.publish(directory, ingredients, write)["facts"]
        fields = {name: value for name, value in facts.items() if name not in ("shape", "fit")}
        return TrainedModel(path=self.workspace.relative(directory), digest=ingredients.digest, **fields)

    def predictions(self, name: str, skill: float, seed: int = 0) -> Predictions:
        """Random predictions for val and test, see `blurred`."""

        def write(staging: Path) -> dict[str, object]:
            for split in ("val", "test"):
                probabilities = blurred(self.labels(split), len(self.classes), skill, seed + len(split))
                np.save(Predictions.path_in(staging, split), probabilities)
            return {"model_sha256": sha256(name.encode()).hexdigest(), "tensors": self.tensors().digest}

        ingredients = Ingredients(
            "predict", {"tensors": self.tensors().digest}, {"name": name, "skill": skill, "seed": seed}
        )
        directory = self.workspace.root / "predictions" / ingredients.digest
        facts = publish.publish(directory, ingredients, write)["facts"]
        return Predictions(path=self.workspace.relative(directory), digest=ingredients.digest, **facts)

    def evaluation(self, name: str, skill: float, seed: int = 0) -> Evaluation:
        """The real evaluation of the random predictions.

        It is copied if another test has computed it: its 10,000 resamples take 0.3 s.
        """
        predictions, tensors = self.predictions(name, skill, seed), self.tensors()
        digest = evaluate.ingredients(predictions, tensors).digest
        directory = EVALUATE.directory(digest, self.workspace)
        cached = Path(_EVALUATIONS.name) / digest
        if cached.exists() and not directory.exists():
            shutil.copytree(cached, directory)
        evaluation = evaluate.evaluate(predictions, tensors, self.workspace)
        if not cached.exists():
            shutil.copytree(directory, cached)
        return evaluation

    def _write_audit(self, staging: Path) -> None:
        """Two pairs: the first train image with the second test image, and the first two val images."""
        columns = [["train", "val"], [0, 0], ["test", "val"], [1, 1], ["near", "exact"], [0.5, 0.0]]
        pq.write_table(pa.table(columns, schema=duplicate_table.SCHEMA), staging / duplicate_table.NAME)
        leaks = {"train": [0], "val": [], "test": [1]}
        for split, rows in leaks.items():
            np.save(staging / duplicate_table.leaks_of(split), np.isin(np.arange(self._count(split)), rows))

    def exported(self, name: str) -> Exports:
        """A certified ONNX file and a refused int8 file, as the export stage writes them."""
        figures = {"images": self.images, "agreement": 1.0, "largest_difference": 2e-6, "bytes": 2_500_000}
        figures |= {"accuracy": 0.7, "expected_accuracy": 0.7, "p50_ms": 0.12, "p95_ms": 0.31}
        certificate = [
            figures
            | {"format": "litert-int8", "file": "model_int8.tflite", "passed": False}
            | {"accuracy": 0.6, "reasons": ["10.00 points of accuracy are lost"]},
            figures | {"format": "onnx", "file": "model.onnx", "passed": True, "reasons": []},
        ]

        def write(staging: Path) -> dict[str, object]:
            (staging / "model.onnx").write_text(name)
            (staging / "certificate.json").write_text(json.dumps(certificate))
            return {}

        ingredients = Ingredients("export", {"model": sha256(name.encode()).hexdigest()}, {})
        directory = self.workspace.root / "exports" / ingredients.digest
        publish.publish(directory, ingredients, write)
        model = sha256(name.encode()).hexdigest()
        path = self.workspace.relative(directory)
        return Exports(path, ingredients.digest, model, passed=("onnx",), refused=("litert-int8",))

    def profiled(self, name: str) -> Profile:
        """A profile with a single feature."""

        def write(staging: Path) -> dict[str, object]:
            pq.write_table(pa.table({"brightness": [1.0, 2.0]}), staging / "profile.parquet")
            return {}

        model = sha256(name.encode()).hexdigest()
        ingredients = Ingredients("profile", {"model": model}, {})
        directory = self.workspace.root / "profiles" / ingredients.digest
        publish.publish(directory, ingredients, write)
        return Profile(self.workspace.relative(directory), ingredients.digest, model, split="val", images=2)

    def audit(self) -> Audit:
        """An audit with two pairs of duplicates and one finding."""
        findings = ("1 test image is also in train",)
        ingredients = Ingredients("audit", {"tensors": self.tensors().digest}, {})
        directory = self.workspace.root / "audits" / ingredients.digest
        publish.publish(
            directory, ingredients, lambda staging: self._write_audit(staging) or {"findings": findings}
        )
        return Audit(path=self.workspace.relative(directory), digest=ingredients.digest, findings=findings)
