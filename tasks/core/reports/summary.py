"""The summary of a run's report that the dashboard shows: markdown, and the table of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core import shares
from tasks.core.markup import markdown
from tasks.core.reports.content import figure, interval, percent
from tasks.core.reports.sections import next_steps


def summary(content: Mapping[str, Any]) -> str:
    """A summary of the report as markdown, with the confusion matrix as a picture.

    Args:
        content: The result of the function `content`.
    """
    test = content["metrics"]["test"]
    rows = [
        f"| {name.title} | {figure(test[key], key)} | {interval(test[key], key)} |"
        for key, name in content["figures"].items()
    ]
    table = "\n".join(
        [f"| on {shares.counted(test['images'], 'test image')} | | 95 % interval |", "|---|---|---|", *rows]
    )
    confusions = "\n".join(
        f"- {row['images']} of **{markdown(row['label'])}** were predicted as "
        f"**{markdown(row['predicted'])}** ({percent(row['share'])})"
        for row in content["confusions"][:5]
    )
    return "\n\n".join(
        [
            f"## {markdown(content['dataset'])} {content['verdict']['version']}",
            f"**{markdown(content['verdict']['text'])}**",
            markdown(" ".join(content["findings_in_words"]["sentences"])),
            *_steps(content["findings_in_words"]["steps"]),
            table,
            confusions,
            f"![confusion matrix]({content['matrix']['picture']})" + content["matrix"]["legend"],
        ]
    )


def _steps(steps: Sequence[next_steps.Step]) -> list[str]:
    """The steps as markdown: a numbered list with commands."""
    lines = [f"{i}. {markdown(step.text)}\n   `{step.command}`" for i, step in enumerate(steps, 1)]
    return ["Most worth doing now:\n\n" + "\n".join(lines)] if lines else []


def class_table(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The per-class metrics as a table of text for the dashboard.

    Args:
        content: The result of the function `content`.
    """
    return [
        {
            "class": row["class_name"],
            "images": row["support"],
            "recall": percent(row["recall"]),
            "recall, 95 % interval": f"{percent(row['recall_low'])} to {percent(row['recall_high'])}",
            "precision": percent(row["precision"]),
            "F1": percent(row["f1"]),
        }
        for row in content["classes"]
    ]
