"""The server on a free port, with small real models: answers, pages, a new champion, recorded rows."""

import base64
import io
import threading
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.data.inference import prediction_table
from tasks.core.errors import UsageError
from tasks.core.reports import drift_report
from tasks.core.serving.recording import Recorder
from tasks.core.serving.served_model import DecisionOptions
from tasks.core.workspace import Workspace
from tests.core.serving.conftest import PNG, Served
from tests.support import served_versions
from tests.support.fake_outputs import CLASSES
from tests.support.processes.waiting import wait_until
from tests.support.sample_files import encoded, noise

pytestmark = pytest.mark.slow


def expected(workspace: Workspace, images: np.ndarray, version: str = "v0001") -> np.ndarray:
    """Keras' probabilities."""
    import keras

    model = keras.models.load_model(workspace.models / "animals" / version / "model.keras")
    return np.asarray(model(images))


def pixels(count: int) -> np.ndarray:
    return np.stack([noise(seed, 8, 8) for seed in range(count)])


def test_raw_bytes_get_keras_probabilities(server: Served, workspace: Workspace) -> None:
    (image,) = pixels(1)
    answer = server[0].post("/v1/predict", content=encoded(image), headers=PNG)
    assert answer.status_code == 200
    (prediction,) = answer.json()["predictions"]
    probabilities = expected(workspace, image[None])[0]
    np.testing.assert_allclose(prediction["probabilities"], probabilities, atol=1e-5)
    assert prediction["predicted_class_name"] == CLASSES[probabilities.argmax()]
    assert answer.json()["version"] == "v0001"


def test_large_image_is_decoded_as_in_training(server: Served, workspace: Workspace) -> None:
    """Antialiased bilinear, centre crop: Pillow's own resize with a box."""
    image = Image.fromarray(noise(3, 90, 120))
    content = io.BytesIO()
    image.save(content, "png")
    small = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR, box=(15, 0, 105, 90)))
    (prediction,) = (
        server[0].post("/v1/predict", content=content.getvalue(), headers=PNG).json()["predictions"]
    )
    np.testing.assert_allclose(prediction["probabilities"], expected(workspace, small[None])[0], atol=1e-5)


def test_multipart_and_json_have_an_answer_for_each_image(server: Served, workspace: Workspace) -> None:
    images = pixels(3)
    contents = [encoded(images[0]), b"broken", encoded(images[2])]
    files = [("f", (f"{number} ü.png", content)) for number, content in enumerate(contents)]
    texts = [base64.b64encode(content).decode() for content in contents]
    texts[0] = f"data:image/png;base64,{texts[0]}"
    texts[2] = base64.encodebytes(contents[2]).decode()  # lines of 76 characters
    answers = [
        server[0].post("/v1/predict", files=files),
        server[0].post("/v1/predict", json={"images": texts}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        predictions = answer.json()["predictions"]
        assert [prediction["problem"] for prediction in predictions] == [None, "a text: not an image", None]
        for number in (0, 2):
            probabilities = expected(workspace, images[number : number + 1])[0]
            np.testing.assert_allclose(predictions[number]["probabilities"], probabilities, atol=1e-5)
    assert [each["name"] for each in answers[0].json()["predictions"]] == ["0 ü.png", "1 ü.png", "2 ü.png"]


def test_multipart_keeps_every_byte(server: Served) -> None:
    """Line ends and dashes within a file are no boundaries; the standard library wrote the form."""
    content = encoded(noise(1, 8, 8)) + b"\r\n--\r\n\n\r--x" + bytes(range(256))
    form = EmailMessage()
    form.add_attachment(content, "image", "png", filename="a.png", disposition="form-data", cte="binary")
    form.set_boundary("x-x")
    header = 'Content-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
    body = b"--x-x\r\n" + header.encode() + content + b"\r\n--x-x--\r\n"
    answer = server[0].post(
        "/v1/predict", content=body, headers={"Content-Type": 'multipart/form-data; boundary="x-x"'}
    )
    assert answer.status_code == 200
    recorder = server[1].recorder
    assert recorder is not None
    assert any(path.read_bytes() == content for path in (recorder.out / "_images").iterdir())


def test_metadata_health_and_metrics(server: Served, workspace: Workspace) -> None:
    metadata = server[0].get("/metadata").json()
    assert metadata["classes"] == list(CLASSES)
    assert metadata["input"] == {"height": 8, "width": 8, "channels": 3, "fit": "crop"}
    assert len(metadata["model_sha256"]) == 64
    assert server[0].get("/health").json()["status"] == "ok"
    server[0].post("/v1/predict", content=encoded(noise(0, 8, 8)), headers=PNG)
    text = server[0].get("/metrics").text
    assert 'plumbline_requests_total{status="200"}' in text
    assert 'plumbline_model{dataset="animals",version="v0001"} 1.0' in text
    assert 'plumbline_predictions_total{class_name="' in text


def test_nearest_training_images_are_those_of_the_largest_cosine(
    server: Served, workspace: Workspace
) -> None:
    """A training image itself is the most alike, with cosine 1."""
    tensors = served_versions.tensors(workspace)
    train = np.load(tensors.directory / "train.images.npy")
    wait_until(lambda: server[1].training_images)
    answer = server[0].post("/v1/predict?nearest=3", content=encoded(train[7]), headers=PNG).json()
    nearest = answer["predictions"][0]["nearest"]
    assert len(nearest) == 3
    assert nearest[0]["path"] == "train/7.png"
    assert nearest[0]["similarity"] == pytest.approx(1, abs=1e-3)
    picture = server[0].get(nearest[0]["picture"])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.content))), train[7])
    assert server[0].get("/training-images/v0001/999999.png").status_code == 404
    assert server[0].post("/v1/predict?nearest=99", content=b"", headers=PNG).status_code == 400


