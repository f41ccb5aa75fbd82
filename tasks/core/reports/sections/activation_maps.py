"""Class activation maps for the report: heat over the grey picture."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tasks.core.model.saliency import reading
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.thumbnails import thumbnail

COLOURS = "inferno"  # perceptually uniform: equal steps of the map are equal steps to the eye
SIDE = 96  # pixels of a smaller picture under a map
LARGEST_PNG = 48  # pixels; larger pictures are JPEGs, a fifth of the size
QUALITY = 82
MOST_HEAT = 0.85  # opacity of the heat at the highest value; 0 at zero and below
TITLES = {
    "mistake": "The surest mistakes",
    "margin": "The lowest margins between two classes",
    "right": "Right ones",
}
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def section(inputs: ReportInputs) -> dict[str, Any] | None:
    """The maps with their pictures, by kind; None if the stage did not run.

    Maps of one picture share a scale, from 0 to the highest value of them.
    """
    values: dict[str, Any]
    made = inputs.saliency
    if made is None:
        return None
    values = {"made": made, "shape": inputs.trained.shape, "least": reading.MIN_SIDE}
    values |= {"groups": [], "scale": _scale()}
    if not made.layer:
        return values
    classes, pictures, maps = inputs.tensors.classes, reading.read_pictures(made), reading.read_maps(made)
    table = reading.read_table(made).to_pandas()
    figures: dict[str, list[dict[str, Any]]] = {kind: [] for kind in TITLES}
    for number, rows in table.groupby("picture"):
        figure = _figure(pictures[int(str(number))], maps[rows.index.to_numpy()], rows, classes)
        figures[rows.iloc[0]["kind"]].append(figure)
    groups = [{"title": TITLES[kind], "figures": found} for kind, found in figures.items() if found]
    return values | {"groups": groups}


def _figure(picture: Pixels, maps: Floats, rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """A picture with its maps; `rows` say of which classes they are."""
    first, drawn = rows.iloc[0], overlays(picture, maps)
    return {
        "picture": _picture(picture),
        "path": first["path"],
        "label": classes[first["label"]],
        "predicted": classes[first["predicted_label"]],
        "maps": [
            {"picture": heat, "class_name": classes[row.map_label], "probability": row.probability}
            for heat, row in zip(drawn, rows.itertuples(), strict=True)
        ],
    }


def overlays(picture: Pixels, maps: Floats) -> list[str]:
    """Maps of one picture as heat over its grey values, each a JPEG in a data URI.

    Args:
        picture: uint8 (H, W, C), C = 1 or 3.
        maps: float32 (m, h, w). What speaks against the class is drawn as nothing.
    """
    grey = Image.fromarray(picture.squeeze()).convert("L")
    scale = max(1.0, SIDE / max(grey.size))
    size = round(grey.width * scale), round(grey.height * scale)
    background = np.asarray(grey.resize(size, Image.Resampling.NEAREST), np.float32)[..., None]
    peak = max(float(maps.max()), np.finfo(np.float32).tiny)
    drawn = []
    for values in maps:
        resized = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
        heat = np.clip(resized / peak, 0, 1)
        colours = mpl.colormaps[COLOURS](heat)[..., :3] * 255
        opacity = MOST_HEAT * np.sqrt(heat)[..., None]
        mixed = background * (1 - opacity) + colours * opacity
        drawn.append(_jpeg(Image.fromarray(np.rint(mixed).astype(np.uint8))))
    return drawn


def _picture(picture: Pixels) -> str:
    if max(picture.shape[:2]) <= LARGEST_PNG:
        return thumbnail(picture)
    return _jpeg(Image.fromarray(picture.squeeze()).convert("RGB"))


def _jpeg(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, format="jpeg", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _scale() -> str:
    """The colours of the heat as a CSS gradient."""
    stops = [mpl.colors.to_hex(mpl.colormaps[COLOURS](share)) for share in np.linspace(0, 1, 9)]
    return f"linear-gradient(to right, {', '.join(stops)})"
