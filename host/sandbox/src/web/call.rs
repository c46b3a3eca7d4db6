//! The call of a web component for one request: a fresh store and a fresh instance, dropped with the call.

use super::context::WebContext;
use super::error::WebError;
use super::outgoing::AllowedHosts;
use super::response::{CallEnd, GuestResponse};
use crate::compute::{Graphs, Payer};
use crate::engine::Engine;
use crate::guest_run::GuestRun;
use crate::handler::store::{Instantiating, queued_store};
use crate::handler::trap_cause;
use crate::instance::InstanceState;
use crate::limits::Limits;
use crate::logging::GuestLog;
use bytes::Bytes;
use http::Request;
use http::uri::Scheme;
use http_body_util::Full;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Component;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme as GuestScheme;

/// The parts of a web component that all its calls share.
pub(super) struct WebParts {
    pub(super) engine: Arc<Engine>,
    pub(super) proxy: ProxyPre<InstanceState>,
    /// Other web components find it in the store of compiled code for as long as this one lives.
    pub(super) _component: Arc<Component>,
    pub(super) graphs: Arc<Graphs>,
    pub(super) limits: Limits,
    pub(super) allowed_hosts: Arc<AllowedHosts>,
}

/// The outcome of a call, whether or not its response has been read. Lifetime: one request.
#[derive(Debug)]
pub struct WebOutcome {
    pub result: Result<(), Arc<WebError>>,
    /// Set if a response had begun, so that no other can be sent instead.
    pub has_responded: bool,
    pub run: GuestRun,
    pub log: GuestLog,
}

/// A request that a component is called with. Lifetime: one request.
pub(super) struct GuestCall {
    pub(super) parts: Arc<WebParts>,
    pub(super) request: Request<Bytes>,
    pub(super) deadline: Instant,
    pub(super) payer: Payer,
    pub(super) head: oneshot::Sender<GuestResponse>,
    pub(super) end: oneshot::Sender<CallEnd>,
}

impl GuestCall {
    /// Runs the component to its end. Timers and connections of the guest belong to `runtime`, whatever thread polls
    /// the call.
    pub(super) async fn run(self, runtime: Handle) -> WebOutcome {
        let mut call = pin!(self.run_within());
        std::future::poll_fn(|cx| {
            let _entered = runtime.enter();
            call.as_mut().poll(cx)
        })
        .await
    }

    async fn run_within(self) -> WebOutcome {
        let GuestCall {
            parts,
            request,
            deadline,
            payer,
            head,
            end,
        } = self;
        let limits = &parts.limits;
        let graphs = Arc::clone(&parts.graphs);
        let parties = (&*parts.engine, &payer);
        let mut store = queued_store(parties, limits, graphs, deadline);
        let hosts = Arc::clone(&parts.allowed_hosts);
        let context = WebContext::new(hosts, deadline, limits.log_bytes);
        store.data_mut().web = Some(Box::new(context));
        let clock = store.data().clock.clone();
        let has_responded = Arc::new(AtomicBool::new(false));
        let responded = Arc::clone(&has_responded);
        let respond = move |response: GuestResponse| {
            responded.store(response.is_ok(), Relaxed);
            // The client may have gone.
            let _ = head.send(response);
        };
        // The guest's clock stands still while the call waits for a computation, a body or a timer.
        let called = clock.drive(call(&parts.proxy, &mut store, request, respond));
        let called = tokio::time::timeout_at(deadline.into(), called).await;
        let state = store.data_mut();
        let trap = match &called {
            Ok(Err(error)) => trap_cause::cause(error),
            Ok(Ok(())) | Err(_) => None,
        };
        let result = match called {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Arc::new(WebError::of_call(error, state))),
            Err(_) => Err(Arc::new(WebError::Deadline)),
        };
        if let Some(web) = &state.web {
            web.log_output(&mut state.log);
        }
        let outcome = WebOutcome {
            run: GuestRun {
                usage: state.usage(),
                trap,
            },
            log: state.log.take(),
            has_responded: has_responded.load(Relaxed),
            result: result.clone(),
        };
        // Before the store is dropped, which ends the body: its reader must find the reason.
        let _ = end.send(result);
        outcome
    }
}

async fn call(
    proxy: &ProxyPre<InstanceState>,
    store: &mut Store<InstanceState>,
    request: Request<Bytes>,
    respond: impl FnOnce(GuestResponse) + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => GuestScheme::Https,
        _ => GuestScheme::Http,
    };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request.map(Full::new))?;
    let response = http.new_response_outparam_from_callback(respond)?;
    let instance = proxy.instantiate_async(&mut *store).await;
    let instance = instance.map_err(|error| error.context(Instantiating))?;
    store.data_mut().finish_instantiation();
    let handler = instance.wasi_http_incoming_handler();
    handler.call_handle(store, request, response).await
}

impl std::fmt::Debug for WebParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebParts")
            .field("limits", &self.limits)
            .field("allowed_hosts", &self.allowed_hosts)
            .finish_non_exhaustive()
    }
}
