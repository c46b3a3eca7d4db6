//! The metrics of the sandbox: instances of handlers and web components, their time, memory and traps.

use super::page::{Kind, Page};
use super::versions::VersionNumbers;
use wisp_serving::Serving;

const INSTANCES: &str = "wisp_sandbox_instances_created_total";

const INSTANTIATION: &str = "wisp_sandbox_instantiation_seconds_total";

const TIME: &str = "wisp_sandbox_guest_seconds_total";

const MEMORY: &str = "wisp_sandbox_peak_memory_bytes";

const TRAPS: &str = "wisp_sandbox_traps_total";

/// Writes the families of the versions in which guests run.
pub(super) fn write(page: &mut Page, versions: &[VersionNumbers]) {
    let has_guest = |version: &&VersionNumbers| version.has_guest;
    page.family(
        Kind::Counter,
        INSTANCES,
        "Number of instances created, each for one call",
    );
    for version in versions.iter().filter(has_guest) {
        let instances = version.totals.guests.instances;
        version.labelled(&[], |labels| page.sample(INSTANCES, labels, instances));
    }
    page.family(
        Kind::Counter,
        INSTANTIATION,
        "Time in seconds in which instances were created, a part of the running time of the guests",
    );
    for version in versions.iter().filter(has_guest) {
        let seconds = version.totals.guests.instantiation.as_secs_f64();
        version.labelled(&[], |labels| page.sample(INSTANTIATION, labels, seconds));
    }
    page.family(
        Kind::Counter,
        TIME,
        "Running time of the guests' own code in seconds",
    );
    for version in versions.iter().filter(has_guest) {
        let seconds = version.totals.guests.time.as_secs_f64();
        version.labelled(&[], |labels| page.sample(TIME, labels, seconds));
    }
    page.family(
        Kind::Gauge,
        MEMORY,
        "Largest linear memory of one instance so far in bytes",
    );
    let is_loaded = |version: &&VersionNumbers| version.is_loaded;
    for version in versions.iter().filter(has_guest).filter(is_loaded) {
        let bytes = version.totals.guests.peak_memory_bytes;
        version.labelled(&[], |labels| page.sample(MEMORY, labels, bytes));
    }
    page.family(
        Kind::Counter,
        TRAPS,
        "Number of calls that a trap or a limit of the guest ended, by cause",
    );
    for version in versions.iter().filter(has_guest) {
        for (cause, count) in version.totals.guests.traps() {
            version.counter(page, (TRAPS, count), &[("cause", cause.name())]);
        }
    }
}

/// Writes the number of instances that are alive now.
pub(super) fn write_live(page: &mut Page, serving: &Serving) {
    let help = "Instances that are alive now, except in inline calls";
    let live = serving.live_instances();
    page.single(Kind::Gauge, ("wisp_sandbox_live_instances", help), live);
}
