//! Notifications to the service manager: the protocol of sd_notify(3).
//!
//! systemd sets `NOTIFY_SOCKET` for a service with `Type=notify`. Without it, nothing is sent.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use wisp_serving::Serving;

/// The time limit for sending, in case there is no receiver.
const SENDING: Duration = Duration::from_secs(1);

/// The start is complete.
const READY: &str = "READY=1";

/// The server has begun to drain.
const STOPPING: &str = "STOPPING=1";

/// Reports that the server is up.
pub(super) fn ready() {
    notify(READY);
}

/// Reports that the server ends, once it has begun to drain.
pub(super) fn stopping(serving: &Arc<Serving>) -> impl Future<Output = Infallible> + use<> {
    let drain_begun = serving.drain_begun();
    async move {
        drain_begun.await;
        notify(STOPPING);
        std::future::pending().await
    }
}

fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "failed to notify the service manager");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(SENDING))?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sent_to_paths_and_to_abstract_addresses() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("notify");
        let name = format!("wisp-notification-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name)?;
        for (receiver, socket) in [
            (UnixDatagram::bind(&path)?, path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&address)?,
                format!("@{name}").into(),
            ),
        ] {
            send(&socket, READY)?;
            let mut received = [0; 32];
            let length = receiver.recv(&mut received)?;
            assert_eq!(&received[..length], b"READY=1", "{}", socket.display());
        }
        assert!(send(directory.path().join("other").as_os_str(), READY).is_err());
        Ok(())
    }
}
