//! The metrics of the response cache: for models under Triton's names, the memory of all, and the use of Redis.

use super::page::{Kind, Page};
use super::versions::VersionNumbers;
use wisp_protocol::statistics::Sums;
use wisp_serving::Serving;
use wisp_serving::response_cache::redis_counts::RedisCounts;

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

const REDIS: &str = "wisp_response_cache_redis_operations_total";

/// Writes the families of all versions.
pub(super) fn write(page: &mut Page, versions: &[VersionNumbers]) {
    for (name, help, number) in COUNTERS {
        page.family(Kind::Counter, name, help);
        for version in versions {
            let number = number(&version.totals.sums);
            version.counter(page, (name, number), &[]);
        }
    }
}

/// Writes the memory of the cache.
pub(super) fn write_memory(page: &mut Page, serving: &Serving) {
    let help = "Bytes of the responses that are remembered";
    let bytes = serving.cache().bytes();
    page.single(Kind::Gauge, ("wisp_response_cache_bytes", help), bytes);
    write_redis(page, serving.cache().redis_counts());
}

/// Writes the operations on Redis, which are none without one.
fn write_redis(page: &mut Page, counts: Option<RedisCounts>) {
    let help = "Operations on the Redis server of the response cache, of which those skipped were not tried in an outage";
    page.family(Kind::Counter, REDIS, help);
    let Some(RedisCounts {
        answered,
        failed,
        skipped,
    }) = counts
    else {
        return;
    };
    for (outcome, count) in [
        ("answered", answered),
        ("failed", failed),
        ("skipped", skipped),
    ] {
        page.sample(REDIS, &[("outcome", outcome)], count);
    }
}
