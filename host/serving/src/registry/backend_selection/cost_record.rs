//! The stored cost of a graph's batches with one backend, so that a second load measures nothing.
//!
//! A record is stored beside the selections of backends, under the hash of the graph's files and settings. It is used only
//! for the version of the backend that it was measured with.

use super::{BackendSelectionStore, MAX_RECORD_BYTES, write_text};
use crate::cost_curve::{CostCurve, CostPoint, GraphCost};
use crate::registry::record_name::record_name;
use serde::{Deserialize, Serialize};
use std::io;
use std::num::{NonZeroUsize, TryFromIntError};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wisp_backend::Backend;
use wisp_backend::bounded_file::read_regular_text;

/// The version of the measurement of batches. Records of another version are not used.
const FORMAT: u32 = 1;

/// The place of a record.
#[derive(Debug)]
struct CostRecord {
    path: PathBuf,
    /// The version of the backend.
    version: String,
}

/// The content of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    /// The version of the backend.
    version: String,
    has_variable_rows: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preparation_capacity: Option<NonZeroUsize>,
    curves: Vec<StoredCurve>,
}

/// The times for rows of one size.
#[derive(Debug, Serialize, Deserialize)]
struct StoredCurve {
    row_elements: u64,
    rows: Vec<u32>,
    nanoseconds: Vec<u64>,
}

impl BackendSelectionStore {
    /// Returns the cost of the batches of a graph with this backend, if it was measured and stored. The key is the hash
    /// of the graph's files and settings.
    pub(crate) fn stored_cost(&self, key: &str, backend: &dyn Backend) -> Option<GraphCost> {
        self.cost_record(key, backend)?.read()
    }

    /// Stores the cost of the batches of a graph, as far as costs are stored. A failure is logged once: the model is
    /// served anyway.
    pub(crate) fn store_cost(&self, key: &str, backend: &dyn Backend, cost: &GraphCost) {
        let Some(record) = self.cost_record(key, backend) else {
            return;
        };
        if let Err(error) = record.write(cost)
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %record.path.display(),
                error = &error as &dyn std::error::Error,
                "the costs of batches cannot be stored, so every load measures them again"
            );
        }
    }

    /// Returns the place of the record, if records are stored.
    fn cost_record(&self, key: &str, backend: &dyn Backend) -> Option<CostRecord> {
        let directory = self.directory.as_ref()?;
        let key = record_name(key, &self.tenant);
        Some(CostRecord {
            path: directory.join(format!("{key}.{}.batches.toml", backend.name())),
            version: backend.version(),
        })
    }
}

// === impl CostRecord ===

impl CostRecord {
    /// Returns the stored cost; `None` if there is none, or it is invalid or of another version.
    fn read(&self) -> Option<GraphCost> {
        let text = read_regular_text(&self.path, MAX_RECORD_BYTES).ok()?;
        let stored: Stored = toml::from_str(&text).ok()?;
        if stored.format != FORMAT || stored.version != self.version {
            return None;
        }
        let curves = stored.curves.into_iter().map(StoredCurve::curve);
        let curves: Option<Vec<CostCurve>> = curves.collect();
        let cost = GraphCost {
            curves: curves?,
            has_variable_rows: stored.has_variable_rows,
            preparation_capacity: stored.preparation_capacity,
        };
        cost.is_valid().then_some(cost)
    }

    fn write(&self, cost: &GraphCost) -> io::Result<()> {
        let curves = cost.curves.iter().map(StoredCurve::new);
        let curves: Result<Vec<StoredCurve>, TryFromIntError> = curves.collect();
        let stored = Stored {
            format: FORMAT,
            version: self.version.clone(),
            has_variable_rows: cost.has_variable_rows,
            preparation_capacity: cost.preparation_capacity,
            curves: curves.map_err(io::Error::other)?,
        };
        let text = toml::to_string(&stored).map_err(io::Error::other)?;
        write_text(&self.path, &text)
    }
}

// === impl StoredCurve ===

impl StoredCurve {
    fn new(curve: &CostCurve) -> Result<StoredCurve, TryFromIntError> {
        let points = curve.points.iter();
        let nanoseconds = points.map(|point| u64::try_from(point.took.as_nanos()));
        let nanoseconds: Result<Vec<u64>, TryFromIntError> = nanoseconds.collect();
        Ok(StoredCurve {
            row_elements: curve.row_elements,
            rows: curve.points.iter().map(|point| point.rows).collect(),
            nanoseconds: nanoseconds?,
        })
    }

