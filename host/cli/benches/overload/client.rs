//! A client that sends requests over one persistent HTTP/1.1 connection, blocking its thread.

use crate::outcome::REFUSALS;
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The time after which a blocked client checks whether to stop.
const TICK: Duration = Duration::from_millis(100);

/// The time limit of a request, longer than any of the server's.
const PATIENCE: Duration = Duration::from_secs(60);

/// The maximum length of the head of a response.
const HEAD_BYTES: usize = 8 << 10;

/// The connection of one thread, which is opened again after an error.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    address: SocketAddr,
    /// Ends requests without a response when it is set.
    stop: &'a AtomicBool,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    /// The reason of the first request that was not answered, for the report.
    pub(crate) first_failure: Option<String>,
    /// The number of refusals that do not say when to send the request again.
    pub(crate) refusals_without_time: usize,
}

/// The head of a response.
#[derive(Debug)]
struct Head {
    status: u16,
    /// The length of the body.
    length: usize,
    /// Set if the server closes the connection after the response.
    closes: bool,
    /// The seconds after which the request may be sent again.
    retry_after: Option<u64>,
}

impl<'a> Client<'a> {
    /// Returns a client without a connection.
    pub(crate) fn new(address: SocketAddr, stop: &'a AtomicBool) -> Client<'a> {
        Client {
            address,
            stop,
            stream: None,
            buffer: vec![0; HEAD_BYTES],
            first_failure: None,
            refusals_without_time: 0,
        }
    }

    /// Opens the connection, if it is closed.
    pub(crate) fn connect(&mut self) -> Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TICK))?;
            stream.set_write_timeout(Some(TICK))?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends a request and returns the status of its response.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        let exchanged = self.try_exchange(request);
        if let Err(error) = &exchanged {
            self.close();
            self.first_failure.get_or_insert_with(|| error.to_string());
        }
        exchanged
    }

    fn try_exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.connect()?;
        // A server may respond to a request that it does not read to its end.
        let sent = self.send(request);
        let head = match (sent, self.receive()) {
            (_, Ok(head)) => head,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        if head.closes {
            self.close();
        }
        if REFUSALS.contains(&head.status) && head.retry_after.is_none() {
            self.refusals_without_time += 1;
        }
        Ok(head.status)
    }

    /// Sends a request a piece at a time, with a pause of [`TICK`] after each, until there is a
    /// response. Returns its status. The connection cannot be used afterwards.
    pub(crate) fn trickle(&mut self, head: &[u8], piece: &[u8]) -> Result<u16> {
        self.connect()?;
        self.send(head)?;
        loop {
            ensure!(!self.stop.load(Relaxed), "stopped");
            if self.send(piece).is_err() || self.has_response()? {
                break;
            }
        }
        Ok(self.receive()?.status)
    }

    /// Waits for a response for at most [`TICK`].
    fn has_response(&self) -> Result<bool> {
        match self.stream()?.peek(&mut [0]) {
            Ok(_) => Ok(true),
            Err(error) if is_timeout(error.kind()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let sent = self.wait(|mut stream| stream.write(bytes))?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Head> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = self.receive_into(&mut buffer);
        self.buffer = buffer;
        let (head, reason) = received?;
        if let Some(reason) = reason {
            self.first_failure.get_or_insert(reason);
        }
        Ok(head)
    }

    /// Receives a response with this buffer. Returns its head, and its body if that reports an error.
    fn receive_into(&self, buffer: &mut [u8]) -> Result<(Head, Option<String>)> {
        const END: &[u8] = b"\r\n\r\n";
        let mut filled = 0;
        let end = loop {
            ensure!(
                filled < buffer.len(),
                "the head of the response is too long"
            );
            filled += self.wait(|mut stream| stream.read(&mut buffer[filled..]))?;
            let received = &buffer[..filled];
            if let Some(end) = received.windows(END.len()).position(|bytes| bytes == END) {
                break end;
            }
        };
        let head = Head::parse(std::str::from_utf8(&buffer[..end])?)?;
        let body = end + END.len();
        // Error documents are short, and arrive with their head.
        let reason = (head.status != 200)
            .then(|| String::from_utf8_lossy(&buffer[body..filled]).into_owned());
        let mut left = (body + head.length)
            .checked_sub(filled)
            .context("more than one response")?;
        while left > 0 {
            let most = left.min(buffer.len());
            left -= self.wait(|mut stream| stream.read(&mut buffer[..most]))?;
        }
        Ok((head, reason))
    }

    /// Transfers at least one byte.
    fn wait(
        &self,
        mut transfer: impl FnMut(&TcpStream) -> std::io::Result<usize>,
    ) -> Result<usize> {
        let started = Instant::now();
        loop {
            match transfer(self.stream()?) {
                Ok(0) => bail!("the connection was closed"),
                Ok(transferred) => return Ok(transferred),
                Err(error) if is_timeout(error.kind()) => {
                    ensure!(!self.stop.load(Relaxed), "stopped");
                    ensure!(started.elapsed() < PATIENCE, "no response");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn stream(&self) -> Result<&TcpStream> {
        self.stream.as_ref().context("the connection is closed")
    }
}

// === impl Head ===

impl Head {
    fn parse(text: &str) -> Result<Head> {
        let status = text.split(' ').nth(1).context("no status")?;
        let mut head = Head {
            status: status.parse()?,
            length: 0,
            closes: false,
            retry_after: None,
        };
        for line in text.lines().skip(1) {
            let (name, value) = line.split_once(':').context("no header")?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse()?;
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("retry-after") {
                head.retry_after = Some(value.parse()?);
            }
            ensure!(
                !name.eq_ignore_ascii_case("transfer-encoding"),
                "a response in chunks"
            );
        }
        Ok(head)
    }
}

/// Returns whether an operation on a socket has failed because of [`TICK`].
fn is_timeout(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
