"""Class activation maps in the report."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.model.saliency import reading
from tasks.core.reports.sections import activation_maps
from tasks.core.stage import publish
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.saliency import Saliency
from tests.core.reports.test_report import PageParser, html, inputs


def made(fake, layer: str = "head") -> Saliency:
    """Maps of two pictures: a mistake with two maps, and a right one."""

    def write(staging):
        rows = [
            {"picture": 0, "kind": "mistake", "row": 3, "label": 1, "predicted_label": 0, "map_label": 0},
            {"picture": 0, "kind": "mistake", "row": 3, "label": 1, "predicted_label": 0, "map_label": 1},
            {"picture": 1, "kind": "right", "row": 4, "label": 0, "predicted_label": 0, "map_label": 0},
        ]
        rest = {"path": "a<b.png", "probability": 0.9, "logit": 2.0, "constant": 0.5}
        pq.write_table(
            pa.Table.from_pylist([row | rest for row in rows], reading.SCHEMA), staging / reading.TABLE
        )
        np.save(staging / reading.MAPS, np.random.default_rng(0).normal(size=(3, 7, 7)).astype(np.float32))
        np.save(staging / reading.PICTURES, np.full((2, 32, 32, 3), 128, np.uint8))
        return {}

    ingredients = Ingredients("saliency", {}, {"layer": layer})
    directory = fake.workspace.root / "saliency" / ingredients.digest
    publish.publish(directory, ingredients, write)
    facts = {"layer": layer, "rows": 7, "columns": 7, "images": 2, "adds_up": True}
    return Saliency(fake.workspace.relative(directory), ingredients.digest, "0" * 64, **facts)


def opened(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), np.float32)


@pytest.mark.slow
def test_report_shows_each_map_beside_its_picture(fake) -> None:
    text = html(fake, replace(inputs(fake), saliency=made(fake)))
    section = text[text.index('<h2 id="maps">') : text.index('<h2 id="', text.index('<h2 id="maps">') + 5)]
    assert len(re.findall("<figure>", section)) == 2
    assert section.count("data:image/jpeg") == 3  # the maps; small pictures are PNGs
    assert "It is a map, not an explanation" in section
    assert section.count("explanation") == 1
    assert f"class activation map for {fake.classes[1]}" in section
    assert "The surest mistakes" in section
    assert "lowest margins" not in section
    assert "7x7 cells" in section
    assert "a&lt;b.png" in section
    parser = PageParser()
    parser.feed(text)
    assert (parser.open, set(parser.fetched)) == ([], {"review.html"})  # the page beside the report


@pytest.mark.slow
def test_report_says_in_a_sentence_why_there_is_none(fake) -> None:
    text = html(fake, replace(inputs(fake), saliency=made(fake, layer="")))
    assert "has a map of at least 7x7 cells, and a coarser one would not say where" in text
    assert "data:image/jpeg" not in text


@pytest.mark.slow
def test_report_without_the_stage_has_no_section(fake) -> None:
    assert 'id="maps"' not in html(fake, inputs(fake))


def test_heat_lies_where_the_map_is_high_and_negative_values_are_drawn_as_nothing() -> None:
    picture = np.full((32, 32, 3), 128, np.uint8)
    votes = np.zeros((2, 7, 7), np.float32)
    votes[0, 1, 5], votes[1, 5, 1], votes[1, 5, 5] = 4, 2, -9
    first, second = (opened(uri) for uri in activation_maps.overlays(picture, votes))
    assert first.shape == (96, 96, 3)
    saturation = [np.ptp(image, axis=2) for image in (first, second)]
    assert np.unravel_index(saturation[0].argmax(), (96, 96))[0] < 40
    assert saturation[0][:40, 55:].mean() > 5 > saturation[0][55:, :].mean()
    assert saturation[1][55:, :40].mean() > 5 > saturation[1][55:, 55:].mean()
    # One scale for both: the highest value of the second map is half of the highest of the first.
    assert first[20, 75].sum() > second[75, 20].sum()


def test_a_map_without_votes_and_a_grey_picture_are_drawn() -> None:
    (uri,) = activation_maps.overlays(np.full((28, 28, 1), 100, np.uint8), np.full((1, 7, 7), -1, np.float32))
    np.testing.assert_allclose(opened(uri), 100, atol=3)
