"""The model card of a version: some sections are generated, the others are for users to write.

The sections follow M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Users write their
sections in one file per dataset, `card_notes.md`. The card of every version that is published later includes
them. A card is part of its version and never changes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core import shares
from tasks.core.config import Fit
from tasks.core.markup import markdown
from tasks.core.metrics.declared import declarations

NOTES = "card_notes.md"
MARK = "*to be written by hand*"
_FITS = {
    Fit.crop: "of an image of other proportions, the longer side is cut equally at both ends",
    Fit.pad: "an image of other proportions is scaled in whole, with black equally at both ends",
    Fit.stretch: "an image of other proportions is scaled in whole; its proportions are not kept",
}
HUMAN_SECTIONS = {
    "Intended use": "Who should use this model, for what; what it must not be used for.",
    "Factors": "Groups, cameras, places, seasons over which its quality may differ.",
    "Training data": "Where the images come from, who labelled them, under which licence.",
    "Ethical considerations": "Who is harmed by a wrong prediction, and what is done about it.",
    "Caveats and recommendations": "What was not tested; when to retrain.",
}


def notes_template() -> str:
    """The initial `card_notes.md`: the sections for users to write, each with its question."""
    sections = [f"## {name}\n<!-- {question} -->\n" for name, question in HUMAN_SECTIONS.items()]
    return "# Notes for the model cards of this dataset\n\n" + "\n".join(sections)


def read_notes(path: Path) -> dict[str, str]:
    """The notes by section, without comments and empty sections."""
    if not path.exists():
        return {}
    text = re.sub(r"<!--.*?-->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    parts = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)[1:]
    sections = zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True)
    return {name: content for name, content in sections if content}


def render(facts: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """The card as markdown.

    Args:
        facts: Facts of the version's manifest: dataset, version, classes, shape, fit, parameters, seed,
            metrics, packages, git_commit, model_sha256, evaluation, tensors, training, images.
        notes: See `read_notes`.
    """
    sections = [
        f"# {markdown(facts['dataset'])} {facts['version']}",
        "## Model details\n" + _details(facts),
        _human_section("Intended use", notes),
        _human_section("Factors", notes),
        "## Metrics\n" + _metrics(facts["metrics"]),
        *_decision(facts.get("operating_point")),
        "## When to abstain\n" + _abstention(facts.get("abstention", [])),
        f"## Evaluation data\n{shares.counted(facts['images'], 'test image')} of `{facts['dataset']}`, kept "
        f"out of training and of every choice made in training (tensors `{facts['tensors']}`).",
        _human_section("Training data", notes),
        _human_section("Ethical considerations", notes),
        _human_section("Caveats and recommendations", notes),
        *(f"## {name}\n{content}" for name, content in notes.items() if name not in HUMAN_SECTIONS),
    ]
    return "\n\n".join(sections) + "\n"


def _details(facts: Mapping[str, Any]) -> str:
    height, width, channels = facts["shape"]
    lines = {
        "Takes": f"uint8 images (N, {height}, {width}, {channels}), 0..255; scaling is part of the model",
        "Fit": f"{_FITS[Fit.of(facts)]} (`--fit {Fit.of(facts)}`)",
        "Gives": f"probabilities (N, {len(facts['classes'])}) of "
        + ", ".join(map(markdown, facts["classes"])),
        "Calibration": _calibration(facts) if "temperature" in facts else "",
        "Probabilities": _shares(facts),
        "Drift": _compared(facts["profile"]) if facts.get("profile") else "",
        "All images": _all_images(facts) if facts.get("all_images") else "",
        "Backbone": _backbone(facts["backbone"]) if facts.get("backbone") else "",
        "File": f"`model.keras`, SHA-256 `{facts['model_sha256']}`",
        "Opens with": _tried(facts.get("packages", {})),
        "Recipe": facts.get("recipe", ""),
        "Parameters": _pairs(facts.get("parameters", {})),
        "Seed": facts.get("seed", ""),
        "Made from": f"training `{facts['training']}`, evaluation `{facts['evaluation']}`",
        "Code": f"commit `{facts['git_commit']}`" if facts.get("git_commit") else "",
        "Libraries": _pairs(facts.get("packages", {})),
    }
    return "\n".join(f"- {name}: {text}" for name, text in lines.items() if text != "")


def _tried(packages: Mapping[str, str]) -> str:
    version = packages.get("keras", "")
    return f"Keras {version}, with which it was verified; other versions were not tried" if version else ""


def _calibration(facts: Mapping[str, Any]) -> str:
    divided = f"logits are divided by {facts['temperature']:.3f} inside the model"
    reason = facts.get("calibration", "")
    return reason if facts["temperature"] == 1 and reason else ": ".join(filter(None, [divided, reason]))


def _shares(facts: Mapping[str, Any]) -> str:
    """What the probabilities are for, and the answers without a model beside it."""
    from tasks.core.metrics.comparison import baseline  # it brings pandas; `plumbline models` needs none

    told = baseline.sentence(facts["metrics"])
    return f"for classes as frequent as among the train images. The model is {markdown(told)}" if told else ""


def _backbone(backbone: Mapping[str, str]) -> str:
    return (
        f"{backbone['source']}. {backbone['changes']} Licence of the weights: {backbone['licence']}; see "
        "`NOTICE.txt`"
    )


def _all_images(facts: Mapping[str, Any]) -> str:
    final, score = facts["all_images"], facts.get("cross_validated")
    images = shares.counted(final["images"], "image")
    text = (
        f"`all_images/model.keras` ({final['recipe']}) was trained on {images}, those of the test set too: "
        "the metrics below are those of `model.keras`, not of this file"
    )
    if not score:
        return text
    interval = f"{_figure(score['low'])} to {_figure(score['high'])}"
    return (
        f"{text}. Accuracy of its recipe by cross-validation in {score['folds']} folds:"
        f" {_figure(score['accuracy'])} ({interval}) of {shares.counted(score['images'], 'image')}"
    )


def _compared(profile: Mapping[str, Any]) -> str:
    images = shares.counted(profile["images"], f"{profile['split']} image")
    return f"later batches are compared with {images}; their features are in `profile/`"


def _metrics(metrics: Mapping[str, Any]) -> str:
    rows = [
        f"| {declarations.figure_of(name).title} | {_figure(metric['value'])} "
        f"| {_figure(metric['low'])} to {_figure(metric['high'])} | {metric['method']} |"
        for name, metric in metrics.items()
        if isinstance(metric, Mapping) and "method" in metric
    ]
    return "\n".join(["| on the test images | value | 95 % interval | by |", "|---|---|---|---|", *rows])


def _decision(point: Mapping[str, Any] | None) -> list[str]:
    """The section on the operating point; none without one."""
    if point is None:
        return []
    lines = [f"- {markdown(sentence)}" for sentence in (*point["sentences"], *point["test"])]
    if point["rule"]:
        lines.append(
            "- `plumbline predict` applies it. `model.keras` alone gives probabilities; the rule is "
            "`operating_point` in `manifest.json`."
        )
    return ["## Decision\n" + "\n".join(lines)]


def _abstention(thresholds: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"- Errors below {row['max_error'] * 100:.0f} %: answer from confidence {row['threshold']:.3f} on; "
        f"{shares.percent(row['coverage'])} of the test images are answered."
        for row in thresholds
        if row["threshold"] is not None
    ]
    return "\n".join(lines) or "No threshold is proven by the validation images."


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {markdown(value)}" for name, value in values.items())


def _human_section(name: str, notes: Mapping[str, str]) -> str:
    return f"## {name}\n{notes.get(name) or f'{MARK}: {HUMAN_SECTIONS[name]}'}"
