//! The stored cost of a graph's batches with one backend, so that a second load measures nothing.
//!
//! A record lies beside the selections of backends, under the hash of the graph's files and settings. It is used only
//! for the version of the backend that it was measured with.

use super::{BackendSelectionStore, MAX_RECORD_BYTES, write_text};
use crate::cost_curve::{CostCurve, CostPoint};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wisp_backend::Backend;
use wisp_backend::bounded_file::read_regular_text;

/// The version of the way in which batches are measured. Records of another version are not used.
const FORMAT: u32 = 1;

/// The place of a record.
#[derive(Debug)]
struct CurveRecord {
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
    rows: Vec<u32>,
    nanoseconds: Vec<u64>,
}

impl BackendSelectionStore {
    /// Returns the cost of the batches of a graph with this backend, as it was measured before. Measures it now and
    /// stores it if there is none. The key is the hash of the graph's files and settings.
    pub(crate) fn cost_curve(
        &self,
        key: &str,
        backend: &dyn Backend,
        measure: &dyn Fn() -> Option<CostCurve>,
    ) -> Option<CostCurve> {
        let Some(record) = self.curve_record(key, backend) else {
            return measure();
        };
        if let Some(curve) = record.read() {
            return Some(curve);
        }
        let curve = measure()?;
        if let Err(error) = record.write(&curve)
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %record.path.display(),
                error = &error as &dyn std::error::Error,
                "the costs of batches cannot be stored, so every load measures them again"
            );
        }
        Some(curve)
    }

    /// Returns the cost of the batches of a graph with this backend, if it was measured and stored.
    pub(crate) fn stored_cost_curve(&self, key: &str, backend: &dyn Backend) -> Option<CostCurve> {
        self.curve_record(key, backend)?.read()
    }

    /// Returns the place of the record, if records are stored.
    fn curve_record(&self, key: &str, backend: &dyn Backend) -> Option<CurveRecord> {
        let directory = self.directory.as_ref()?;
        Some(CurveRecord {
            path: directory.join(format!("{key}.{}.batches.toml", backend.name())),
            version: backend.version(),
        })
    }
}

// === impl CurveRecord ===

impl CurveRecord {
    /// Returns the stored cost; `None` if there is none, or it is invalid or of another version.
    fn read(&self) -> Option<CostCurve> {
        let text = read_regular_text(&self.path, MAX_RECORD_BYTES).ok()?;
        let stored: Stored = toml::from_str(&text).ok()?;
        let is_current = stored.format == FORMAT && stored.version == self.version;
        if !is_current || stored.rows.len() != stored.nanoseconds.len() {
            return None;
        }
        let points = stored.rows.into_iter().zip(stored.nanoseconds);
        let points = points.map(|(rows, nanoseconds)| CostPoint {
            rows,
            took: Duration::from_nanos(nanoseconds),
        });
        CostCurve::of_measured(points.collect())
    }

    fn write(&self, curve: &CostCurve) -> io::Result<()> {
        let points = curve.points.iter();
        let nanoseconds = points.map(|point| u64::try_from(point.took.as_nanos()));
        let nanoseconds: Result<Vec<u64>, _> = nanoseconds.collect();
        let stored = Stored {
            format: FORMAT,
            version: self.version.clone(),
            rows: curve.points.iter().map(|point| point.rows).collect(),
            nanoseconds: nanoseconds.map_err(io::Error::other)?,
        };
        let text = toml::to_string(&stored).map_err(io::Error::other)?;
        write_text(&self.path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
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

    fn curve(points: &[(u32, u64)]) -> CostCurve {
        let points = points.iter().map(|&(rows, microseconds)| CostPoint {
            rows,
            took: Duration::from_micros(microseconds),
        });
        CostCurve {
            points: points.collect(),
        }
    }

    /// Loads of a graph that costs the same in each measurement.
    struct Loads {
        measured: CostCurve,
        measurements: Cell<usize>,
    }

    impl Loads {
        fn of(points: &[(u32, u64)]) -> Loads {
            Loads {
                measured: curve(points),
                measurements: Cell::new(0),
            }
        }

        /// Loads the graph, and returns the number of measurements so far.
        fn load(&self, store: &BackendSelectionStore, key: &str, backend: &Empty) -> usize {
            let measure = || {
                self.measurements.set(self.measurements.get() + 1);
                Some(self.measured.clone())
            };
            let found = store.cost_curve(key, backend, &measure);
            assert_eq!(found.as_ref(), Some(&self.measured));
            self.measurements.get()
        }
    }

    #[test]
    fn a_second_start_measures_only_other_graphs_and_backends() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let start = || BackendSelectionStore::new(directory.path().join("decisions"));
        let loads = Loads::of(&[(1, 7), (2, 9), (4, 12)]);
        assert_eq!(start().stored_cost_curve("a", &BACKEND), None);
        assert_eq!(loads.load(&start(), "a", &BACKEND), 1);
        assert_eq!(loads.load(&start(), "a", &BACKEND), 1);
        let stored = start().stored_cost_curve("a", &BACKEND);
        assert_eq!(stored.as_ref(), Some(&loads.measured));
        assert_eq!(loads.load(&start(), "b", &BACKEND), 2);
        let other = Empty {
            name: "other",
            ..BACKEND
        };
        assert_eq!(loads.load(&start(), "a", &other), 3);
        let newer = Empty {
            version: "2",
            ..BACKEND
        };
        assert_eq!(loads.load(&start(), "a", &newer), 4);
        assert_eq!(loads.load(&start(), "a", &newer), 4);
        Ok(())
    }

    #[test]
    fn a_record_that_no_measurement_has_written_is_measured_again() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let store = BackendSelectionStore::new(directory.path().to_owned());
        let loads = Loads::of(&[(1, 7), (2, 9)]);
        loads.load(&store, "a", &BACKEND);
        let path = directory.path().join("a.one.batches.toml");
        let valid = std::fs::read_to_string(&path)?;
        for (before, after) in [
            ("format = 1", "format = 0"),
            ("rows = [1, 2]", "rows = [1]"),
            ("rows = [1, 2]", "rows = [2, 1]"),
            ("rows = [1, 2]", "rows = [1, 4000000000]"),
            ("[7000, 9000]", "[7000, -1]"),
            ("version = ", "verse = "),
        ] {
            let changed = valid.replace(before, after);
            assert_ne!(changed, valid, "{before}");
            std::fs::write(&path, changed)?;
            assert_eq!(store.stored_cost_curve("a", &BACKEND), None, "{after}");
        }
        assert_eq!(loads.load(&store, "a", &BACKEND), 2);
        assert_eq!(std::fs::read_to_string(&path)?, valid);
        Ok(())
    }

    #[test]
    fn what_cannot_be_stored_or_measured_ends_no_load() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("file");
        std::fs::write(&file, "")?;
        let loads = Loads::of(&[(1, 7)]);
        for store in [
            BackendSelectionStore::new(file.join("decisions")),
            BackendSelectionStore::in_memory(),
        ] {
            let before = loads.measurements.get();
            assert_eq!(loads.load(&store, "a", &BACKEND), before + 1);
            assert_eq!(loads.load(&store, "a", &BACKEND), before + 2);
            assert_eq!(store.cost_curve("a", &BACKEND, &|| None), None);
        }
        Ok(())
    }
}
