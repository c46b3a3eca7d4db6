//! The limit on the size of a bundled model.

use crate::display;
use anyhow::bail;

/// Refuses a model of this size if it is above the limit.
pub(super) fn check_size(bytes: usize, limit: usize) -> anyhow::Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    let figures = |bytes: usize| {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        format!("{} ({} bytes)", display::size(bytes), display::count(bytes))
    };
    bail!(
        "the model has {}, the limit of a bundle is {}: every host loads all of it; --max-model-bytes raises the limit",
        figures(bytes),
        figures(limit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_model_above_the_limit_is_refused_with_the_figures() -> anyhow::Result<()> {
        check_size(256 << 20, 256 << 20)?;
        let error = check_size((256 << 20) + 1, 256 << 20).err();
        let error = error.context("accepted")?.to_string();
        for figure in ["268,435,457", "256.0 MiB", "--max-model-bytes"] {
            assert!(error.contains(figure), "{error}");
        }
        Ok(())
    }
}
