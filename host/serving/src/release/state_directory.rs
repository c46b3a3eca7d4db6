//! The directory with the records of releases, one JSON file for each model.
//!
//! A file is replaced as a whole, and synchronized before that, so that an end of the process at any moment leaves the
//! record before a change or the one after it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use wisp_backend::bounded_file::read_regular;
use wisp_protocol::call::ModelName;
use wisp_protocol::release::ReleaseRecord;

/// The size limit of a record. Those that are written have a few KiB.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// The ending of the records.
const ENDING: &str = "json";

/// The directory of the records. Lifetime: the process.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    /// Held while a record is written, so that the last change is the one that stays.
    writing: Mutex<()>,
}

impl StateDirectory {
    pub(super) fn new(path: PathBuf) -> StateDirectory {
        StateDirectory {
            path,
            writing: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record that `record` returns once it is its turn, if it returns one.
    pub(super) fn write(&self, record: impl FnOnce() -> Option<ReleaseRecord>) -> io::Result<()> {
        // The lock guards no value, so a poisoned one is as good.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = record() else {
            return Ok(());
        };
        fs::create_dir_all(&self.path)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(&record.text())?;
        file.as_file().sync_all()?;
        file.persist(self.file(&record.model))?;
        self.synchronize()
    }

    /// Removes the record of a model, if there is one.
    pub(super) fn remove(&self, model: &ModelName) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(self.file(model.as_str())) {
            Ok(()) => self.synchronize(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the models with a record, and the records that can be read.
    pub(super) fn read(&self) -> io::Result<Vec<(ModelName, Option<ReleaseRecord>)>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != ENDING) {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(Ok(model)) = stem.map(ModelName::new) else {
                continue;
            };
            let text = read_regular(&path, MAX_RECORD_BYTES).ok();
            let record = text.and_then(|text| ReleaseRecord::parse(&text, &model));
            records.push((model, record));
        }
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(records)
    }

    fn file(&self, model: &str) -> PathBuf {
        // The name of a model is a valid name of a file.
        self.path.join(format!("{model}.{ENDING}"))
    }

    fn synchronize(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::Version;
    use wisp_protocol::release::{Phase, ReleaseSettings, ReleaseStart};

    fn record(model: &ModelName) -> ReleaseRecord {
        let start = ReleaseStart {
            candidate: Version::from_decimal("2").unwrap(),
            stable: None,
            settings: ReleaseSettings::default(),
        };
        ReleaseRecord::new(model, Version::FIRST, start)
    }

    #[test]
    fn the_last_record_of_each_model_is_read_and_a_damaged_one_is_reported() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a/b");
        let state = StateDirectory::new(path.clone());
        assert!(state.read()?.is_empty());
        let (m, n) = (ModelName::new("m")?, ModelName::new("n")?);
        state.write(|| Some(record(&m)))?;
        state.write(|| None)?;
        let mut promoted = record(&m);
        promoted.phase = Phase::Promoted;
        state.write(|| Some(promoted.clone()))?;
        fs::write(path.join("n.json"), "{")?;
        fs::write(path.join("readme.txt"), "")?;
        assert_eq!(state.read()?, [(m.clone(), Some(promoted)), (n, None)]);
        state.remove(&m)?;
        state.remove(&m)?;
        assert_eq!(state.read()?.len(), 1);
        let files = fs::read_dir(&path)?.count();
        assert_eq!(files, 2, "a temporary file is left");
        Ok(())
    }
}
