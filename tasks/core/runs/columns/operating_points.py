"""The columns of the table `operating_points`, but the run and the evaluation."""

import pyarrow as pa

RATES = {
    "sensitivity": "recall of the class, 0..1; null if no image is of it",
    "specificity": "share of the other images that are not called it, 0..1",
    "ppv": "precision on the test images, 0..1; null if never predicted",
    "npv": "share of the images that are not called it and are not of it, 0..1",
}
AT_PREVALENCE = {
    "ppv_at_prevalence": "positive predictive value at that prevalence, 0..1",
    "npv_at_prevalence": "negative predictive value at that prevalence, 0..1",
}


def _with_ends(name: str, meaning: str, by: str) -> list[tuple[str, pa.DataType, str]]:
    return [
        (name, pa.float64(), meaning),
        (f"{name}_low", pa.float64(), f"lower end of its 95 % interval ({by})"),
        (f"{name}_high", pa.float64(), "upper end"),
    ]


COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("split", pa.string(), '"test", or "evaluated" by `plumbline evaluate`'),
    ("decision", pa.string(), '"most probable class" or "operating point"'),
    ("label", pa.int32(), "number of the class, which is read against the rest"),
    ("class_name", pa.string(), "name of the class"),
    ("threshold", pa.float64(), "probability from which on it is predicted; null without one"),
    ("promised", pa.string(), '"recall" or "precision"; null without a promise'),
    ("least", pa.float64(), "what was promised, 0..1"),
    ("true_positives", pa.int64(), "images of the class that are called it"),
    ("false_positives", pa.int64(), "images of other classes that are called it"),
    ("false_negatives", pa.int64(), "images of the class that are not called it"),
    ("true_negatives", pa.int64(), "images of other classes that are not called it"),
    *(column for item in RATES.items() for column in _with_ends(*item, "Clopper-Pearson")),
    ("prevalence", pa.float64(), "`--prevalence`; null without it, and for other classes"),
    *(column for item in AT_PREVALENCE.items() for column in _with_ends(*item, "exact, both rates")),
    *_with_ends("mean_cost", "mean cost of all decisions (`--cost`)", "Hall"),
]
