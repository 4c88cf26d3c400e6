"""Counts and latencies of requests, rendered as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)  # seconds


class RequestMetrics:
    """``count`` is called once for every answer. Labels are the model's names or fixed words, never a client's text."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str], int] = {}
        self._seconds: dict[tuple[str, str], list[float]] = {}  # per bucket (not summed up), beyond all buckets, sum

    def count(self, service: str, operation: str, code: str, seconds: float) -> None:
        """``code`` is the error's, or ``OK``; ``seconds`` from the request's head to its answer."""
        key = (service, operation, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        row = self._seconds.get(key[:2])
        if row is None:
            row = self._seconds[key[:2]] = [0.0] * (len(BUCKETS) + 2)
        row[_bucket(seconds)] += 1
        row[-1] += seconds

    def render(self) -> bytes:
        lines = [
            "# HELP homeport_requests_total API requests by service, operation and error code.",
            "# TYPE homeport_requests_total counter",
        ]
        for (service, operation, code), n in sorted(self._requests.items()):
            labels = f'service="{service}",operation="{operation}",code="{_escape(code)}"'
            lines.append(f"homeport_requests_total{{{labels}}} {n}")
        name = "homeport_request_seconds"
        lines += [f"# HELP {name} Time from a request's head to its answer.", f"# TYPE {name} histogram"]
        for (service, operation), row in sorted(self._seconds.items()):
            labels, below = f'service="{service}",operation="{operation}"', 0
            for bound, here in zip((*BUCKETS, "+Inf"), row, strict=False):
                below += int(here)
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {below}')
            lines += [f"{name}_sum{{{labels}}} {row[-1]:.6f}", f"{name}_count{{{labels}}} {below}"]
        return ("\n".join(lines) + "\n").encode()


def _bucket(seconds: float) -> int:
    for i, bound in enumerate(BUCKETS):
        if seconds <= bound:
            return i
    return len(BUCKETS)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
