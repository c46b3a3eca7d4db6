//! Compares a Worker with the limits of Cloudflare.
//!
//! The figures are those that Cloudflare documents: <https://developers.cloudflare.com/workers/platform/limits/>.

use crate::display;
use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use wasmparser::{Parser, Payload};

/// The largest Worker, compressed with gzip, of an account that pays.
const MAX_GZIPPED: usize = 10 << 20;

/// The largest Worker, compressed with gzip, of an account that does not pay.
const MAX_GZIPPED_FREE: usize = 3 << 20;

/// The memory of all instances of a Worker in one isolate.
const MAX_MEMORY: u64 = 128 << 20;

/// The size of a page of memory, unless a module sets another.
const PAGE_BYTES_LOG2: u32 = 16;

/// Refuses a Worker whose modules are too large, and returns a warning if only accounts that pay may have it.
pub(super) fn check_size<'a>(
    modules: impl Iterator<Item = &'a [u8]>,
) -> anyhow::Result<Option<String>> {
    check_gzipped(gzipped_bytes(modules)?)
}

fn check_gzipped(bytes: usize) -> anyhow::Result<Option<String>> {
    if bytes > MAX_GZIPPED {
        bail!(
            "the Worker has {} compressed with gzip, and Cloudflare accepts {}: bundle a smaller model, or use \
             another host",
            shown(bytes),
            shown(MAX_GZIPPED)
        );
    }
    Ok((bytes > MAX_GZIPPED_FREE).then(|| {
        format!(
            "the Worker has {} compressed with gzip, more than the {} of Cloudflare's free plan",
            shown(bytes),
            shown(MAX_GZIPPED_FREE)
        )
    }))
}

fn gzipped_bytes<'a>(modules: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for module in modules {
        encoder.write_all(module)?;
    }
    Ok(encoder.finish()?.len())
}

/// Refuses a component whose instance needs more memory than a Worker has, and returns a warning if two instances do:
/// the memory of an old instance is in use until V8 collects it.
pub(super) fn check_memory(
    component: &[u8],
    keeps_instance: bool,
) -> anyhow::Result<Option<String>> {
    let bytes = initial_memory(component).context("the bundle is not a valid component")?;
    if bytes > MAX_MEMORY {
        bail!(
            "the bundle begins with {} of memory, and a Worker has {}: bundle a smaller model, or use another host",
            display::size(bytes),
            display::size(MAX_MEMORY)
        );
    }
    Ok((!keeps_instance && bytes.saturating_mul(2) > MAX_MEMORY).then(|| {
        format!(
            "an instance begins with {} of memory, and a Worker has {} for all that are not collected yet; \
             --keep-instance has only one",
            display::size(bytes),
            display::size(MAX_MEMORY)
        )
    }))
}

/// Returns the bytes of the memories that the core modules in the component define, each of which is instantiated
/// once.
fn initial_memory(component: &[u8]) -> anyhow::Result<u64> {
    let mut bytes: u64 = 0;
    for payload in Parser::new(0).parse_all(component) {
        let Payload::MemorySection(memories) = payload? else {
            continue;
        };
        for memory in memories {
            let memory = memory?;
            let page = 1 << memory.page_size_log2.unwrap_or(PAGE_BYTES_LOG2);
            bytes = bytes.saturating_add(memory.initial.saturating_mul(page));
        }
    }
    Ok(bytes)
}

fn shown(bytes: usize) -> String {
    display::size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_above_the_limits_is_refused_or_announced_with_the_figures() -> anyhow::Result<()> {
        assert_eq!(check_gzipped(3 << 20)?, None);
        let warning = check_gzipped((3 << 20) + 200_000)?.context("no warning")?;
        assert!(
            warning.contains("3.1 MiB") && warning.contains("3.0 MiB"),
            "{warning}"
        );
        let error = check_gzipped((10 << 20) + 200_000)
            .err()
            .context("accepted")?;
        let text = error.to_string();
        assert!(
            text.contains("10.1 MiB") && text.contains("10.0 MiB"),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn modules_are_compressed_together() -> anyhow::Result<()> {
        let module = [3; 10_000];
        let size = gzipped_bytes([&module[..], &module[..]].into_iter())?;
        assert!(size > 0 && size < 1_000, "{size}");
        Ok(())
    }

    fn component(pages: u32) -> anyhow::Result<Vec<u8>> {
        Ok(wat::parse_str(format!(
            "(component (core module (memory {pages})) (component (core module (memory 16))))"
        ))?)
    }

    #[test]
    fn the_memories_of_all_modules_count() -> anyhow::Result<()> {
        assert_eq!(initial_memory(&component(16)?)?, 2 << 20);
        assert_eq!(check_memory(&component(16)?, false)?, None);
        let half = component(1024)?;
        let warning = check_memory(&half, false)?.context("no warning")?;
        assert!(warning.contains("65.0 MiB"), "{warning}");
        assert_eq!(check_memory(&half, true)?, None);
        let error = check_memory(&component(2048)?, true)
            .err()
            .context("accepted")?;
        assert!(error.to_string().contains("129.0 MiB"), "{error}");
        Ok(())
    }
}
