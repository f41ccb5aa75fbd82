"""Are the probabilities of rare classes right? Models of unbalanced images, on many images of these shares.

python benchmarks/rare_classes.py FOLDER                    # FOLDER/<class>/*, such as CIFAR-10's train set
python benchmarks/rare_classes.py FOLDER --seeds 3 --recipe good
python benchmarks/rare_classes.py FOLDER --recipe probe --sets two    # a linear classifier of a backbone

From FOLDER some images of each class are drawn, unequal in number: they are the dataset of a run, of which a
tenth are val images. Up to `--fresh` others of each class are fresh: no stage sees them. They are weighted to
the shares of the dataset, so that a rare class has many fresh images too. The rarest class is compared with
all others: mean P is the mean of its probability, "true" its share; slope and intercept are those of a
logistic regression of the label on the logit of the probability (D. Cox, Biometrika 45, 1958): 1 and 0 if it
is calibrated. "gain" is the log loss of always answering with the shares minus the model's, nats: below 0 the
model is worse than a constant. A copy of an older checkout has the same interfaces: run it there to compare.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import EmbedSettings, NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.backbones import catalog
from tasks.core.model.features import embed
from tasks.core.model.inference import predict_splits
from tasks.core.model.training import train
from tasks.core.operations import environment
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

SETS = {  # images of each class to train on; classes are taken from FOLDER in the order of their names
    "two": {"cat": 900, "dog": 90},
    "three": {"airplane": 900, "automobile": 300, "bird": 60},
    "ten": dict(
        zip(
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            (600, 430, 310, 220, 160, 115, 85, 60, 45, 30),
            strict=True,
        )
    ),
}
LEAST = 1e-7  # of a probability before the logarithm
Floats = NDArray[np.float64]


def placed(folder: Path, counts: dict[str, int], fresh: int, seed: int, target: Path) -> None:
    """Put the drawn images into target/train/<class> and the fresh ones into target/test/<class>."""
    generator = np.random.default_rng(seed)
    for name, count in counts.items():
        paths = generator.permutation(sorted((folder / name).iterdir()))
        for split, chosen in (("train", paths[:count]), ("test", paths[count : count + fresh])):
            (target / split / name).mkdir(parents=True)
            for path in chosen:
                shutil.copyfile(path, target / split / name / path.name)


def predicted(folder: Path, recipe: str, seed: int, workspace: Path) -> tuple[TensorCache, Floats, float]:
    """The tensors, what the model predicts for the fresh images, and its temperature."""
    opened = Workspace.open(workspace)
    raw = acquire.acquire(SourceSettings(dataset=str(folder)), opened)
    tensors = normalize.normalize(raw, NormalizeSettings(), opened)
    settings = TrainSettings(recipe=RecipeName(recipe), seed=seed)
    features = None
    if recipe in ("probe", "finetune"):
        features = embed.embed(raw, tensors, EmbedSettings(catalog.DEFAULT), opened)
    trained = train.train(tensors, settings, opened, features=features, raw=raw)
    predictions = predict_splits.predict_splits(trained, tensors, opened, raw)
    probabilities = np.load(predictions.path_of("test"), allow_pickle=False)
    return tensors, np.asarray(probabilities, np.float64), trained.temperature


def measured(labels: NDArray[np.int32], probabilities: Floats, shares: Floats) -> dict[str, float]:
    """Figures of the fresh images, weighted to the shares of the dataset.

    Args:
        labels: int32 (N,), 0..C-1, of the fresh images.
        probabilities: float64 (N, C).
        shares: float64 (C,), the shares of the classes among the train images.
    """
    weights = (shares / np.bincount(labels, minlength=len(shares)))[labels]
    rare = int(shares.argmin())
    correct = probabilities.argmax(axis=1) == labels
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LEAST))
    slope, intercept = recalibrated(labels == rare, probabilities[:, rare], weights)
    return {
        "mean P": float(weights @ probabilities[:, rare]),
        "true": float(shares[rare]),
        "slope": slope,
        "intercept": intercept,
        "log loss": float(weights @ losses),
        "gain": float(-shares @ np.log(shares) - weights @ losses),
        "accuracy": float(weights @ correct) * 100,
        "majority": float(shares.max()) * 100,
        "balanced": float(np.mean([correct[labels == label].mean() for label in range(len(shares))])) * 100,
        "rare recall": float(correct[labels == rare].mean()) * 100,
    }


def recalibrated(outcomes: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of outcomes on the logits of their probabilities."""
    from sklearn.linear_model import LogisticRegression

    clipped = probabilities.clip(LEAST, 1 - LEAST)
    logits = np.log(clipped / (1 - clipped))[:, None]
    model = LogisticRegression(C=np.inf).fit(logits, outcomes, weights * len(weights))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def one_run(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Train on one set and measure."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "images"
        placed(options.folder, SETS[name], options.fresh, seed, data)
        tensors, probabilities, temperature = predicted(
            data, options.recipe, seed, Path(temporary) / "workspace"
        )
        counts = np.bincount(open_split(tensors, "train").labels, minlength=len(tensors.classes))
        labels = np.array(open_split(tensors, "test").labels)
    row = measured(labels, probabilities, counts / counts.sum())
    return {"set": name, "seed": seed, "fresh": len(labels), **row, "temperature": temperature}


def main() -> None:
    environment.prepare()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--fresh", type=int, default=1000, help="images of each class; default 1000")
    options = parser.parse_args()
    rows = []
    for name in options.sets:
        for seed in range(options.seeds):
            rows.append(one_run(options, name, seed))
            print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).groupby("set", sort=False).mean().drop(columns="seed")
    columns = ["set", *table.columns]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for name, row in table.iterrows():
        print(f"| {name} | " + " | ".join(f"{value:.4g}" for value in row) + " |")


if __name__ == "__main__":
    main()
