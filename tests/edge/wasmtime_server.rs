//! A host of `wasi:http/incoming-handler` that is built on wasmtime, wasmtime-wasi and wasmtime-wasi-http alone, with
//! their default settings.
//!
//! It contains no code of Wisp and has no wasi:nn, so it behaves like any such host.

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Error, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

type HttpError = wasmtime_wasi_http::Error;
type Connection = Box<dyn Future<Output = std::result::Result<(), HttpError>> + Send>;
type Sent = std::result::Result<(Response<WasiBody>, Connection), HttpError>;

/// A host that serves one component on its own port. It ends when it is dropped.
pub(super) struct WasmtimeServer {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// The state of one request.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: NoRequests,
}

/// Refuses every request that a component sends.
struct NoRequests;

impl WasmtimeServer {
    /// Compiles and serves the component in a file. Connections are accepted when this returns.
    pub(super) fn start(component: &Path) -> Result<WasmtimeServer> {
        let engine = Engine::default();
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        let proxy = ProxyPre::new(linker.instantiate_pre(&component)?)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(accept(listener, Arc::new(proxy)));
        Ok(WasmtimeServer {
            address,
            runtime: Some(runtime),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WasmtimeServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, proxy: Arc<ProxyPre<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A response in two parts does not wait for the acknowledgement of the first.
        let _ = stream.set_nodelay(true);
        Handle::current().spawn(serve(stream, Arc::clone(&proxy)));
    }
}

/// Serves a connection to its end. Errors of the client are reported by the client.
async fn serve(stream: TcpStream, proxy: Arc<ProxyPre<State>>) {
    let service = service_fn(move |request| respond(Arc::clone(&proxy), request));
    let connection = http1::Builder::new()
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

/// Responds to a request with a new instance of the component.
async fn respond(
    proxy: Arc<ProxyPre<State>>,
    request: Request<Incoming>,
) -> Result<Response<HyperOutgoingBody>> {
    let state = State {
        wasi: WasiCtx::builder().inherit_stderr().build(),
        http: WasiHttpCtx::new(),
        table: ResourceTable::new(),
        hooks: NoRequests,
    };
    let mut store = Store::new(proxy.engine(), state);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(Scheme::Http, request)?;
    let response = store.data_mut().http().new_response_outparam(sender)?;
    let task = Handle::current().spawn(async move {
        let instance = proxy.instantiate_async(&mut store).await?;
        let handler = instance.wasi_http_incoming_handler();
        handler.call_handle(&mut store, request, response).await
    });
    match receiver.await {
        Ok(response) => Ok(response?),
        Err(_) => Err(match task.await {
            Ok(Ok(())) => Error::msg("the component made no response"),
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        }),
    }
}

// === impl State ===

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

// === impl NoRequests ===

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Connection,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(HttpError::HttpRequestDenied) })
    }
}
