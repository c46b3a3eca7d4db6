#!/usr/bin/env python3
"""Check a page of metrics with the parser of Prometheus' own client, and print its samples as JSON.

    metrics_page.py FILE

Prints a list of [name, labels, value]. The rules that the parser leaves to the reader are checked here: a family occurs
once, a series once in it, and the buckets of a histogram ascend up to its count.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

text = Path(sys.argv[1]).read_text(encoding="utf-8")
families = list(text_string_to_metric_families(text))
headings = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
assert len(headings) == len(set(headings)), "a family occurs twice"
assert len(families) == len(headings), "a sample belongs to no family"

samples = []
for family in families:
    assert family.type in ("counter", "gauge", "histogram"), family
    assert family.documentation, family.name
    seen = set()
    histograms = defaultdict(list)
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, key
        seen.add(key)
        # The parser adds a suffix to the names of counters that lack it.
        name = family.name if family.name in headings and family.type == "counter" else sample.name
        samples.append([name, sample.labels, sample.value])
        assert sample.value >= 0, sample
        if family.type == "histogram":
            rest = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            histograms[rest].append(sample)
        else:
            assert sample.name in (family.name, family.name + "_total"), sample
    for series in histograms.values():
        buckets = [(float(s.labels["le"]), s.value) for s in series if s.name.endswith("_bucket")]
        counts = [s.value for s in series if s.name.endswith("_count")]
        sums = [s.value for s in series if s.name.endswith("_sum")]
        assert buckets == sorted(buckets), buckets
        assert [count for _, count in buckets] == sorted(count for _, count in buckets), buckets
        assert buckets[-1] == (float("inf"), counts[0]), buckets
        assert len(counts) == len(sums) == 1, series

print(json.dumps(samples))
