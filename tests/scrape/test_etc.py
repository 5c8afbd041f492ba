"""The dashboard and the rules in etc/ ask only for metrics, and labels, that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from cdpd.cli.registry import BUILT_IN
from cdpd.metrics import FAMILIES
from cdpd.scrape.text import exposition
from tests.services import program

ETC: Final = Path(__file__).parents[2] / "etc"
DASHBOARD: Final[dict[str, Any]] = json.loads((ETC / "grafana-dashboard.json").read_text())
RULES: Final = (ETC / "prometheus-alerts.yml").read_text()
OUTSIDE: Final = {"instance", "job", "le"}
"""Labels that Prometheus adds."""


def expressions() -> list[str]:
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    found += re.findall(r"^ +expr: (?!>-)(.+)$", RULES, re.MULTILINE)
    found += [
        " ".join(text.split()) for text in re.findall(r"^ +expr: >-\n((?: {10,}.+\n)+)", RULES, re.MULTILINE)
    ]
    return found


def samples_of(text: str) -> set[str]:
    """Names of our metrics and of the process's in a text, without what a histogram's samples have at the end."""
    names = re.findall(r"\b(?:cdpd|process)_[a-z_]+\b", text)
    return {re.sub("_(bucket|sum|count)$", "", name) for name in names}


def all_names() -> set[str]:
    _, text = exposition([], "")
    return set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_names_only_metrics_and_labels_that_exist(expression: str) -> None:
    found = samples_of(expression)
    assert found <= all_names()
    assert found or expression == 'up{job="cdpd"} == 0'
    for name, suffix, selected in re.findall(
        r"\b(cdpd_[a-z_]+?)(_bucket|_sum|_count)?\{([^}]*)\}", expression
    ):
        family = FAMILIES[name]
        assert bool(suffix) == (family.kind == "histogram")
        labels = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", selected))
        assert labels <= {*family.labels, *OUTSIDE}, name
    grouped = {
        label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")
    }
    known = {label for name in found if name in FAMILIES for label in FAMILIES[name].labels}
    assert grouped <= known | OUTSIDE
    for counter in (name for name in found if name in FAMILIES and FAMILIES[name].kind == "counter"):
        assert re.search(rf"(rate|increase)\({counter}\b", expression), "a counter by itself says nothing"


@pytest.mark.parametrize("text", [RULES, json.dumps(DASHBOARD)], ids=["rules", "dashboard"])
def test_what_people_read_there_names_only_metrics_that_exist(text: str) -> None:
    assert samples_of(text) <= all_names()


def test_nearly_every_metric_is_on_the_dashboard() -> None:
    shown = samples_of(json.dumps(DASHBOARD))
    assert set(FAMILIES) - shown <= {"cdpd_config_reloads_total", "cdpd_log_segments"}


def test_panels_have_their_own_place_and_a_title() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_alert_says_how_bad_it_is_and_what_to_look_at() -> None:
    alerts = re.split(r"^ +- alert: ", RULES, flags=re.MULTILINE)[1:]
    assert len(alerts) > 10
    for alert in alerts:
        assert re.match(r"Cdpd\w+\n", alert)
        assert re.search(r"labels: \{ severity: (page|ticket) \}", alert), alert
        assert re.search(r'summary: ".+"', alert), alert
        assert re.search(r'description: ".+"', alert), alert


def test_commands_that_an_alert_names_exist() -> None:
    named = set(re.findall(r"`cdpd (\w+)", RULES))
    assert named <= set(BUILT_IN)


def test_prometheus_itself_takes_the_rules() -> None:
    promtool = program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "rules", ETC / "prometheus-alerts.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_prometheus_itself_finds_nothing_wrong_with_the_text() -> None:
    promtool = program("promtool", "prometheus")
    _, text = exposition([], "")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
