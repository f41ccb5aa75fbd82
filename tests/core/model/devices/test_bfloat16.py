"""Predictions in bfloat16: the copied model, its certificate by hand, and when it is used."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.config import Precision, RecipeName
from tasks.core.errors import UsageError
from tasks.core.model.devices import bfloat16_certificate, gpu, processor
from tasks.core.recipes import RECIPES

BFLOAT16 = Precision.bfloat16


@pytest.fixture
def bfloat16_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Simulates a processor that multiplies in bfloat16, and no GPU; returns the file that says so."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu avx512_bf16\n")
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(gpu, "DEVICES", tmp_path)
    return cpuinfo


def outputs(classes: list[int]) -> np.ndarray:
    """Probabilities whose largest is 0.8, of three classes."""
    return np.where(np.arange(3) == np.array(classes)[:, None], 0.8, 0.1).astype(np.float32)


@pytest.mark.slow
def test_copy_predicts_nearly_the_same_and_keeps_logits_and_weights_in_float32(tmp_path: Path) -> None:
    import keras  # takes 3 s, and the other tests do not need it

    from tasks.core.model.architectures import build
    from tasks.core.model.architectures.bfloat16_model import in_bfloat16
    from tasks.core.model.export import inference_model
    from tasks.core.model.inference import predictor

    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    recipe = RECIPES[RecipeName.flash]
    model = inference_model.build_inference_model(recipe, build.build(recipe, images, 5, seed=0))
    copied = in_bfloat16(model)
    types = {
        layer.name: layer.compute_dtype for layer in copied.layers if isinstance(layer, keras.layers.Layer)
    }
    assert {types[name] for name in ("whiten", "group_2_convolution_2", "global_max")} == {"bfloat16"}
    assert {types[name] for name in ("logits", "views", "temperature", "probabilities")} == {"float32"}
    assert {str(variable.dtype) for variable in copied.variables} == {"float32"}
    model.save(tmp_path / "model.keras")
    exact = predictor.load(tmp_path / "model.keras").score(images)
    rounded = predictor.load(tmp_path / "model.keras", BFLOAT16).score(images)
    for expected, found in zip(exact, rounded, strict=True):
        assert found.dtype == np.float32
        assert not np.array_equal(found, expected)
        assert np.allclose(found, expected, rtol=0.1, atol=0.02)


def test_certificate_of_hand_made_predictions() -> None:
    """1,000 images, all right in float32; one becomes wrong. Tango's p at a margin of 0.005 is then 0.036."""
    labels = np.zeros(1000, np.int32)
    expected, found = outputs([0] * 1000), outputs([1] + [0] * 999)
    certificate = bfloat16_certificate.certify(found, expected, labels)
    assert certificate["agreement"] == 0.999
    assert certificate["largest_difference"] == pytest.approx(0.7)
    assert certificate["difference"]["value"] == pytest.approx(-0.001)
    assert certificate["difference"]["low"] < -0.001 < certificate["difference"]["high"] <= 0
    assert not certificate["passed"]
    assert certificate["reasons"] == [
        "a probability differs by 0.7",
        "a loss of 0.5 points of accuracy is not excluded",
    ]
    same = bfloat16_certificate.certify(expected - 0.01, expected, labels)
    assert (same["passed"], same["reasons"]) == (True, [])
    assert "100.00 % of 1,000 val images have the same class" in bfloat16_certificate.sentence(same)


def test_few_images_or_few_groups_prove_nothing() -> None:
    """Without a change, Tango's z is the root of n * 0.005 / 0.995, which is 2.2414 at n = 999.8."""
    assert not bfloat16_certificate.can_pass(0)
    assert not bfloat16_certificate.can_pass(999)
    assert bfloat16_certificate.can_pass(1000)
    labels, expected = np.zeros(1000, np.int32), outputs([0] * 1000)
    in_groups = bfloat16_certificate.certify(expected, expected, labels, np.arange(1000) // 2)
    assert in_groups["reasons"] == ["a loss of 0.5 points of accuracy is not excluded"]
    assert bfloat16_certificate.needs_more(in_groups)
    differs = bfloat16_certificate.certify(outputs([1] * 1000), expected, labels)
    assert not bfloat16_certificate.needs_more(differs)


def test_bfloat16_is_chosen_only_where_certificate_processor_and_decision_allow_it(
    bfloat16_processor: Path, tmp_path: Path
) -> None:
    def chosen(asked: Precision = Precision.auto, *, proven: bool = False) -> Precision:
        return bfloat16_certificate.choose(tmp_path, asked, proven=proven)

    assert chosen() is Precision.float32  # no certificate
    with pytest.raises(UsageError, match="too few val images"):
        chosen(BFLOAT16)
    expected, labels = outputs([0] * 1000), np.zeros(1000, np.int32)
    bfloat16_certificate.write(bfloat16_certificate.certify(expected, expected, labels), tmp_path)
    assert (chosen(), chosen(BFLOAT16)) == (BFLOAT16, BFLOAT16)
    assert chosen(Precision.float32) is Precision.float32
    assert chosen(proven=True) is Precision.float32
    bfloat16_processor.write_text("flags : fpu avx2\n", encoding="utf-8")
    assert chosen() is Precision.float32
    failed = bfloat16_certificate.certify(outputs([1] * 1000), expected, labels)
    bfloat16_certificate.write(failed, tmp_path)
    bfloat16_processor.write_text("flags : fpu amx_bf16\n", encoding="utf-8")
    assert chosen() is Precision.float32
    with pytest.raises(UsageError, match=r"only 0.00 % of the predicted classes"):
        chosen(BFLOAT16)
