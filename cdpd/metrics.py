"""What the daemon counts and measures: every metric's name, type, labels, help and buckets, in this one place.

Names follow Prometheus: `cdpd_`, what it is, its unit, `_total` for counters. All of it goes out at /metrics
(cdpd/scrape); `cdpd status --json` shows the counters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

MOST_CODES: Final = 100
"""Different values that a label whose values plugins choose may have, beside equal other labels …"""
OTHER: Final = "other"
"""… then this stands for any further one."""
LONGEST_CODE: Final = 64
"""Characters of such a value."""


class Family(Struct, frozen=True, eq=False):
    """One metric. Label values are given in the order of `labels`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, ascending; the last, +Inf, is implied."""
    open: bool = False
    """Whether code that is not ours chooses the values of the last label: then they are bounded."""


def _counter(name: str, help: str, *labels: str, open: bool = False) -> Family:
    return Family(name, "counter", help, labels, open=open)


def _gauge(name: str, help: str, *labels: str) -> Family:
    return Family(name, "gauge", help, labels)


def _histogram(name: str, help: str, *labels: str, buckets: tuple[float, ...]) -> Family:
    return Family(name, "histogram", help, labels, buckets)


_QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds, of what is over in milliseconds unless something is wrong."""
_SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds, of answers from elsewhere."""
_AGES: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0)
"""Seconds, of what may wait for a day."""
_SIZES: Final = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)
"""Bytes."""

# -- requests ------------------------------------------------------------------------------------------------

REQUESTS: Final = _counter(
    "cdpd_requests_total",
    "HTTP requests answered, by the route and the status of the answer.",
    "path",
    "status",
)
REQUEST_SECONDS: Final = _histogram(
    "cdpd_request_seconds",
    "Time from a request's header to its answer: the body's arrival and the disk's sync are in it.",
    "path",
    buckets=_QUICK,
)
REJECTED: Final = _counter(
    "cdpd_rejected_requests_total", "Requests refused as a whole; the code is that of the answer.", "code"
)
CLIENT_RETRIES: Final = _counter(
    "cdpd_client_retries_total", "Requests that say of themselves that they are sent again.", "source"
)
CONNECTIONS: Final = _gauge("cdpd_connections", "Open connections of clients.")
ACTIVE: Final = _gauge("cdpd_active_requests", "Requests that are being handled.")
IN_FLIGHT: Final = _gauge(
    "cdpd_in_flight_bytes", "Bytes of bodies and lines in memory, over all connections."
)
IN_FLIGHT_LIMIT: Final = _gauge(
    "cdpd_in_flight_limit_bytes", "The most that they may be; beyond it requests are answered 503."
)
TOKENS: Final = _counter(
    "cdpd_token_requests_total", "Requests for access tokens: `issued`, or the error (RFC 6749).", "result"
)

# -- events on their way -------------------------------------------------------------------------------------

RECEIVED: Final = _counter("cdpd_received_events_total", "Events made durable in `received`.", "source")
NOTED: Final = _counter(
    "cdpd_noted_total",
    "Things noticed about events that went on: put right, unusual, or a violation that a hook reported.",
    "code",
    open=True,
)
ACCEPTED: Final = _counter("cdpd_accepted_events_total", "Events that came through the hook chain.", "source")
RECEIVED_OBJECTS: Final = _counter(
    "cdpd_received_objects_total", "Objects (`set`) made durable in `received`; they are no events.", "source"
)
ACCEPTED_OBJECTS: Final = _counter(
    "cdpd_accepted_objects_total", "Objects (`set`) made durable in `events`, for warehouses.", "source"
)
DISCARDED: Final = _counter(
    "cdpd_discarded_events_total",
    "Events discarded, by whom (a hook plugin, ingest, the pipeline) and why.",
    "source",
    "by",
    "code",
    open=True,
)
DUPLICATES: Final = _counter(
    "cdpd_duplicate_events_total",
    "Events discarded as duplicates: of a request that said so (`retry`), or `unannounced`.",
    "source",
    "kind",
)
HOOK_SECONDS: Final = _counter("cdpd_hook_seconds_total", "Time spent in a hook plugin.", "plugin")
HOOK_FAILURES: Final = _counter("cdpd_hook_failures_total", "Hooks that raised.", "plugin")
PIPELINE_STATE: Final = _gauge(
    "cdpd_pipeline_state", "1 for the state that the pipeline is in, 0 for all others.", "state"
)
PIPELINE_LAG_EVENTS: Final = _gauge(
    "cdpd_pipeline_lag_events", "Events in `received` that are not through the hook chain."
)
PIPELINE_LAG_SECONDS: Final = _gauge(
    "cdpd_pipeline_lag_seconds", "How long the oldest of them has been there; 0 where there is none."
)

# -- deliveries ----------------------------------------------------------------------------------------------

DELIVERED: Final = _counter("cdpd_delivered_events_total", "Events that a destination took.", "destination")
SKIPPED: Final = _counter(
    "cdpd_skipped_events_total",
    "Events not meant for a destination, by the reason.",
    "destination",
    "code",
    open=True,
)
RETRIED: Final = _counter("cdpd_retried_batches_total", "Batches to be tried again.", "destination")
RATE_LIMITED: Final = _counter(
    "cdpd_rate_limited_batches_total", "Those of them that met a vendor's rate limit.", "destination"
)
PARKED: Final = _counter(
    "cdpd_parked_events_total",
    "Events that were parked, by the class of their last outcome (cdpd/destinations/outcome.py), or `unreadable`.",
    "destination",
    "kind",
)
PARKED_KINDS: Final = ("bad_event", "retry", "rate_limited", "unreadable")
"""The values of its `kind`."""
DROPPED: Final = _counter(
    "cdpd_dropped_parked_events_total",
    "Parked events that are not sent any more: `dropped` by hand, or `expired` (keep_parked).",
    "destination",
    "why",
)
JOB_EVENTS: Final = _counter(
    "cdpd_job_events_total",
    "Events of replays and of retries of parked events, by what became of them; they are in no other figure.",
    "destination",
    "kind",
    "outcome",
)
DELIVERY_SECONDS: Final = _histogram(
    "cdpd_delivery_seconds",
    "Time that a destination took for one batch, whatever became of it.",
    "destination",
    buckets=_SLOW,
)
DELIVERED_AGE: Final = _histogram(
    "cdpd_delivered_age_seconds",
    "Time from the log to the destination, of the oldest event of each batch of which something was delivered.",
    "destination",
    buckets=_AGES,
)
DESTINATION_STATE: Final = _gauge(
    "cdpd_destination_state",
    "1 for the state that a destination is in, 0 for all others.",
    "destination",
    "state",
)
DESTINATION_LAG_EVENTS: Final = _gauge(
    "cdpd_destination_lag_events", "Events in the archive beyond a destination's cursor.", "destination"
)
DESTINATION_LAG_SECONDS: Final = _gauge(
    "cdpd_destination_lag_seconds",
    "Age of the oldest event that a destination has read and not finished; absent while it does not run.",
    "destination",
)
DESTINATION_PARKED: Final = _gauge(
    "cdpd_destination_parked_events", "Events that are parked at the moment.", "destination"
)
DESTINATION_BATCHES: Final = _gauge(
    "cdpd_destination_batches_in_flight", "Batches that a destination is working on.", "destination"
)
DESTINATION_WAITING: Final = _gauge(
    "cdpd_destination_retrying_events", "Events that wait for another attempt.", "destination"
)

# -- alerts --------------------------------------------------------------------------------------------------

ALERTS_FIRING: Final = _gauge(
    "cdpd_alerts_firing", "For how many destinations or sources an alert of [alerts] fires.", "alert"
)
ALERTS_UNSENT: Final = _gauge(
    "cdpd_alerts_unsent_messages", "Messages of alerts that could not be delivered yet."
)

# -- the log and the disk ------------------------------------------------------------------------------------

APPEND_SECONDS: Final = _histogram(
    "cdpd_append_seconds",
    "Time until the events of one request were durable: waiting for the group before, writing, syncing.",
    buckets=_QUICK,
)
SYNC_SECONDS: Final = _histogram(
    "cdpd_log_sync_seconds", "Time of one sync of a stream's file (fdatasync).", "stream", buckets=_QUICK
)
GROUP_BYTES: Final = _histogram(
    "cdpd_log_group_bytes",
    "Bytes, compressed, that went out with one sync: a group.",
    "stream",
    buckets=_SIZES,
)
LOG_FAILURES: Final = _counter(
    "cdpd_log_failures_total", "Writes and syncs of a stream's file that the disk refused.", "stream"
)
STREAM_BEGIN: Final = _gauge("cdpd_log_begin_offset", "The first offset of a stream that is kept.", "stream")
STREAM_END: Final = _gauge("cdpd_log_end_offset", "The durable end of a stream.", "stream")
STREAM_BYTES: Final = _gauge("cdpd_log_bytes", "Size of a stream's folder.", "stream")
STREAM_SEGMENTS: Final = _gauge("cdpd_log_segments", "Segments of a stream.", "stream")
DISK_FREE: Final = _gauge("cdpd_disk_free_bytes", "What is free on the data folder's file system.")
DISK_SIZE: Final = _gauge("cdpd_disk_size_bytes", "The size of the data folder's file system.")

# -- the daemon itself ---------------------------------------------------------------------------------------

READY: Final = _gauge("cdpd_ready", "Whether the daemon takes traffic: 0 while it starts or stops.")
BUILD: Final = _gauge("cdpd_build_info", "Always 1; its labels say what runs.", "version", "python")
PROCESS_UP: Final = _gauge(
    "cdpd_process_up",
    "Whether a process of `[process] roles` runs; absent where the daemon is one process.",
    "process",
)
PROCESS_STARTS: Final = _counter("cdpd_process_starts_total", "Times that it was started.", "process")
PROCESS_CPU: Final = _counter("cdpd_process_cpu_seconds_total", "Processor time that it has used.", "process")
PROCESS_MEMORY: Final = _gauge("cdpd_process_resident_memory_bytes", "Its memory.", "process")
LOOP_LAG: Final = _histogram(
    "cdpd_loop_lag_seconds",
    "How late the event loop was for a timer, sampled twice a second: what every request waits in addition.",
    buckets=_QUICK,
)
RELOADS: Final = _counter(
    "cdpd_config_reloads_total",
    "Times that the configuration was read again: `applied` or `refused`.",
    "result",
)
RELOAD_OK: Final = _gauge(
    "cdpd_config_last_reload_successful", "Whether the files last read are the configuration that runs."
)
RELOAD_TIME: Final = _gauge(
    "cdpd_config_last_success_timestamp_seconds", "When the configuration that runs was read (Unix time)."
)
CERTIFICATE_ENDS: Final = _gauge(
    "cdpd_certificate_expiry_timestamp_seconds",
    "When the certificate of [http.tls] that clients are shown expires (Unix time); absent without one.",
)

FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family for family in list(globals().values()) if isinstance(family, Family)
}
"""All of them, by name. What /metrics shows besides (`process_…`) is prometheus_client's."""


