"""What is counted as plain numbers is told as Prometheus reads it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from base.tally import Count, Durations


def told(registry):
    """Every sample by its name and labels."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_counts_are_told_by_their_labels():
    registry = CollectorRegistry()
    count = Count("things", "Things.", ["kind"], registry=registry)
    kept = count.labels("a")
    kept.inc()
    count.labels("a").inc(2)
    count.labels('"b"\n').inc()
    found = told(registry)
    assert found["things_total", ("kind", "a")] == 3
    assert found["things_total", ("kind", '"b"\n')] == 1
    with pytest.raises(ValueError, match="things"):
        count.labels("a", "b")


def test_a_duration_stands_in_its_bucket_and_in_every_larger_one():
    registry = CollectorRegistry()
    durations = Durations("waits", "Waits.", (0.1, 1.0), registry=registry)
    for seconds in (0.05, 0.1, 0.5, 3.0):
        durations.observe(seconds)
    found = told(registry)
    buckets = [found["waits_bucket", ("le", bound)] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert found[("waits_count",)] == 4
    assert found[("waits_sum",)] == pytest.approx(3.65)
