//! Web components: components that export `wasi:http/incoming-handler`, written for any host of that interface.
//!
//! A [`WebComponent`] has allowed imports; a [`WebApp`] is linked with the graphs of its model and called once for each
//! request, on a fresh instance within the [`Limits`] of a handler. Its wasi:nn is the same as for handlers, so its
//! computations are queued with theirs. [`WebApp::call`] returns the work and the response apart, because the caller
//! decides which threads run guests; [`WebApp::respond`] runs it on the threads of tokio.
//!
//! `context` is the state of WASI for one request, `interface` links it, `output` collects the standard streams, and
//! `outgoing` sends requests to allowed hosts. `response` streams a body while its guest produces it.

mod call;
mod component;
pub(crate) mod context;
mod error;
pub(crate) mod imports;
pub(crate) mod interface;
mod outgoing;
mod output;
mod response;

pub use self::call::WebOutcome;
pub use self::component::WebComponent;
pub use self::error::WebError;
pub use self::imports::forbidden_import;
pub use self::outgoing::{AllowedHosts, InvalidHost};
pub use self::response::{PendingResponse, RunningCall, WebBody, WebBodyError};

use self::call::{GuestCall, WebParts};
use crate::compute::{Graphs, Payer};
use crate::engine::Engine;
use crate::limits::Limits;
use crate::text::bounded;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// A request with its complete body.
pub type WebRequest = Request<Bytes>;

/// A response whose body is being produced.
pub type WebResponse = Response<WebBody>;

/// The work of one request, which ends with the component. Dropping it cancels the request.
pub type WebCall = Pin<Box<dyn Future<Output = WebOutcome> + Send>>;

/// A web component that can be called. Clones are the same component. Lifetime: a model version.
#[derive(Debug, Clone)]
pub struct WebApp {
    parts: Arc<WebParts>,
}

/// The things that a web component may use.
#[derive(Debug, Clone, Default)]
pub struct WebOptions {
    /// The graphs that it can load, by name.
    pub graphs: Arc<Graphs>,
    /// The limits of each call. The guest's time does not include waiting, whether for a computation, a timer or the
    /// client.
    pub limits: Limits,
    /// The hosts to which it may send requests.
    pub allowed_hosts: AllowedHosts,
}

/// The error for a component that has allowed imports but cannot be linked.
#[derive(Debug, thiserror::Error)]
#[error("the component does not implement wasi:http/incoming-handler@0.2: {reason}")]
pub struct WebLoadError {
    reason: String,
}

// === impl WebApp ===

impl WebApp {
    /// Links the component.
    pub fn load(
        engine: &Arc<Engine>,
        component: &WebComponent,
        options: WebOptions,
    ) -> Result<WebApp, WebLoadError> {
        let contract = |error: wasmtime::Error| WebLoadError {
            // The error repeats names of the component.
            reason: bounded(&format!("{error:#}")),
        };
        let linked = engine.linkers.web.instantiate_pre(&component.component);
        let proxy = linked.and_then(ProxyPre::new).map_err(contract)?;
        let WebOptions {
            graphs,
            limits,
            allowed_hosts,
        } = options;
        Ok(WebApp {
            parts: Arc::new(WebParts {
                engine: Arc::clone(engine),
                proxy,
                _component: Arc::clone(&component.component),
                graphs,
                limits,
                allowed_hosts: Arc::new(allowed_hosts),
            }),
        })
    }

    /// Returns the work of a request, which yields its thread at every epoch, and the response that it makes. Its
    /// computations are charged to the payer.
    ///
    /// Must be called within a tokio runtime with timers and I/O, on which the guest's timers and connections run. The
    /// work itself may be polled by any thread.
    ///
    /// # Errors
    /// Returns [`WebError::NoHost`] if neither the address nor a header of the request names a host.
    pub fn call(
        &self,
        request: WebRequest,
        (deadline, payer): (Instant, Payer),
    ) -> Result<(WebCall, PendingResponse), WebError> {
        let named = request.headers().get(HOST);
        let is_named = named.is_some_and(|host| host.to_str().is_ok());
        if request.uri().authority().is_none() && !is_named {
            return Err(WebError::NoHost);
        }
        let (head, head_receiver) = oneshot::channel();
        let (end, end_receiver) = oneshot::channel();
        let call = GuestCall {
            parts: Arc::clone(&self.parts),
            request,
            deadline,
            payer,
            head,
            end,
        };
        let pending = PendingResponse {
            head: head_receiver,
            end: end_receiver,
        };
        Ok((Box::pin(call.run(Handle::current())), pending))
    }

    /// Responds to a request on the threads of the current tokio runtime. Dropping the response cancels the call.
    pub async fn respond(
        &self,
        request: WebRequest,
        deadline: Instant,
    ) -> Result<WebResponse, Arc<WebError>> {
        let (call, pending) = self.call(request, (deadline, Payer::default()))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the response owns the task, and ends it when it is dropped"
        )]
        let task = tokio::spawn(call);
        let task = TokioCall(Some(task));
        pending.wait(Box::new(task)).await
    }
}

/// A call that runs in a task of tokio; `None` once it is detached.
struct TokioCall(Option<JoinHandle<WebOutcome>>);

impl RunningCall for TokioCall {
    fn detach(mut self: Box<Self>) {
        self.0 = None;
    }
}

impl Drop for TokioCall {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
