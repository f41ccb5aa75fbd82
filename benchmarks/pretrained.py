"""Pretrained features against training from scratch, on a folder of photos.

python benchmarks/pretrained.py FOLDER                            # five splits, every recipe
python benchmarks/pretrained.py FOLDER --seeds 1 --recipes probe  # one of them
python benchmarks/pretrained.py FOLDER --grow 12                  # a second run after 12 more photos
python benchmarks/pretrained.py FOLDER --curve 5 10 20 50 100     # accuracy against photos a class, as a plot
python benchmarks/pretrained.py --digits                          # where frozen features lose

Each run is the whole flow in a process and a workspace of its own: from the folder to the champion with its
report. A fifth of each class is the test set, drawn by the seed. The yardstick is what one would write by
hand: features of the same backbone by `keras.Model.predict`, and scikit-learn's cross-validated logistic
regression. CPU-seconds and peak memory are those of the process and its children.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.metrics import intervals
from tasks.core.operations import environment

ROOT = Path(__file__).resolve().parents[1]
RUNS = {
    "auto": ["--recipe", "auto"],
    "probe": ["--recipe", "probe"],
    "finetune": ["--recipe", "finetune"],
    "fast, 32 px": ["--recipe", "fast", "--image-size", "32"],
    "fast, 96 px": ["--recipe", "fast", "--image-size", "96"],
}
TEST = 0.2


def files_of(folder: Path) -> dict[str, list[Path]]:
    """The photos of each class, in a fixed order."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    return {path.name: sorted(file for file in path.iterdir() if file.is_file()) for path in classes}


def split_folder(files: dict[str, list[Path]], seed: int, target: Path, per_class: int | None = None) -> Path:
    """A folder of links, {train,test}/<class>/*: a fifth of each class for test, some others for train."""
    generator = np.random.default_rng(seed)
    for name, paths in files.items():
        order = generator.permutation(len(paths))
        count = round(TEST * len(paths))
        train = order[count:] if per_class is None else order[count : count + per_class]
        for split, numbers in (("test", order[:count]), ("train", train)):
            (target / split / name).mkdir(parents=True)
            for number in numbers:
                (target / split / name / paths[number].name).symlink_to(paths[number].resolve())
    return target


def run(folder: Path, options: list[str], workspace: Path) -> dict[str, Any]:
    """Run the training flow; returns its row of the runs table and what it cost."""
    command = [sys.executable, str(ROOT / "flows" / "train_flow.py"), "--dataset", str(folder)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, "--workspace", str(workspace), *options], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    table = pd.read_parquet(workspace / "metrics" / "runs").sort_values("started").iloc[-1].to_dict()
    used = sum(file.stat().st_size for file in workspace.rglob("*") if file.is_file())
    return table | {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": table["peak_memory_mb"],
        "disk_mb": used / 1e6,
    }


def yardstick(folder: Path) -> tuple[float, int, float]:
    """Accuracy of features and scikit-learn, the number of test images, and CPU-seconds."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tasks.core.data.decode import Target, decode
    from tasks.core.model.backbones import catalog, network

    began = time.process_time()
    model = network.build(catalog.find(catalog.DEFAULT), 224)
    values = {}
    for split in ("train", "test"):
        paths = sorted((folder / split).glob("*/*"))
        images = np.stack([decode(path.read_bytes(), Target((224, 224), 3))[0] for path in paths])
        values[split] = model.predict(images, verbose=0), [path.parent.name for path in paths]
    regression = LogisticRegressionCV(Cs=[1e-3, 1e-2, 1e-1, 1], cv=5, max_iter=1000)
    fitted = make_pipeline(StandardScaler(), regression).fit(*values["train"])
    accuracy = float(fitted.score(*values["test"]))
    return accuracy, len(values["test"][1]), time.process_time() - began


def in_own_process(folder: Path) -> tuple[float, int, float]:
    """`yardstick` in a process of its own: a child's peak memory begins with that of its parent."""
    command = [sys.executable, "-W", "ignore", __file__, str(folder), "--by-hand"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    accuracy, images, cpu = json.loads(done.stdout.splitlines()[-1])
    return accuracy, images, cpu


def with_interval(correct: int, images: int) -> str:
    low, high = intervals.wilson(np.array(correct), np.array(images))
    return f"{correct / images:.1%} ({low * 100:.1f} to {high * 100:.1f})"


def compare(files: dict[str, list[Path]], seeds: int, recipes: list[str]) -> None:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ["by hand", *recipes]}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = split_folder(files, seed, Path(scratch) / "photos")
            accuracy, images, cpu = in_own_process(folder)
            rows["by hand"].append({"test_accuracy": accuracy, "test_images": images, "cpu": cpu})
            for name in recipes:
                rows[name].append(run(folder, RUNS[name], Path(scratch) / f"workspace {name}"))
                show(f"{seed} {name}", rows[name][-1:])
            print(
                f"seed {seed}: " + ", ".join(f"{k} {v[-1]['test_accuracy']:.1%}" for k, v in rows.items()),
                flush=True,
            )
    for name, results in rows.items():
        show(name, results)


