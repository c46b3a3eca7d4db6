//! The requests that a web component sends: to hosts that its model allows, over plain HTTP.
//!
//! Every request has a connection of its own, which ends with the call of the component. Redirects are not followed.
//! TLS is not available: a request for `https` fails with `HTTP-protocol-error`.

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The number of requests that one call may have in progress.
const MAX_IN_PROGRESS: usize = 16;

/// The number of bytes that a guest may write to a body at once. Two such pieces are held for each body.
const BODY_PIECE_BYTES: usize = 64 << 10;

const HTTP_PORT: u16 = 80;

/// The hosts to which a component may send requests. Lifetime: a model version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(BTreeSet<(String, u16)>);

/// The error for a text that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` is not a host: expected a name or address and a port, as in `api.example.com:80`"
)]
pub struct InvalidHost {
    host: String,
}

/// The requests of one call. Lifetime: one request.
pub(crate) struct OutgoingRequests {
    allowed: Arc<AllowedHosts>,
    deadline: Instant,
    in_progress: Arc<Semaphore>,
}

/// The work of a connection after the head of its response.
type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;

type Sending = Box<dyn Future<Output = Result<(Response<WasiBody>, Connection), Error>> + Send>;

// === impl AllowedHosts ===

impl AllowedHosts {
    /// Reads hosts with their ports; 80 is the default.
    pub fn parse(hosts: &[String]) -> Result<AllowedHosts, InvalidHost> {
        let hosts = hosts.iter().map(|host| {
            let authority: Option<Authority> = host.parse().ok();
            let target = authority.as_ref().and_then(target);
            target.ok_or_else(|| InvalidHost { host: host.clone() })
        });
        Ok(AllowedHosts(hosts.collect::<Result<_, _>>()?))
    }

    /// Returns the host and port of an address, if the component may send requests to it.
    fn find(&self, uri: &Uri) -> Result<(String, u16), Error> {
        let target = uri.authority().and_then(target);
        let target = target.ok_or(Error::HttpRequestUriInvalid)?;
        match self.0.contains(&target) {
            true => Ok(target),
            false => Err(Error::HttpRequestDenied),
        }
    }
}

/// Returns the host and the port. There are none with a user name, which looks like a host to a reader.
fn target(authority: &Authority) -> Option<(String, u16)> {
    let has_user = authority.as_str().contains('@');
    let host = authority.host();
    if has_user || host.is_empty() {
        return None;
    }
    let has_port = authority.as_str().len() > host.len();
    let port = match has_port {
        true => authority.port_u16()?,
        false => HTTP_PORT,
    };
    Some((host.to_ascii_lowercase(), port))
}

// === impl OutgoingRequests ===

impl OutgoingRequests {
    pub(crate) fn new(allowed: Arc<AllowedHosts>, deadline: Instant) -> OutgoingRequests {
        OutgoingRequests {
            allowed,
            deadline,
            in_progress: Arc::new(Semaphore::new(MAX_IN_PROGRESS)),
        }
    }
}

impl Default for OutgoingRequests {
    fn default() -> OutgoingRequests {
        OutgoingRequests::new(Arc::default(), Instant::now())
    }
}

impl WasiHttpHooks for OutgoingRequests {
    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTP)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sending {
        let target = self.allowed.find(request.uri());
        let place = Arc::clone(&self.in_progress).try_acquire_owned();
        let timeouts = Timeouts {
            options: options.unwrap_or_default(),
            deadline: self.deadline,
        };
        Box::new(async move {
            let place = place.map_err(|_| Error::ConnectionLimitReached)?;
            send(target?, request, timeouts, place).await
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_BYTES
    }

    // The defaults log a line for each error, which a guest can cause without end.

    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> ErrorCode {
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::TlsProtocolError
    }
}

/// The time limits that the guest chose, and the call's.
struct Timeouts {
    options: RequestOptions,
    deadline: Instant,
}

impl Timeouts {
    /// Returns the end of a step that begins now.
    fn end_of(&self, step: Option<Duration>) -> tokio::time::Instant {
        let own = step.and_then(|step| Instant::now().checked_add(step));
        own.map_or(self.deadline, |own| own.min(self.deadline))
            .into()
    }
}

/// Sends a request and waits for the head of the response.
async fn send(
    (host, port): (String, u16),
    mut request: Request<WasiBody>,
    timeouts: Timeouts,
    place: OwnedSemaphorePermit,
) -> Result<(Response<WasiBody>, Connection), Error> {
    let connecting = async {
        let stream = TcpStream::connect(format!("{host}:{port}")).await;
        let stream = stream.map_err(Error::Connect)?;
        let handshake = http1::handshake::<_, WasiBody>(TokioIo::new(stream));
        handshake.await.map_err(Error::Hyper)
    };
    let connect_end = timeouts.end_of(timeouts.options.connect_timeout);
    let connected = tokio::time::timeout_at(connect_end, connecting).await;
    let (mut sender, connection) = connected.map_err(|_| Error::ConnectionTimeout)??;
    let connection = wasmtime_wasi::runtime::spawn(connection);
    // The address in full is for proxies only.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let head_end = timeouts.end_of(timeouts.options.first_byte_timeout);
    let response = tokio::time::timeout_at(head_end, sender.send_request(request)).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let response = response.map(|body| body.map_err(Error::from).boxed_unsync());
    let rest: Connection = Box::new(async move {
        let _place = place;
        connection.await.map_err(Error::from)
    });
    Ok((response, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str]) -> Result<AllowedHosts, InvalidHost> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        AllowedHosts::parse(&hosts)
    }

    #[test]
    fn a_request_may_go_to_the_listed_hosts_and_ports_only() -> anyhow::Result<()> {
        let hosts = allowed(&["API.example.com", "127.0.0.1:8080", "[::1]:9000"])?;
        for (uri, is_allowed) in [
            ("http://api.example.com/x", true),
            ("http://api.EXAMPLE.com:80", true),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:9000/", true),
            ("http://api.example.com:81/", false),
            ("http://127.0.0.1/", false),
            ("http://example.com/", false),
            ("http://api.example.com@127.0.0.1:8080/", false),
            ("http://127.0.0.1:8080@hostile.example/", false),
        ] {
            assert_eq!(hosts.find(&uri.parse()?).is_ok(), is_allowed, "{uri}");
        }
        let denied = AllowedHosts::default().find(&"http://127.0.0.1/".parse()?);
        assert!(matches!(denied, Err(Error::HttpRequestDenied)));
        Ok(())
    }

    #[test]
    fn a_text_that_is_no_host_is_refused_and_quoted() {
        for text in [
            "", "http://a", "a/b", "user@a", "a:", "a:0x1", "a:70000", ":80",
        ] {
            let refused = allowed(&["fine.example:80", text]).map_err(|error| error.to_string());
            let expected = format!("`{text}` is not a host: expected");
            let starts = refused
                .as_ref()
                .is_err_and(|text| text.starts_with(&expected));
            assert!(starts, "{text}: {refused:?}");
        }
    }
}
