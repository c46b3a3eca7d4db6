//! The metrics of the connections of clients, without those for metrics.

use super::page::{Kind, Page};
use crate::connection_counts::ConnectionCounts;

/// Writes the families.
pub(super) fn write(page: &mut Page, connections: &ConnectionCounts, max: usize) {
    page.single(
        Kind::Gauge,
        ("wisp_connections_open", "Open connections"),
        connections.open(),
    );
    page.single(
        Kind::Gauge,
        ("wisp_connections_max", "Limit on open connections"),
        max,
    );
    page.single(
        Kind::Counter,
        ("wisp_connections_accepted_total", "Connections served"),
        connections.accepted(),
    );
    let help = "Connections refused because there were too many";
    page.single(
        Kind::Counter,
        ("wisp_connections_refused_total", help),
        connections.refused(),
    );
}
