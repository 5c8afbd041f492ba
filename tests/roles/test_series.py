"""Metrics of several processes as those of one daemon."""

from __future__ import annotations

from cdpd import metrics as names
from cdpd.metrics import Metrics, Series
from cdpd.roles.series import decoded, encoded, merged


def test_counts_of_the_same_are_added_up_and_others_stand_beside_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.add(names.RECEIVED, "website", n=3)
    other.add(names.RECEIVED, "website", n=4)
    other.add(names.RECEIVED, "app")
    one.observe(names.LOOP_LAG, 0.0001)
    other.observe(names.LOOP_LAG, 0.0001)
    other.observe(names.LOOP_LAG, 5.0)
    found = {(each.family.name, each.labels): each for each in merged((), [*one.series(), *other.series()])}
    assert found["cdpd_received_events_total", ("website",)].value == 7
    assert found["cdpd_received_events_total", ("app",)].value == 1
    lag = found["cdpd_loop_lag_seconds", ()]
    assert (lag.counts[0], sum(lag.counts)) == (2, 3)
    assert round(lag.value, 4) == 5.0002


def test_whether_the_daemon_is_ready_its_supervisor_says_alone() -> None:
    own, part = Series(names.READY, (), 0), Series(names.READY, (), 1)
    assert merged([own], [part, Series(names.RELOAD_TIME, (), 9)]) == [own]


def test_of_a_value_that_several_have_the_largest_stays() -> None:
    parts = [Series(names.DISK_FREE, (), n) for n in (1, 3, 2)]
    assert [each.value for each in merged((), parts)] == [3]


def test_they_go_over_a_control_socket_and_unknown_ones_are_left_out() -> None:
    metrics = Metrics()
    metrics.add(names.RECEIVED, "website")
    metrics.observe(names.SYNC_SECONDS, 0.002, "events")
    answer = encoded(metrics.series())
    assert decoded(answer) == list(metrics.series())
    answer["series"].append(["cdpd_of_a_newer_version", [], 1, []])
    assert decoded(answer) == list(metrics.series())