def show(name: str, results: list[dict[str, Any]]) -> None:
    """One line: accuracy over all seeds with an interval, deviation, and the means of the costs."""
    images = sum(result["test_images"] for result in results)
    correct = sum(round(result["test_accuracy"] * result["test_images"]) for result in results)
    accuracies = [100 * result["test_accuracy"] for result in results]
    costs = {
        key: np.mean([result.get(key, np.nan) for result in results])
        for key in ("cpu", "wall", "peak_mb", "disk_mb")
    }
    chosen = " ".join(str(result["recipe"]) for result in results if "recipe" in result)
    print(
        f"{name:<14} {with_interval(correct, images)} +- {np.std(accuracies):.1f}  CPU {costs['cpu']:.0f} s  "
        f"wall {costs['wall']:.0f} s  peak {costs['peak_mb']:.0f} MB  disk {costs['disk_mb']:.0f} MB  "
        f"{chosen}",
        flush=True,
    )


def grow(files: dict[str, list[Path]], count: int) -> None:
    """The second run of `probe`, after some photos were added to train."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = split_folder(files, 0, Path(scratch) / "photos")
        held_back = sorted((folder / "train").glob("*/*"))[
            :: max(1, len(list((folder / "train").glob("*/*"))) // count)
        ][:count]
        targets = {path: path.resolve() for path in held_back}
        for path in held_back:
            path.unlink()
        workspace = Path(scratch) / "workspace"
        show("first run", [run(folder, RUNS["probe"], workspace)])
        for path, target in targets.items():
            path.symlink_to(target)
        show(f"{len(targets)} more", [run(folder, RUNS["probe"], workspace)])


def curve(files: dict[str, list[Path]], counts: list[int], seeds: int, picture: Path) -> None:
    """Accuracy against photos a class, of `auto` and of `fast`."""
    rows = []
    for count in counts:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as scratch:
                folder = split_folder(files, seed, Path(scratch) / "photos", count)
                for name, options in (("auto", RUNS["auto"]), ("fast", ["--recipe", "fast"])):
                    result = run(folder, options, Path(scratch) / f"workspace {name}")
                    rows.append({**result, "recipe": name, "photos": count, "seed": seed})
                    print(
                        f"{name} {count} photos a class, seed {seed}: {result['test_accuracy']:.1%}",
                        flush=True,
                    )
    draw(pd.DataFrame(rows), picture)


def draw(table: pd.DataFrame, picture: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, group in table.groupby("recipe"):
        accuracy = 100 * group.groupby("photos")["test_accuracy"].mean()
        axes.plot(accuracy.index, accuracy, marker="o", label=str(name))
    axes.set(xscale="log", xlabel="photos a class in train and val", ylabel="test accuracy, %")
    axes.set_xticks(sorted(table["photos"].unique()), [str(n) for n in sorted(table["photos"].unique())])
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
    print(picture)


def enlarged_digits(target: Path) -> Path:
    """scikit-learn's digits as PNG files of 224 x 224 pixels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = target / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((image * 255 / 16).astype(np.uint8)).resize(
            (224, 224), Image.Resampling.BILINEAR
        )
        picture.save(folder / f"{number}.png")
    return target


def scratch_digits() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield enlarged_digits(Path(scratch) / "digits")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--grow", type=int)
    parser.add_argument("--curve", type=int, nargs="+")
    parser.add_argument("--picture", type=Path, default=Path("few-photos.png"))
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--by-hand", action="store_true", help="the yardstick alone, of FOLDER/{train,test}")
    arguments = parser.parse_args()
    environment.prepare()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if arguments.by_hand:
        print(json.dumps(yardstick(arguments.folder)))
        return
    for folder in scratch_digits() if arguments.digits else [arguments.folder]:
        files = files_of(folder)
        if arguments.grow:
            grow(files, arguments.grow)
        elif arguments.curve:
            curve(files, arguments.curve, arguments.seeds, arguments.picture)
        else:
            compare(files, arguments.seeds, arguments.recipes)


if __name__ == "__main__":
    main()
