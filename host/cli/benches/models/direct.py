"""onnxruntime called directly: for each line `BATCH SECONDS` that is read, compute for so long, and print one of JSON."""

import json
import statistics
import sys
import time

import graph

row = (graph.DIRECTORY / "inputs.bin").read_bytes()


def batch_of(size):
    inputs = graph.from_bytes(row)
    return {name: array.repeat(size, axis=0) for name, array in inputs.items()} if size > 1 else inputs


def measure(inputs, seconds):
    """The times of single runs and of the processor for each, in microseconds."""
    run, now = graph.session.run, time.perf_counter_ns
    times, processor = [], time.process_time_ns()
    last = now()
    end = last + seconds * 1e9
    while last < end:
        run(None, inputs)
        done = now()
        times.append(done - last)
        last = done
    processor = (time.process_time_ns() - processor) / len(times)
    return {
        "median": statistics.median(times) / 1e3,
        "p99": sorted(times)[len(times) * 99 // 100] / 1e3,
        "cpu": processor / 1e3,
    }


for line in sys.stdin:
    size, seconds = line.split()
    print(json.dumps(measure(batch_of(int(size)), float(seconds))), flush=True)
