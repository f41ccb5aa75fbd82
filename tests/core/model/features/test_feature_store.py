"""The store of features: a damaged part is a miss."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.model.features.feature_store import FeatureStore


@pytest.mark.parametrize("place", [0.5, 0.99])  # in the values, and in the footer
def test_damaged_part_is_removed_and_its_features_are_missing(tmp_path: Path, place: float) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(40, 2, 8)).astype(np.float16)
    names = [f"{number:04}" for number in range(40)]
    store = FeatureStore(tmp_path)
    store.add(names[:20], features[:20])
    store.add(names[20:], features[20:])
    first, second = sorted(tmp_path.glob("*.parquet"))
    content = first.read_bytes()
    at = int(len(content) * place)
    first.write_bytes(bytes([*content[:at], content[at] ^ 1, *content[at + 1 :]]))
    later = FeatureStore(tmp_path)
    missing = later.missing(pa.array(names))
    assert missing.sum() == 20
    assert sorted(tmp_path.glob("*.parquet")) == [second]
    later.add(list(np.array(names)[missing]), features[missing])
    out = np.zeros_like(features)
    later.read(pa.array(names), out)
    np.testing.assert_array_equal(out, features)
    later.compact()
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert not FeatureStore(tmp_path).missing(pa.array(names)).any()
