//! The metrics of the response cache: those of models under Triton's names, and the memory of all.

use super::page::{Kind, Page};
use super::versions::VersionNumbers;
use wisp_protocol::statistics::Sums;
use wisp_serving::Serving;

/// A number of the cache.
type Number = fn(&Sums) -> u64;

const COUNTERS: [(&str, &str, Number); 4] = [
    (
        "nv_cache_num_hits_per_model",
        "Number of cache hits per model",
        |sums| sums.cache_hit.count,
    ),
    (
        "nv_cache_num_misses_per_model",
        "Number of cache misses per model",
        |sums| sums.cache_miss.count,
    ),
    (
        "nv_cache_hit_duration_per_model",
        "Total cache hit duration per model in microseconds",
        |sums| sums.cache_hit.nanoseconds / 1_000,
    ),
    (
        "nv_cache_miss_duration_per_model",
        "Total cache miss duration per model in microseconds",
        |sums| sums.cache_miss.nanoseconds / 1_000,
    ),
];

/// Writes the families of all versions.
pub(super) fn write(page: &mut Page, versions: &[VersionNumbers]) {
    for (name, help, number) in COUNTERS {
        page.family(Kind::Counter, name, help);
        for version in versions {
            let number = number(&version.totals.sums);
            if version.has_counter(number) {
                version.labelled(&[], |labels| page.sample(name, labels, number));
            }
        }
    }
}

/// Writes the memory of the cache.
pub(super) fn write_memory(page: &mut Page, serving: &Serving) {
    let help = "Bytes of the responses that are remembered";
    let bytes = serving.cache().bytes();
    page.single(Kind::Gauge, ("wisp_response_cache_bytes", help), bytes);
}
