//! Tests of bundles under `jco serve`, a host on Node.js and so on V8.

use super::server_process::ServerProcess;
use super::{EXAMPLES, bundle_of, compare_answers};
use crate::harness::root;
use crate::node;
use anyhow::{Context, Result};
use tempfile::TempDir;

/// A server of jco, and the directory of the JavaScript that it has made of the bundle.
#[derive(Debug)]
struct JcoServer {
    // Dropped before the directory.
    host: ServerProcess,
    _directory: TempDir,
}

impl JcoServer {
    fn start(example: &str) -> Result<JcoServer> {
        let directory = tempfile::tempdir()?;
        let jco = node::edge_packages()?.join("@bytecodealliance/jco/dist/jco.js");
        let preloaded = root().join("tests/fixtures/edge/listening.mjs");
        let preloaded = preloaded.to_str().context("a path that is not Unicode")?;
        let mut command = node::node()?;
        command
            // Also for the processes and threads that jco starts.
            .env("NODE_OPTIONS", format!("--import=\"{preloaded}\""))
            .arg(jco)
            .arg("serve")
            .arg(bundle_of(example)?)
            .args(["--host", "127.0.0.1", "--port", "0", "--jco-dir"])
            .arg(directory.path());
        let port = |line: &str| line.strip_prefix("listening on port ")?.trim().parse().ok();
        Ok(JcoServer {
            host: ServerProcess::start(&mut command, port)?,
            _directory: directory,
        })
    }
}

#[test]
fn jco_serves_bundles_that_answer_as_the_server_does() -> Result<()> {
    for example in EXAMPLES {
        let server = JcoServer::start(example).context(example)?;
        compare_answers(example, server.host.address()).context(example)?;
    }
    Ok(())
}
