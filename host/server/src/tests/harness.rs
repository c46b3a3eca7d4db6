//! A test server on a port of its own, and a client that sends arbitrary bytes.

use super::certificate::{Certificate, trusting};
use crate::tls::Tls;
use crate::{ListeningSocket, ServeError, ServerOptions, Sockets, serve};
use anyhow::{Context, anyhow, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use wisp_serving::namespaces::Namespaces;
use wisp_serving::registry::Registry;
use wisp_serving::{Readiness, Serving, ServingOptions};

/// The time after which a wait fails the test.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The head of a request that is in flight until its body of two bytes arrives. The server's "100 Continue"
/// proves that it is waiting for them.
pub(super) const HELD: &str = "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\n\
    content-length: 2\r\nexpect: 100-continue\r\n\r\n";

pub(super) const LIVE: &str = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";

/// A running server with an empty repository, which is stopped when this is dropped.
pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    pub(super) serving: Arc<Serving>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Result<(), ServeError>>>,
}

/// A client connection without an HTTP library.
pub(super) struct Client<S = TcpStream> {
    pub(super) stream: S,
    /// The bytes that have been received and not yet parsed.
    received: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct ReceivedResponse {
    pub(super) status: u16,
    /// Everything before the body, in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

/// Returns options without pauses. Tests that need one set it.
pub(super) fn options() -> ServerOptions {
    ServerOptions {
        drain_delay: Duration::ZERO,
        ..ServerOptions::default()
    }
}

/// Returns options with which a server with an empty repository is ready.
fn ready_without_models() -> ServingOptions {
    ServingOptions {
        readiness: Readiness::Server,
        ..ServingOptions::default()
    }
}

pub(super) async fn within<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let patience = tokio::time::timeout(TIMEOUT, work).await;
    patience.context("nothing happened for too long")
}

impl TestServer {
    pub(super) async fn start(options: ServerOptions) -> anyhow::Result<TestServer> {
        TestServer::serving(options, ready_without_models()).await
    }

    pub(super) async fn serving(
        options: ServerOptions,
        serving: ServingOptions,
    ) -> anyhow::Result<TestServer> {
        TestServer::start_with(options, serving, None).await
    }

    /// Starts the same server with TLS.
    pub(super) async fn start_tls(
        options: ServerOptions,
        tls: &Arc<Tls>,
    ) -> anyhow::Result<TestServer> {
        let tls = Some(Arc::clone(tls));
        TestServer::start_with(options, ready_without_models(), tls).await
    }

    /// Starts the same server on this socket.
    pub(super) fn start_on(
        socket: ListeningSocket,
        options: ServerOptions,
    ) -> anyhow::Result<TestServer> {
        TestServer::spawn(socket, options, ready_without_models(), None)
    }

    async fn start_with(
        options: ServerOptions,
        serving: ServingOptions,
        tls: Option<Arc<Tls>>,
    ) -> anyhow::Result<TestServer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        TestServer::spawn(listener.into(), options, serving, tls)
    }

