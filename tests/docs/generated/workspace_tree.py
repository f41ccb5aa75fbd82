"""The folders of a workspace and the files in each, for docs/outputs.md."""

import re

from tasks.core.stage.stages import PARTS, STAGES

# The folders of a workspace, and the files in each. A stage's folder starts with the stage's name.
TREE: dict[str, tuple[str, dict[str, str]]] = {
    "downloads/<sha256>/": (
        "known datasets, copies of files at addresses, tars without compression",
        {},
    ),
    "raw/<digest>/": (
        "the files of the source",
        {
            "files.parquet": "path, bytes, SHA-256, split and class of every file",
            "quarantine.parquet": "files that are no images, see below",
        },
    ),
    "tensors/<digest>/": (
        "images as arrays",
        {
            "{train,val,test}.images.npy": "uint8 (N, H, W, C), 0..255",
            "{train,val,test}.labels.npy": "int32 (N,)",
            "rows.parquet": "which image each row is, see below",
            "quarantine.parquet": "images with a problem, see below",
        },
    ),
    "audits/<digest>/": (
        "duplicates, leaks, outliers",
        {
            "audit.json": "the figures",
            "duplicates.parquet": "pairs of duplicates, see below",
            "{train,val,test}.leaks.npy": "bool (N,): whether the image leaks",
            "outliers.parquet": "images of unusual brightness, size or shape",
        },
    ),
    "training/<digest>/": (
        "the trained model",
        {
            "model.keras": "uint8 images in, calibrated probabilities out",
            "weights.npz": "the weights alone",
            "history.parquet": "loss and accuracy of every epoch",
        },
    ),
    "training/<digest>.checkpoints/": ("a training that has not ended", {}),
    "predictions/<digest>/": (
        "probabilities",
        {
            "{val,test}.probabilities.npy": "float32 (N, classes), rows as in the tensors",
            "train.probabilities.npy": "of cross_predict",
        },
    ),
    "evaluations/<digest>/": (
        "the scores",
        {
            "metrics.json": "every metric of val and test with its interval",
            "classes.parquet": "precision, recall and F1 of every class",
            "confusion.npy": "int64 (classes, classes): label, predicted label; test images",
            "calibration.json": "calibration error, Brier score, abstention thresholds",
            "curves.json": "ROC and precision-recall curves with their areas",
            "operating_points.parquet": "rates of the classes on test, see below",
            "slices.parquet": "accuracy on slices of test, see below; only if the data have other columns",
            "operating_point.json": "the decision that was asked for, and what val proves",
        },
    ),
    "embeddings/<digest>/": (
        "features of all images",
        {"{train,val,test}.features.npy": "float16 (images, views, features)"},
    ),
    "features/<digest>/": (
        "the store of features, one row per photo, for all runs; may be deleted",
        {"*.parquet": "image_id, features"},
    ),
    "feature_audits/<digest>/": (
        "duplicates, leaks and outliers by features",
        {
            "duplicates.parquet": "the pairs of the audit and those by features",
            "{train,val,test}.leaks.npy": "bool (N,): whether the image leaks, by pixels or by features",
            "outliers.parquet": "split, row, label, and similarity to the 20 nearest of the class, -1..1",
        },
    ),
    "selections/<digest>/": ("the comparison of recipes", {"candidates.parquet": "see below"}),
    "cross_validations/<digest>/": (
        "scores over all images",
        {
            "leaderboard.parquet": "one row per recipe, see below",
            "predictions.parquet": "one row per image and recipe: its fold, its probabilities",
        },
    ),
    "final_models/<digest>/": (
        "the model of all images, test images too",
        {"model.keras": "uint8 images in, calibrated probabilities out; it has no test score"},
    ),
    "label_issues/<digest>/": (
        "labels in doubt",
        {"label_issues.parquet": "see below", "label_issues.csv": "the form for --corrections"},
    ),
    "profiles/<digest>/": (
        "the val images in numbers, for drift",
        {"profile.parquet": "one row per val image", "embedding.npz": "how embeddings are projected"},
    ),
    "saliency/<digest>/": (
        "class activation maps of some test images",
        {
            "maps.npy": "float32 (maps, rows, columns): each cell's part of the logit",
            "maps.parquet": "of each map the picture, its row and path, the class, its logit and constant",
            "pictures.npy": "uint8 (pictures, H, W, C): the images as the model takes them, reduced",
        },
    ),
    "exports/<digest>/": (
        "other formats",
        {
            "labels.txt": "class names, one a line, in the order of the labels",
            "certificate.json": "what each file did on the test images",
        },
    ),
    "models/<dataset>/v0001/": (
        "a published version, never changed",
        {
            "model.keras": "the model",
            "labels.txt": "class names, one a line, in the order of the labels",
            "model_card.md": "data, recipe, metrics, limits",
            "profile/, exports/": "as above",
            "all_images/": "model.keras of all images, with --cross-validate or few photos",
        },
    ),
    "models/<dataset>/": (
        "the registry of a dataset",
        {
            "aliases.json": "champion, previous, and names of your own",
            "log.jsonl": "every change of an alias or version",
            "decisions.jsonl, decisions/": "every decision of the gate, with its evidence",
            "card_notes.md": "your text for the model cards",
        },
    ),
    "metrics/<table>/dataset=<name>/": ("the metrics tables, see below", {}),
    "reports/<digest>/": (
        "the report of a run, a sweep or an evaluation",
        {
            "report.html": "the report, readable without network",
            "review.html": "doubtful labels to correct by keyboard, without a server",
            "summary.md, classes.json": "what Prefect's dashboard shows",
            "sweep.html, sweep.png": "the report of a sweep",
            "trials.parquet": "the trials of the sweep",
        },
    ),
    "results/": ("Prefect's results, which may be deleted", {}),
}


def tree() -> str:
    """The folders of a workspace with their files, as text."""
    makers: dict[str, list[str]] = {}
    for stage in (*STAGES, *PARTS):
        makers.setdefault(stage.folder, []).append(stage.name)
    del makers[""]  # promote, which writes into `models`
    lines = ["workspace/"]
    for path, (meaning, files) in TREE.items():
        stages = makers.pop(path.partition("/")[0], []) if path.endswith("/<digest>/") else []
        lines.append(f"  {path:<34}{', '.join(stages)}{': ' * bool(stages)}{meaning}")
        lines += [f"    {name:<32}  {text}" for name, text in files.items()]
    assert not makers, f"TREE lacks the folders {', '.join(makers)}"
    return "\n".join(lines)


def files_in(folder: str) -> set[str]:
    """Names of the files in a folder of `TREE`, without braces."""
    names = {name for entry in TREE[folder][1] for name in re.split(r", (?![^{]*})", entry)}
    for name in [name for name in names if "{" in name]:
        before, choices, after = re.split("[{}]", name)
        names = names - {name} | {f"{before}{choice}{after}" for choice in choices.split(",")}
    return names