def test_a_damaged_version_is_named_on_its_page(server: Served, workspace: Workspace) -> None:
    manifest = workspace.models / "animals" / "v0001" / "manifest.json"
    intact = manifest.read_bytes()
    manifest.write_text("{")
    page = server[0].get("/workspace").text
    manifest.write_bytes(intact)
    assert "damaged: " in page
    assert "damaged" not in server[0].get("/workspace").text


def test_pages_need_nothing_from_elsewhere(server: Served) -> None:
    for address in ("/", "/workspace", "/workspace/models/animals/v0002"):
        page = server[0].get(address)
        assert page.status_code == 200, page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "http://" not in page.text
        assert "https://" not in page.text
    assert "v0002" in server[0].get("/workspace").text
    assert server[0].get("/workspace/models/animals/v0009").status_code == 404


def test_new_champion_answers_without_a_failed_request(workspace: Workspace, tmp_path: Path) -> None:
    content, stopped = encoded(noise(5, 8, 8)), threading.Event()
    statuses: list[tuple[int, str]] = []
    with served_versions.served(workspace, options=DecisionOptions(abstain=0.05)) as (client, service):

        def ask() -> None:
            while not stopped.is_set():
                answer = client.post("/v1/predict", content=content, headers=PNG)
                statuses.append((answer.status_code, answer.json()["version"]))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        served_versions.promote(workspace, "v0002")
        wait_until(lambda: service.followed.swaps)
        last = client.post("/v1/predict", content=content, headers=PNG).json()
        stopped.set()
        for thread in threads:
            thread.join()
        # v0001 is followed back, so that the other tests have the champion that they expect.
        served_versions.promote(workspace, "v0001")
    assert {status for status, _ in statuses} == {200}
    assert last["version"] == "v0002"
    assert last["threshold"] == 0.6
    np.testing.assert_allclose(
        last["predictions"][0]["probabilities"], expected(workspace, pixels(6)[5:], "v0002")[0], atol=1e-5
    )
    assert last["predictions"][0]["abstained"] == (last["predictions"][0]["probability"] < 0.6)


def test_unproven_rate_of_abstention_is_refused(workspace: Workspace) -> None:
    with (
        pytest.raises(UsageError, match=r"no threshold for an error rate of 0\.01"),
        served_versions.served(workspace, options=DecisionOptions(abstain=0.01)),
    ):
        pass


def test_recorded_rows_are_a_finished_batch_of_predictions(workspace: Workspace, tmp_path: Path) -> None:
    out, images = tmp_path / "out", pixels(5)
    with served_versions.served(workspace, recorder=Recorder(out), record_seconds=3600) as (client, _):
        files = [("f", ("x.png", encoded(image))) for image in images]
        answer = client.post("/v1/predict", files=[*files, ("f", ("y.png", b"broken"))]).json()
        client.post("/v1/predict", content=b"", headers=PNG)
        assert prediction_table.all_batches(out) == []
    (batch,) = prediction_table.all_batches(out)  # the end of the server has written it
    rows = pq.read_table(out).to_pylist()
    assert [row["predicted_class_name"] for row in rows[:6]] == [
        each["predicted_class_name"] for each in answer["predictions"]
    ]
    assert [row["problem"] for row in rows] == [None] * 5 + ["a text: not an image", "empty file"]
    assert batch.done is not None
    assert batch.done["images"] == 7
    assert all(row["path"].startswith("request://") for row in rows)
    version = served_versions.registry.resolve("animals", "v0001", workspace)
    assert "without a profile" in str(drift_report.write_drift_report(batch, version))