class Histogram:
    """How often a value fell into which bucket."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """One for each bound, and one for what is beyond the last; not cumulative."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Series(Struct, frozen=True):
    """One family's value for one set of labels."""

    family: Family
    labels: tuple[str, ...]
    value: float = 0.0
    """Of a histogram: the sum of what was observed."""
    counts: tuple[int, ...] = ()
    """Of a histogram: as Histogram.counts."""


class Metrics:
    """What was counted and measured, by family and labels; one instance a daemon, passed to whoever counts.

    For the event loop. Only a Histogram that `histogram` gave, and `add` for labels that were added before, may be
    used in one other thread.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[Family, tuple[str, ...]], float] = {}
        self._histograms: dict[tuple[Family, tuple[str, ...]], Histogram] = {}
        self._codes: dict[tuple[Family, tuple[str, ...]], int] = {}

    def add(self, family: Family, *labels: str, n: float = 1) -> None:
        """Count `n` more."""
        try:
            self._values[family, labels] += n
        except KeyError:
            self._first(family, labels, n)

    def set(self, family: Family, *labels: str, value: float) -> None:
        """What a gauge shows from now on."""
        self._values[family, labels] = value

    def observe(self, family: Family, value: float, *labels: str) -> None:
        """Measure once."""
        try:
            self._histograms[family, labels].observe(value)
        except KeyError:
            self.histogram(family, *labels).observe(value)

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """The histogram of these labels, for whoever measures often."""
        found = self._histograms.get((family, labels))
        if found is None:
            found = self._histograms[family, labels] = Histogram(family.buckets)
        return found

    def _first(self, family: Family, labels: tuple[str, ...], n: float) -> None:
        """The first of these labels. Codes of others' are kept few and short, or one plugin could fill the memory."""
        if family.open:
            *rest, code = labels
            code = code[:LONGEST_CODE]
            known = (family, tuple(rest))
            if (family, (*rest, code)) not in self._values:
                if self._codes.get(known, 0) >= MOST_CODES:
                    code = OTHER
                else:
                    self._codes[known] = self._codes.get(known, 0) + 1
            labels = (*rest, code)
        self._values[family, labels] = self._values.get((family, labels), 0) + n

    def get(self, family: Family, *labels: str) -> float:
        """The count of exactly these labels."""
        return self._values.get((family, labels), 0)

    def total(self, family: Family) -> float:
        """The count over all labels."""
        return sum(n for (key, _), n in self._values.items() if key is family)

    def series(self) -> Iterator[Series]:
        """Everything, as it is now."""
        for (family, labels), value in self._values.items():
            yield Series(family, labels, value)
        for (family, labels), found in self._histograms.items():
            yield Series(family, labels, found.sum, tuple(found.counts))

    def snapshot(self) -> dict[str, dict[str, float]]:
        """The counters: name → "label,label" → count."""
        out: dict[str, dict[str, float]] = {}
        for (family, labels), n in sorted(
            self._values.items(), key=lambda item: (item[0][0].name, item[0][1])
        ):
            if family.kind == "counter":
                out.setdefault(family.name, {})[",".join(labels)] = n
        return out
