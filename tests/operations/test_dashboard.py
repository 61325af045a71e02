"""The dashboard and the alerts ask for numbers that a relay has, by labels and values that it gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from protocol.errors import BY_CODE
from protocol.limits import RelayLimits
from relay.core import counts
from relay.core.counts import Counts, Gauges
from relay.metrics import PREFIX, RelayCollector
from relay.watch import Observation

PACKAGING: Final = Path(__file__).parents[2] / "packaging"
DASHBOARD: Final = json.loads((PACKAGING / "grafana/backchannel-relay.json").read_text())
RULES: Final = (PACKAGING / "prometheus/backchannel-relay.rules.yml").read_text()
FOREIGN: Final = {"instance", "job"}
"""Labels that Prometheus itself gives."""


def exported() -> dict[str, set[str]]:
    """Return the labels of each sample's name that a relay gives."""
    busy = Counts()
    for counter in (busy.requests, busy.refused, busy.cut, busy.evicted, busy.evicted_bytes):
        counter["x"] += 1
    latest = Observation(0.0, busy, Gauges(*[0] * len(Gauges.__slots__)), 0, 0)
    registry = CollectorRegistry()
    registry.register(RelayCollector(lambda: latest, RelayLimits(), lambda: 0.0))
    ProcessCollector(registry=registry)
    found: dict[str, set[str]] = {"up": set()}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked += [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]
    return asked + re.findall(r"expr: (.*)", RULES)


NAMES: Final = exported()


@pytest.mark.parametrize("expression", expressions())
def test_every_number_and_label_exists(expression):
    asked = re.findall(rf"\b({PREFIX}\w+|process_\w+|up\b)(?:\{{([^}}]*)\}})?", expression)
    assert asked
    for name, selectors in asked:
        assert name in NAMES
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", selectors or ""))
        assert labels <= NAMES[name] | FOREIGN
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        given = set().union(*(NAMES[name] for name, _ in asked))
        assert {label.strip() for label in grouped.split(",")} <= given | FOREIGN


def test_every_value_of_a_label_exists():
    known = set(BY_CODE) | set(RelayLimits.__dataclass_fields__)
    known |= {value for name, value in vars(counts).items() if name.isupper()}
    for expression in expressions():
        for value in re.findall(r'(?:code|reason|limit)="([^"]*)"', expression):
            assert value in known


def test_every_number_of_ours_is_on_the_dashboard_or_in_an_alert():
    together = "\n".join(expressions())
    unseen = {name for name in NAMES if name.startswith(PREFIX) and name not in together}
    assert unseen <= {
        f"{PREFIX}received_frames_total",
        f"{PREFIX}sent_frames_total",
        f"{PREFIX}statements_appended_total",
        f"{PREFIX}accepted_connections_total",
        f"{PREFIX}evicted_bytes_total",
    }


def test_the_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
