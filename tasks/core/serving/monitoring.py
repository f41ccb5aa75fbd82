"""What the server counts, in Prometheus' text format."""

from collections import Counter as Counts

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from tasks.core.serving.served_model import ServedModel

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Monitoring:
    """The metrics of one server; their names begin with `plumbline_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "plumbline_requests",
            "Requests for predictions, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "plumbline_request_seconds",
            "Time from a request's header to its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.images = Counter(
            "plumbline_images",
            "Images: predicted, abstained or unreadable.",
            ["outcome"],
            registry=self.registry,
        )
        self.predictions = Counter(
            "plumbline_predictions",
            "Predicted images, by version and class.",
            ["version", "class_name"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "plumbline_batch_images",
            "Images in a call of the model.",
            buckets=BATCHES,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "plumbline_requests_in_progress", "Requests in progress.", registry=self.registry
        )
        self.model = Gauge(
            "plumbline_model",
            "1 for the version that answers.",
            ["dataset", "version"],
            registry=self.registry,
        )

    def answering(self, model: ServedModel) -> None:
        """Say which version answers."""
        self.model.clear()
        self.model.labels(model.version.dataset, model.version.version).set(1)

    def count(self, rows: list[dict[str, object]]) -> None:
        """Count the answers of a request: rows of the prediction table."""
        for row in rows:
            outcome = "unreadable" if row["problem"] else "abstained" if row["abstained"] else "predicted"
            self.images.labels(outcome).inc()
        classes = Counts((row["model"], row["predicted_class_name"]) for row in rows)
        for (version, class_name), count in classes.items():
            if class_name is not None:
                self.predictions.labels(version, class_name).inc(count)

    def text(self) -> bytes:
        """The metrics as text."""
        return generate_latest(self.registry)
