"""`--backbone FILE.keras`: what is taken, what is refused, and what is known of the file afterwards."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tasks.core.config import EmbedSettings, RecipeName
from tasks.core.errors import ChecksumError, UsageError
from tasks.core.model.backbones import catalog, licences, network, user_file, weights
from tasks.core.storage import hashing
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.slow

PHOTOS = scenes(2, side=48)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def saved(path: Path, side: int | None = 48, dtype: str = "uint8", layers: tuple = ()) -> keras.Model:
    """A small model of photos that is saved; `layers` come after its first convolution."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 3), dtype=dtype)
    values = keras.layers.Rescaling(1 / 255)(inputs)
    values = keras.layers.Conv2D(8, 3)(values)
    for layer in layers:
        values = layer(values)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values))
    model.save(path)
    return model


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("side", [48, None])
def test_model_of_plain_layers_is_a_backbone(side: int | None, dtype: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "mine.keras", side, dtype)
    backbone = catalog.find(str(tmp_path / "mine.keras"))
    assert backbone.name == f"file-{hashing.sha256_file(tmp_path / 'mine.keras')[:16]}"
    assert (backbone.features, backbone.image_size) == (8, side or 224)
    assert (backbone.min_image_size, backbone.max_image_size) == (side or 32, side)
    built = network.build(backbone, 48)
    assert built.inputs[0].dtype == "uint8"
    np.testing.assert_allclose(built(PHOTOS), model(PHOTOS.astype(dtype)), rtol=1e-6)


def test_its_identity_is_its_content_and_the_path_may_go(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras")
    named = catalog.find(str(tmp_path / "mine.keras"))
    (tmp_path / "mine.keras").rename(tmp_path / "other.keras")
    assert catalog.find(str(tmp_path / "other.keras")) == named
    (tmp_path / "other.keras").unlink()
    assert catalog.find(named.name) == named
    assert network.build(named, 48).output_shape == (None, 8)


def test_batch_norms_are_not_updated(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras", layers=(keras.layers.BatchNormalization(),))
    built = network.build(catalog.find(str(tmp_path / "mine.keras")), 48)
    before = built.get_weights()
    built(PHOTOS, training=False)
    for old, new in zip(before, built.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    def call(self, values):
        return values * 2

    def compute_output_shape(self, input_shape):
        return input_shape


def test_model_with_a_layer_of_someone_else_is_refused(tmp_path: Path) -> None:
    """This process knows the layer, so that Keras opens the file; others would not."""
    saved(tmp_path / "mine.keras", layers=(Doubled(),))
    with pytest.raises(UsageError, match="Doubled"):
        catalog.find(str(tmp_path / "mine.keras"))


def test_model_with_an_inner_layer_of_someone_else_is_refused(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((46, 46, 8)), Doubled()])
    saved(tmp_path / "mine.keras", layers=(inner,))
    with pytest.raises(UsageError, match="Doubled"):
        catalog.find(str(tmp_path / "mine.keras"))


def test_model_with_a_wrapped_layer_of_someone_else_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras", layers=(keras.layers.TimeDistributed(Doubled()),))
    with pytest.raises(UsageError, match="Doubled"):
        catalog.find(str(tmp_path / "mine.keras"))


def test_lambda_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    mark = str(tmp_path / "executed")
    layer = keras.layers.Lambda(lambda values: [values, open(mark, "w", encoding="utf-8")][0])  # noqa: PTH123, SIM115
    saved(tmp_path / "mine.keras", layers=(layer,))
    Path(mark).unlink()
    with pytest.raises(UsageError, match=r"keras\.layers\.Lambda"):
        catalog.find(str(tmp_path / "mine.keras"))
    assert not Path(mark).exists()


@keras.saving.register_keras_serializable("tests")
def doubled(values):
    return values * 2


def test_function_of_someone_else_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras", layers=(keras.layers.Activation(doubled),))
    with pytest.raises(UsageError, match="function"):
        catalog.find(str(tmp_path / "mine.keras"))


def test_layer_that_is_not_here_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras")
    with zipfile.ZipFile(tmp_path / "mine.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1] |= {"module": "os", "class_name": "system", "registered_name": "system"}
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(UsageError, match="cannot be used as a backbone"):
        catalog.find(str(tmp_path / "evil.keras"))


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((48, 48, 1), [keras.layers.Flatten()]),
        ((48, 32, 3), [keras.layers.Flatten()]),
        ((48, 48, 3), [keras.layers.Conv2D(8, 3)]),
        ((10,), [keras.layers.Dense(3)]),
    ],
    ids=["grey", "not square", "no vector", "no images"],
)
def test_model_of_other_shapes_is_refused(shape: tuple, layers: list, tmp_path: Path) -> None:
    keras.Sequential([keras.Input(shape), *layers]).save(tmp_path / "mine.keras")
    with pytest.raises(UsageError, match="cannot be used as a backbone") as raised:
        catalog.find(str(tmp_path / "mine.keras"))
    assert str(shape[0]) in raised.value.parts["found"]


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mine.keras").write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.keras cannot be used as a backbone"):
        catalog.find(str(tmp_path / "mine.keras"))
    assert not list(cache.rglob("*.keras"))


def test_missing_file_and_forgotten_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no backbone"):
        catalog.find(str(tmp_path / "mine.keras"))
    with pytest.raises(UsageError, match="not on this machine"):
        catalog.find("file-0123456789abcdef")
    with pytest.raises(UsageError, match="there is no backbone resnet"):
        catalog.find("resnet")


def test_check_refuses_other_sizes_finetuning_and_weights(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras")
    name = str(tmp_path / "mine.keras")
    catalog.check(EmbedSettings(name), RecipeName.probe)
    catalog.check(EmbedSettings(name, 48), RecipeName.auto)
    with pytest.raises(UsageError, match="48 pixels only"):
        catalog.check(EmbedSettings(name, 64), RecipeName.probe)
    with pytest.raises(UsageError, match="cannot be fine-tuned"):
        catalog.check(EmbedSettings(name), RecipeName.finetune)
    with pytest.raises(UsageError, match="has its weights in it"):
        weights.keep(tmp_path / "mine.keras", catalog.find(name))


def test_damaged_copy_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras")
    backbone = catalog.find(str(tmp_path / "mine.keras"))
    copy = weights.cached(backbone)
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(ChecksumError, match="give the model again"):
        network.build(backbone, 48)


def test_notice_says_that_the_user_supplied_it(tmp_path: Path) -> None:
    saved(tmp_path / "mine.keras")
    backbone = catalog.find(str(tmp_path / "mine.keras"))
    licences.write_notice(backbone, tmp_path)
    notice = (tmp_path / licences.NOTICE).read_text()
    assert "the user supplied with --backbone" in notice
    assert str(backbone.weights.checksum) in notice
    assert "not known to Plumbline" in notice
    assert not (tmp_path / licences.LICENCE).exists()


def test_notice_of_an_mit_licence_begins_with_its_copyright(tmp_path: Path) -> None:
    licences.write_notice(catalog.CONVNEXT_TINY, tmp_path)
    text = (tmp_path / licences.LICENCE).read_text()
    assert text.startswith("Copyright (c) Meta Platforms")
    assert "MIT License" in text


def test_two_files_in_the_cache_keep_apart(tmp_path: Path) -> None:
    saved(tmp_path / "one.keras")
    saved(tmp_path / "two.keras", side=None)
    names = {catalog.find(str(tmp_path / name)).name for name in ("one.keras", "two.keras")}
    assert len(names) == 2
    assert all(user_file.is_name(name) for name in names)
