"""What Prometheus is told. Nothing that a client writes is a label."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters of one server."""

    def __init__(self):
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("yosegi_requests_total", "HTTP requests", ["path", "status"], **own)
        self.tokens = Counter("yosegi_tokens_total", "Tokens", ["kind"], **own)
        self.cancelled = Counter("yosegi_cancelled_total", "Requests whose client went away", **own)
        self.first = Histogram("yosegi_first_token_seconds", "Time to the first token", buckets=TIMES, **own)
        self.step = Histogram("yosegi_step_seconds", "Time of a step of the decoder", buckets=TIMES, **own)
        self.answers = Gauge("yosegi_answers", "Answers that are being written or wait", **own)
        self.running = Gauge("yosegi_running", "Prompts that are being answered", **own)
        self.seats = Gauge("yosegi_arms", "Arms that are attached", **own)
        self.experts = Gauge("yosegi_experts", "Experts of the library, by whether they can be used", ["state"], **own)

    def answered(self, path: str, status: int) -> None:
        """Counts one HTTP request."""
        self.requests.labels(path, str(status)).inc()

    def observe(self, what: str, number: float) -> None:
        """Counts what the loop did."""
        if what == "tokens":
            self.tokens.labels("generated").inc(number)
        elif what == "prompt":
            self.tokens.labels("prompt").inc(number)
        elif what == "step":
            self.step.observe(number)
        elif what == "first":
            self.first.observe(number)
        elif what == "cancelled":
            self.cancelled.inc(number)

    def text(self) -> bytes:
        """Returns all of them as Prometheus reads them."""
        return generate_latest(self.registry)