    #[expect(clippy::disallowed_methods, reason = "its end is awaited by the tests")]
    fn spawn(
        socket: ListeningSocket,
        options: ServerOptions,
        serving: ServingOptions,
        tls: Option<Arc<Tls>>,
    ) -> anyhow::Result<TestServer> {
        let address = socket.local_addr()?;
        let serving = Serving::new(Registry::default(), None, serving);
        let serving = Arc::new(serving);
        let sockets = Sockets {
            http: socket,
            grpc: None,
            tls,
            metrics: None,
            admin: None,
        };
        let namespaces = Arc::new(Namespaces::local(Arc::clone(&serving)));
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(sockets, namespaces, options, shutdown));
        Ok(TestServer {
            address,
            serving,
            stop: Some(stop),
            served: Some(served),
        })
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(self.address).await?;
        Ok(Client::new(stream))
    }

    /// Connects as a client that trusts this certificate.
    pub(super) async fn connect_tls(
        &self,
        certificate: &Certificate,
    ) -> anyhow::Result<Client<TlsStream<TcpStream>>> {
        self.connect_as(trusting(certificate)?).await
    }

    pub(super) async fn connect_as(
        &self,
        config: ClientConfig,
    ) -> anyhow::Result<Client<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.address).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let handshake = connector.connect("localhost".try_into()?, stream);
        Ok(Client::new(within(handshake).await??))
    }

    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of the server and returns its result.
    pub(super) async fn ended(&mut self) -> anyhow::Result<Result<(), ServeError>> {
        let served = self.served.take().context("a server ends once")?;
        Ok(within(served).await??)
    }

    /// Checks that no request is in progress after the end, including those on HTTP/2 streams.
    pub(super) async fn check_let_go(&self) -> anyhow::Result<()> {
        within(async {
            while Arc::strong_count(&self.serving) > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Sends a request on a new connection and returns the response.
    pub(super) async fn ask(&self, request: &str) -> anyhow::Result<ReceivedResponse> {
        let mut client = self.connect().await?;
        client.send(request).await?;
        client.answer().await
    }

    pub(super) async fn check_alive(&self) -> anyhow::Result<()> {
        let answer = self.ask(LIVE).await?;
        match (answer.status, answer.body.as_str()) {
            (200, r#"{"live":true}"#) => Ok(()),
            _ => Err(anyhow!("not alive: {answer:?}")),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(served) = &self.served {
            served.abort();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(stream: S) -> Client<S> {
        let received = Vec::new();
        Client { stream, received }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        Ok(within(self.stream.write_all(bytes.as_ref())).await??)
    }

    /// Shuts down the sending side.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Returns the next response, whose body must have a length.
    pub(super) async fn answer(&mut self) -> anyhow::Result<ReceivedResponse> {
        let head_length = self.head_length().await?;
        let head = std::str::from_utf8(&self.received[..head_length])?.to_lowercase();
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let body_length = match header(&head, "content-length") {
            Some(length) => length.parse()?,
            None => 0,
        };
        while self.received.len() < head_length + body_length {
            self.receive().await?;
        }
        let rest = self.received.split_off(head_length + body_length);
        let answer = std::mem::replace(&mut self.received, rest);
        let body = String::from_utf8(answer[head_length..].to_vec())?;
        Ok(ReceivedResponse { status, head, body })
    }

    /// Returns the head of the next response, in lower case. The response has no body, as that to HEAD.
    pub(super) async fn head(&mut self) -> anyhow::Result<String> {
        let length = self.head_length().await?;
        let rest = self.received.split_off(length);
        let head = std::mem::replace(&mut self.received, rest);
        Ok(std::str::from_utf8(&head)?.to_lowercase())
    }

    /// Receives the head of the next response, and returns its length.
    async fn head_length(&mut self) -> anyhow::Result<usize> {
        loop {
            let end = self.received.windows(4).position(|end| end == b"\r\n\r\n");
            match end {
                Some(end) => return Ok(end + 4),
                None => self.receive().await?,
            }
        }
    }

    /// Checks that the server closes the connection without sending another byte. A reset is accepted.
    pub(super) async fn check_closed(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 1024];
        let unexpected = match self.received.is_empty() {
            true => match within(self.stream.read(&mut bytes)).await? {
                Ok(0) | Err(_) => return Ok(()),
                Ok(length) => &bytes[..length],
            },
            false => &self.received,
        };
        bail!("not closed: {}", String::from_utf8_lossy(unexpected))
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        match within(self.stream.read_buf(&mut self.received)).await?? {
            0 => bail!("closed after {:?}", String::from_utf8_lossy(&self.received)),
            _ => Ok(()),
        }
    }
}

impl ReceivedResponse {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Checks that this is an error response in the form that V2 clients expect.
    pub(super) fn check_refusal(&self, status: u16) -> anyhow::Result<()> {
        let is_error = self.body.starts_with(r#"{"error":""#) && self.body.ends_with("\"}");
        let is_json = self.header("content-type") == Some("application/json");
        match self.status == status && is_error && is_json {
            true => Ok(()),
            false => Err(anyhow!("not a {status} with a JSON error: {self:?}")),
        }
    }

    pub(super) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}
