//! The sockets that a service manager passes to the program, as systemd does for the units of sockets.
//!
//! `LISTEN_FDS` and `LISTEN_PID` announce them, and `LISTEN_FDNAMES` contains their names, separated by colons.
//! They take the place of the addresses in the settings.

use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use listenfd::ListenFd;
use std::net::TcpListener;
use wisp_server::ListeningSocket;
use wisp_tensor::OneLine;

/// The environment variable with the names of the sockets: systemd's `FileDescriptorName=`.
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets that were passed, by their uses. Lifetime: until the server listens on them.
#[derive(Debug, Default)]
pub(super) struct PassedSockets {
    pub(super) http: Option<PassedSocket>,
    pub(super) grpc: Option<PassedSocket>,
}

/// A TCP socket that was passed, which may not listen.
#[derive(Debug)]
pub(super) struct PassedSocket {
    name: String,
    listener: TcpListener,
}

/// The uses of a socket, with the names that select them. Each socket serves all protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Http,
    Grpc,
}

impl PassedSockets {
    /// Takes the sockets from the environment. Child processes do not inherit them.
    ///
    /// Must be called before the program starts a thread, which might read the environment at the same time.
    pub(super) fn take() -> anyhow::Result<PassedSockets> {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut descriptors = ListenFd::from_env();
        let names: Vec<&str> = names
            .split(':')
            .chain(std::iter::repeat(""))
            .take(descriptors.len())
            .collect();
        let mut sockets = PassedSockets::default();
        for (index, (name, socket_use)) in names.iter().zip(uses(&names)?).enumerate() {
            let listener = descriptors.take_tcp_listener(index);
            let listener = listener.with_context(|| unusable(name))?;
            let socket = listener.map(|listener| PassedSocket {
                name: (*name).to_owned(),
                listener,
            });
            match socket_use {
                Use::Http => sockets.http = socket,
                Use::Grpc => sockets.grpc = socket,
            }
        }
        Ok(sockets)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.http.is_none() && self.grpc.is_none()
    }
}

impl PassedSocket {
    /// Listens on the socket, in place of the address in `setting`. Must be called within a runtime.
    pub(super) fn listen(self, setting: &str) -> anyhow::Result<ListeningSocket> {
        let PassedSocket { name, listener } = self;
        let socket = ListeningSocket::shared(listener).with_context(|| unusable(&name))?;
        let address = socket.local_addr().with_context(|| unusable(&name))?;
        tracing::info!(
            %address,
            %name,
            "listening on a socket of the service manager, in place of {setting}"
        );
        Ok(socket)
    }
}

impl Use {
    fn of(name: &str) -> Option<Use> {
        match name {
            "http" => Some(Use::Http),
            "grpc" => Some(Use::Grpc),
            _ => None,
        }
    }
}

/// Returns the uses of the sockets with these names. Those with other names, or without one, are for HTTP and
/// then for gRPC.
fn uses(names: &[&str]) -> anyhow::Result<Vec<Use>> {
    let named: Vec<Option<Use>> = names.iter().map(|name| Use::of(name)).collect();
    let mut unnamed = [Use::Http, Use::Grpc]
        .into_iter()
        .filter(|free| !named.contains(&Some(*free)));
    let mut uses = Vec::new();
    for (socket_use, name) in named.iter().zip(names) {
        match socket_use.or_else(|| unnamed.next()) {
            Some(socket_use) if !uses.contains(&socket_use) => uses.push(socket_use),
            _ => {
                let names = names.join(":");
                return Err(bad_configuration(format!(
                    "cannot use the passed socket `{}` besides the others (LISTEN_FDNAMES is `{}`): pass at most \
                     one socket for HTTP (FileDescriptorName=http) and one for gRPC (FileDescriptorName=grpc)",
                    OneLine(name),
                    OneLine(&names)
                )));
            }
        }
    }
    Ok(uses)
}

/// Returns the context of an error of the socket with this name.
fn unusable(name: &str) -> BadConfiguration {
    BadConfiguration::new(format!(
        "cannot listen on the passed socket `{}`: it must be a listening TCP socket, such as one of \
         ListenStream=127.0.0.1:8000",
        OneLine(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_the_use_of_a_socket_and_others_come_in_order() -> anyhow::Result<()> {
        for (names, expected) in [
            (&[][..], &[][..]),
            (&[""], &[Use::Http]),
            (&["wisp.socket"], &[Use::Http]),
            (&["grpc"], &[Use::Grpc]),
            (&["grpc", "http"], &[Use::Grpc, Use::Http]),
            (&["", ""], &[Use::Http, Use::Grpc]),
            (&["unknown", "http"], &[Use::Grpc, Use::Http]),
            (&["grpc", "unknown"], &[Use::Grpc, Use::Http]),
        ] {
            assert_eq!(uses(names)?, expected, "{names:?}");
        }
        Ok(())
    }

    #[test]
    fn a_socket_without_a_use_is_refused() -> anyhow::Result<()> {
        for names in [
            &["http", "http"][..],
            &["grpc", "http", "grpc"],
            &["a", "b", "c"],
        ] {
            let error = uses(names).err().context(names.concat())?;
            assert!(error.is::<BadConfiguration>(), "{error:#}");
            let list = names.join(":");
            assert!(error.to_string().contains(&list), "{error:#}");
        }
        Ok(())
    }
}