    /// Returns the times; `None` unless there is one for each number of rows.
    fn curve(self) -> Option<CostCurve> {
        if self.rows.len() != self.nanoseconds.len() {
            return None;
        }
        let points = self.rows.into_iter().zip(self.nanoseconds);
        let points = points.map(|(rows, nanoseconds)| CostPoint {
            rows,
            took: Duration::from_nanos(nanoseconds),
        });
        Some(CostCurve {
            row_elements: self.row_elements,
            points: points.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use wisp_backend::{BackendError, Graph, LoadOptions, ModelSource};

    /// A backend that loads nothing.
    #[derive(Debug)]
    struct Empty {
        name: &'static str,
        version: &'static str,
    }

    impl Backend for Empty {
        fn name(&self) -> &'static str {
            self.name
        }

        fn version(&self) -> String {
            self.version.to_owned()
        }

        fn load(
            &self,
            _: ModelSource<'_>,
            _: &LoadOptions,
        ) -> Result<Arc<dyn Graph>, BackendError> {
            Err(BackendError::Cancelled)
        }
    }

    const BACKEND: Empty = Empty {
        name: "one",
        version: "1",
    };

    fn curve(row_elements: u64, points: &[(u32, u64)]) -> CostCurve {
        let points = points.iter().map(|&(rows, microseconds)| CostPoint {
            rows,
            took: Duration::from_micros(microseconds),
        });
        CostCurve {
            row_elements,
            points: points.collect(),
        }
    }

    fn fixed(points: &[(u32, u64)]) -> GraphCost {
        GraphCost {
            curves: vec![curve(13, points)],
            has_variable_rows: false,
            preparation_capacity: NonZeroUsize::new(64),
        }
    }

    #[test]
    fn a_cost_is_stored_for_one_graph_with_one_version_of_a_backend() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let start = || BackendSelectionStore::new(directory.path().join("decisions"));
        let cost = fixed(&[(1, 7), (2, 9), (4, 12)]);
        assert_eq!(start().stored_cost("a", &BACKEND), None);
        start().store_cost("a", &BACKEND, &cost);
        assert_eq!(start().stored_cost("a", &BACKEND), Some(cost));
        assert_eq!(start().stored_cost("b", &BACKEND), None);
        let other = Empty {
            name: "other",
            ..BACKEND
        };
        assert_eq!(start().stored_cost("a", &other), None);
        let newer = Empty {
            version: "2",
            ..BACKEND
        };
        assert_eq!(start().stored_cost("a", &newer), None);
        let again = fixed(&[(1, 5)]);
        start().store_cost("a", &newer, &again);
        assert_eq!(start().stored_cost("a", &newer), Some(again));
        Ok(())
    }

    #[test]
    fn a_cost_is_stored_for_one_tenant() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let public = BackendSelectionStore::new(directory.path().to_owned());
        let (acme, other) = (public.of_tenant("acme"), public.of_tenant("other"));
        acme.store_cost("a", &BACKEND, &fixed(&[(1, 7)]));
        for store in [&public, &other] {
            assert_eq!(store.stored_cost("a", &BACKEND), None);
        }
        public.store_cost("a", &BACKEND, &fixed(&[(1, 5)]));
        for (store, expected) in [(&acme, Some(7)), (&public, Some(5)), (&other, None)] {
            let expected = expected.map(|took| fixed(&[(1, took)]));
            assert_eq!(store.stored_cost("a", &BACKEND), expected);
        }
        Ok(())
    }

    #[test]
    fn the_costs_of_rows_of_several_sizes_are_stored() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let store = BackendSelectionStore::new(directory.path().to_owned());
        let cost = GraphCost {
            curves: vec![
                curve(8, &[(1, 100), (2, 120), (4, 160)]),
                curve(32, &[(1, 300), (2, 700)]),
            ],
            has_variable_rows: true,
            preparation_capacity: None,
        };
        store.store_cost("a", &BACKEND, &cost);
        assert_eq!(store.stored_cost("a", &BACKEND), Some(cost));
        Ok(())
    }

    #[test]
    fn a_record_that_no_measurement_has_written_is_not_used() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let store = BackendSelectionStore::new(directory.path().to_owned());
        let cost = fixed(&[(1, 7), (2, 9)]);
        store.store_cost("a", &BACKEND, &cost);
        let path = directory.path().join("a.one.batches.toml");
        let valid = std::fs::read_to_string(&path)?;
        for (before, after) in [
            ("format = 1", "format = 0"),
            ("version = ", "verse = "),
            ("rows = [1, 2]", "rows = [1]"),
            ("rows = [1, 2]", "rows = [2, 1]"),
            ("rows = [1, 2]", "rows = [1, 4000000000]"),
            ("[7000, 9000]", "[7000, -1]"),
            ("row_elements = 13", "row_elements = -1"),
            ("preparation_capacity = 64", "preparation_capacity = 0"),
            // With so few preparations, two rows are not measured.
            ("preparation_capacity = 64", "preparation_capacity = 4"),
        ] {
            let changed = valid.replace(before, after);
            assert_ne!(changed, valid, "{before}");
            std::fs::write(&path, changed)?;
            assert_eq!(store.stored_cost("a", &BACKEND), None, "{after}");
        }
        store.store_cost("a", &BACKEND, &cost);
        assert_eq!(std::fs::read_to_string(&path)?, valid);
        Ok(())
    }

    #[test]
    fn a_cost_that_cannot_be_stored_is_not_found_later() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("file");
        std::fs::write(&file, "")?;
        for store in [
            BackendSelectionStore::new(file.join("decisions")),
            BackendSelectionStore::in_memory(),
        ] {
            store.store_cost("a", &BACKEND, &fixed(&[(1, 7)]));
            assert_eq!(store.stored_cost("a", &BACKEND), None);
        }
        Ok(())
    }
}
