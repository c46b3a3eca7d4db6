//! The automatic choices of batching of the last loads, which are stored for people to read.
//!
//! Every load measures anew, so a record decides nothing. It is written if the rules differ from those of the record
//! before: the measured times differ slightly between loads, and a server that loads models on demand would otherwise
//! write a file for each load.

use crate::cost_curve::BatchingDecision;
use crate::registry::model_file::BackendChoice;
use crate::registry::shared_graphs::GraphIdentity;
use std::io::Write;
use std::path::{Path, PathBuf};
use wisp_backend::LoadOptions;
use wisp_backend::bounded_file::read_regular_text;

/// The size limit of a record in bytes; a record has two lines.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// The directory of the records. Lifetime: the process.
#[derive(Debug, Clone, Default)]
pub struct BatchingRecords {
    /// `None` if choices are not stored.
    directory: Option<PathBuf>,
}

impl BatchingRecords {
    /// Returns the records in this directory, which is created with the first one.
    pub fn new(directory: PathBuf) -> BatchingRecords {
        BatchingRecords {
            directory: Some(directory),
        }
    }

    /// Returns the text of the last choice for the graph at `path` with these settings and this `max_batch_size` of its
    /// model, if it is stored.
    pub fn explain(
        &self,
        path: &Path,
        (choice, options): (&BackendChoice, &LoadOptions),
        max_batch_size: Option<u32>,
    ) -> Option<String> {
        let identity = GraphIdentity::read(path, choice, options);
        let record = self.record(identity.key()?, max_batch_size)?;
        let text = read_regular_text(&record, MAX_RECORD_BYTES).ok()?;
        let (_, reason) = text.split_once('\n')?;
        Some(reason.trim_end().to_owned())
    }

    /// Stores the choice for the graph with this key. A failure is only logged: the model is served anyway.
    pub(crate) fn store(
        &self,
        key: Option<&str>,
        max_batch_size: Option<u32>,
        decision: &BatchingDecision,
    ) {
        let record = key.and_then(|key| self.record(key, max_batch_size));
        let Some(record) = record else {
            return;
        };
        // The rules, by which records are compared.
        let rules = format!("{:?}\n", decision.policy);
        let before = read_regular_text(&record, MAX_RECORD_BYTES);
        if before.is_ok_and(|before| before.starts_with(&rules)) {
            return;
        }
        let reason = decision.reason.replace('\n', " ");
        if let Err(error) = write(&record, &format!("{rules}{reason}\n")) {
            tracing::debug!(%error, record = %record.display(), "a choice of batching is not stored");
        }
    }

    /// Returns the path of a record, if choices are stored.
    fn record(&self, key: &str, max_batch_size: Option<u32>) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?;
        let limit = match max_batch_size {
            Some(most) => format!("-{most}"),
            None => String::new(),
        };
        Some(directory.join(format!("{key}{limit}.txt")))
    }
}

fn write(record: &Path, text: &str) -> std::io::Result<()> {
    let directory = record.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(record)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::policy::BatchPolicy;

    #[test]
    fn the_last_choice_with_other_rules_is_explained() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let records = BatchingRecords::new(directory.path().join("batching"));
        // An empty file is a message without fields.
        let graph = directory.path().join("model.onnx");
        std::fs::write(&graph, "")?;
        let (choice, options) = (BackendChoice::Auto, LoadOptions::default());
        let explain = |most| records.explain(&graph, (&choice, &options), most);
        assert_eq!(explain(None), None);
        let identity = GraphIdentity::read(&graph, &choice, &options);
        let store = |policy: Option<BatchPolicy>, reason: &str| {
            let decision = BatchingDecision {
                policy,
                reason: reason.to_owned(),
                cost: None,
            };
            records.store(identity.key(), None, &decision);
        };
        store(None, "auto: off, slow");
        assert_eq!(explain(None).as_deref(), Some("auto: off, slow"));
        // Only the figures differ.
        store(None, "auto: off, slower");
        assert_eq!(explain(None).as_deref(), Some("auto: off, slow"));
        store(Some(BatchPolicy::default()), "auto: up to 32\nrows");
        assert_eq!(explain(None).as_deref(), Some("auto: up to 32 rows"));
        assert_eq!(explain(Some(7)), None);
        std::fs::write(&graph, b"\x08\x08")?;
        assert_eq!(explain(None), None, "of another file");
        Ok(())
    }

    #[test]
    fn nothing_is_stored_without_a_directory_or_a_key() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("batching");
        let decision = BatchingDecision {
            policy: None,
            reason: "a reason".to_owned(),
            cost: None,
        };
        BatchingRecords::default().store(Some("0a"), None, &decision);
        BatchingRecords::new(path.clone()).store(None, None, &decision);
        assert!(!path.exists());
        Ok(())
    }
}
