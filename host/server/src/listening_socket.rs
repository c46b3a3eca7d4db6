//! The sockets that a server listens on, and the processes that hold them.
//!
//! A service manager such as systemd can bind a socket, start the program for the first connection, and pass the
//! socket on. It keeps the socket open, and starts the program again for connections that wait there after
//! the program has ended.
//!
//! Invariant: nothing is done to a shared socket that its other holders would notice. It gets no filter and is not
//! shut down, and connections that have not been accepted stay where they are.

use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// The number of connections that may wait to be accepted. The kernel drops the handshakes of further ones, whose clients
/// try again after a second, and lowers the number to its own limit (`net.core.somaxconn`, 4096 on Linux).
const BACKLOG: u32 = 4096;

/// A listening TCP socket. Lifetime: the process.
#[derive(Debug)]
pub struct ListeningSocket {
    listener: TcpListener,
    holders: Holders,
}

/// The processes in which a socket is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holders {
    /// This process, which has bound it.
    Server,
    /// This process, and the one that has bound it.
    ServerAndParent,
}

impl From<TcpListener> for ListeningSocket {
    /// Takes a socket that no other process holds.
    fn from(listener: TcpListener) -> ListeningSocket {
        let holders = Holders::Server;
        ListeningSocket { listener, holders }
    }
}

impl ListeningSocket {
    /// Listens on an address. Must be called within a runtime.
    pub fn bind(address: SocketAddr) -> io::Result<ListeningSocket> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A server that starts again need not wait for the end of earlier connections.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket.listen(BACKLOG)?.into())
    }

    /// Takes a socket that another process has bound and keeps open. Must be called within a runtime.
    ///
    /// # Errors
    /// Returns an error of the kind `InvalidInput` if the socket does not listen.
    pub fn shared(listener: std::net::TcpListener) -> io::Result<ListeningSocket> {
        if !SockRef::from(&listener).is_listener()? {
            let reason = "the socket is not listening";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        listener.set_nonblocking(true)?;
        Ok(ListeningSocket {
            listener: TcpListener::from_std(listener)?,
            holders: Holders::ServerAndParent,
        })
    }

    /// Returns the address that the socket is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns whether another process holds the socket too.
    pub fn is_shared(&self) -> bool {
        self.holders == Holders::ServerAndParent
    }

    pub(crate) fn listener(&self) -> &TcpListener {
        &self.listener
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    #[tokio::test]
    async fn a_socket_that_does_not_listen_is_refused() -> anyhow::Result<()> {
        let address: SocketAddr = "127.0.0.1:0".parse()?;
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.bind(&address.into())?;
        let bound = ListeningSocket::shared(socket.try_clone()?.into());
        let kind = bound.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::InvalidInput));
        socket.listen(1)?;
        let listening = ListeningSocket::shared(socket.into())?;
        assert!(listening.is_shared());
        assert!(listening.local_addr()?.port() > 0);
        Ok(())
    }

    #[tokio::test]
    async fn a_burst_of_connections_waits_until_it_is_accepted() -> anyhow::Result<()> {
        let socket = ListeningSocket::bind("127.0.0.1:0".parse()?)?;
        let address = socket.local_addr()?;
        let most: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn")?
            .trim()
            .parse()?;
        // None of them is accepted meanwhile.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(60));
        let connections: Vec<TcpStream> =
            (0..most.min(512)).map(connect).collect::<io::Result<_>>()?;
        for _ in &connections {
            socket.listener().accept().await?;
        }
        Ok(())
    }
}
