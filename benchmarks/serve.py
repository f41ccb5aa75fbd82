"""`plumbline serve` under load on loopback: p50, p99, images per second, CPU-seconds, memory.

python benchmarks/serve.py --workspace workspace --dataset digits [--seconds 60] [--clients 32]

The images are those of the test split of the champion's tensors, as PNG files. Each client sends one after
the other on its own connection; all clients are one other process. The clock starts after 3 s. The same is
measured with `--max-batch 1`, to show what batching gives. The rival is `keras.Model.predict` on an array of
the same images, decoded, in memory, in the same run: one image a call, as requests come, and 32 a call.
"""

import argparse
import asyncio
import io
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.data.pixels import as_picture
from tasks.core.data.tensors.cache import open_split
from tasks.core.operations import environment
from tasks.core.registry import registry
from tasks.core.stage.stages import NORMALIZE
from tasks.core.workspace import Workspace
from tests.support.servers.free_ports import free_ports

WARM = 3.0  # seconds
METRICS = {
    "cpu_seconds": "process_cpu_seconds_total",
    "memory_mb": "process_resident_memory_bytes",
    "calls": "plumbline_batch_images_count",
    "images": "plumbline_batch_images_sum",
}


def encoded(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    as_picture(pixels).save(content, "png")
    return content.getvalue()


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = {name: re.search(rf"^{metric} (\S+)$", text, re.MULTILINE) for name, metric in METRICS.items()}
    return {name: float(match[1]) if match else 0.0 for name, match in found.items()}


async def client(
    port: int, requests: list[bytes], first: int, end: float, took: list[tuple[float, float]]
) -> None:
    """Send requests until `end`; adds the end and the seconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = first
    while (started := time.perf_counter()) < end:
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1] if length else 0))
        now = time.perf_counter()
        took.append((now, now - started))
        number += 1
    writer.close()


async def load(port: int, folder: Path, clients: int, seconds: float) -> None:
    """Run the clients, in this process; print the figures as JSON."""
    requests = [
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (path.stat().st_size, path.read_bytes())
        for path in sorted(folder.glob("*.png"))
    ]
    started = time.perf_counter() + WARM
    took: list[tuple[float, float]] = []
    end = started + seconds
    work = asyncio.gather(*(client(port, requests, 7 * first, end, took) for first in range(clients)))
    await asyncio.sleep(WARM)
    before = await asyncio.to_thread(metrics, port)
    await work
    after = await asyncio.to_thread(metrics, port)
    each = np.array([seconds for at, seconds in took if at >= started]) * 1000
    images = after["images"] - before["images"]
    print(
        json.dumps(
            {
                "images": len(each),
                "images_per_second": round(len(each) / seconds, 1),
                "p50_ms": round(float(np.percentile(each, 50)), 2),
                "p99_ms": round(float(np.percentile(each, 99)), 2),
                "server_cpu_ms_per_image": round(
                    1000 * (after["cpu_seconds"] - before["cpu_seconds"]) / images, 3
                ),
                "images_per_call": round(images / (after["calls"] - before["calls"]), 1),
                "memory_mb_begin": round(before["memory_mb"] / 1e6),
                "memory_mb_end": round(after["memory_mb"] / 1e6),
            }
        )
    )


def served(arguments: argparse.Namespace, folder: Path, max_batch: int, seconds: float) -> dict[str, float]:
    """Start a server and load it; returns the figures."""
    (port,) = free_ports(1)
    options = ["--workspace", arguments.workspace, "--dataset", arguments.dataset, "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "flows", "serve", *options, "--max-batch", str(max_batch)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait(port)
        values = ["--port", str(port), "--folder", str(folder), "--clients", str(arguments.clients)]
        command = [sys.executable, __file__, *options[:4], *values, "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))
    finally:
        server.terminate()
        server.wait(60)


def wait(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the server does not start")


def rival(model: Path, images: np.ndarray, size: int, seconds: float) -> dict[str, float]:
    """`keras.Model.predict` on decoded batches of one size."""
    import keras

    loaded = keras.models.load_model(model)
    loaded.predict(images[:size], verbose=0, batch_size=size)
    started, cpu, calls = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() < started + seconds:
        start = calls * size % (len(images) - size + 1)
        loaded.predict(images[start : start + size], verbose=0, batch_size=size)
        calls += 1
    rate = calls * size / (time.perf_counter() - started)
    cpu_ms = 1000 * (time.process_time() - cpu) / (calls * size)
    return {"images_per_second": round(rate, 1), "cpu_ms_per_image": round(cpu_ms, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.port:
        asyncio.run(load(arguments.port, arguments.folder, arguments.clients, arguments.seconds))
        return
    import tempfile

    environment.prepare()
    workspace = Workspace.open(arguments.workspace)
    version = registry.resolve(arguments.dataset, registry.CHAMPION, workspace)
    tensors = NORMALIZE.of_digest(version.manifest["facts"]["tensors"], workspace)
    if tensors is None:
        raise SystemExit("the tensors of the champion are not in the workspace")
    images = np.array(open_split(tensors, "test").images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, image in enumerate(images):
            (folder / f"{number:05}.png").write_bytes(encoded(image))
        for max_batch, seconds in ((32, arguments.seconds), (1, arguments.seconds / 3)):
            print(f"serve --max-batch {max_batch}", served(arguments, folder, max_batch, seconds), flush=True)
    for size in (1, 32):
        figures = rival(version.directory / registry.MODEL, images, size, min(10.0, arguments.seconds / 3))
        print(f"keras.Model.predict, {size} a call", figures, flush=True)


if __name__ == "__main__":
    main()
