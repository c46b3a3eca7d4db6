//! The trial of a bundle: it must give the answers of the native backend before it is written.
//!
//! The finished component runs as any host runs it, a new instance for each request, and receives requests of the V2
//! protocol. Golden cases are compared with their expectations and with the native answers. A model without cases
//! answers a sample request.

use super::response::outcome;
use super::rest_request::{RestRequest, get};
use super::sample::zeros;
use super::source::Source;
use crate::cases::{self, Case, CaseFailure};
use crate::display;
use crate::loading::trial_store;
use crate::local_call::LocalCaller;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::error::Party;
use wisp_sandbox::engine::Engine;
use wisp_sandbox::limits::Limits;
use wisp_sandbox::web::{WebApp, WebComponent, WebOptions};
use wisp_tensor::NamedTensor;
use wisp_tensor::difference::largest_difference;

/// The timeout of one request. An engine in WebAssembly takes several times as long as a native one.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The largest difference from the native answer to a sample request, relative to numbers beyond 1.
const SAMPLE_TOLERANCE: f64 = 1e-3;

/// A bundle that runs. Lifetime: the making of one bundle.
#[derive(Debug)]
pub(super) struct Trial {
    runtime: Runtime,
    app: WebApp,
    caller: LocalCaller,
}

/// The outcome of a trial that the bundle has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This many golden cases, at least one.
    Cases(usize),
    /// A sample request, for a model without cases.
    Sample,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Cases(count) => write!(f, "{count} of {count} passed, as natively"),
            Verdict::Sample => f.write_str("none; a sample request is answered as natively"),
        }
    }
}

impl Trial {
    /// Compiles and links the bundle.
    pub(super) fn start(bundle: &[u8]) -> anyhow::Result<Trial> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("failed to start the runtime")?;
        let engine = Arc::new(Engine::without_pool()?);
        let component = WebComponent::load(&engine, &trial_store(), bundle);
        let component = component.context("the bundle cannot be compiled")?;
        let options = WebOptions {
            limits: Limits {
                memory_bytes: usize::MAX,
                table_elements: usize::MAX,
                guest_time: TIMEOUT,
                ..Limits::default()
            },
            ..WebOptions::default()
        };
        Ok(Trial {
            runtime,
            app: WebApp::load(&engine, &component, options).context("the bundle cannot be run")?,
            caller: LocalCaller::new()?,
        })
    }

    /// Runs the golden cases of the model, or a sample request if it has none.
    pub(super) fn run(&self, source: &Source) -> anyhow::Result<Verdict> {
        let model = source.version.description();
        self.read_metadata(model)
            .context("the bundle does not answer")?;
        let cases = cases::load_all(&source.path)?;
        for case in &cases {
            self.run_case(case, source)
                .with_context(|| format!("golden case {}", display::path(&case.path)))?;
        }
        match cases.len() {
            0 => self.run_sample(source).context("sample request"),
            count => Ok(Verdict::Cases(count)),
        }
    }

    fn read_metadata(&self, model: &ModelDescription) -> anyhow::Result<()> {
        let request = get(&format!("/v2/models/{}", model.model))?;
        let response = self.send(request).map_err(|failure| {
            failure.explain("it fails at a request for the metadata of the model".to_owned())
        })?;
        let status = response.status();
        ensure!(
            status == StatusCode::OK,
            "a request for the metadata of the model gets status {status}: {}",
            String::from_utf8_lossy(response.body())
        );
        Ok(())
    }

    fn run_case(&self, case: &Case, source: &Source) -> anyhow::Result<()> {
        let version = &source.version;
        let model = version.description();
        let native = case.call(&self.caller, version)?;
        case.check(native.as_deref(), model).context(
            "the model fails it without a bundle, too; `wisp check` shows all of its cases",
        )?;
        let request = RestRequest::of_case(case, model)?.into_http(model)?;
        let found = self.infer(request, model)?;
        case.check(found.as_deref(), model).context(
            "the bundle answers differently; the other backend (--bundled-backend) may agree",
        )?;
        compare(native, found, case.tolerance())
    }

    fn run_sample(&self, source: &Source) -> anyhow::Result<Verdict> {
        let model = source.version.description();
        let sample = match source.version.example() {
            Some(example) => example.clone(),
            None => zeros(model)?,
        };
        let request = RestRequest::of_inputs(&sample)?.into_http(model)?;
        let native = self.call_natively(source, sample);
        let found = self.infer(request, model)?;
        compare(native, found, SAMPLE_TOLERANCE)?;
        Ok(Verdict::Sample)
    }

    fn call_natively(
        &self,
        source: &Source,
        request: InferRequest,
    ) -> Result<Vec<NamedTensor>, CaseFailure> {
        let response = self.caller.call(&source.version, request)?;
        Ok(response.outputs)
    }

    /// Sends a request to infer to the bundle.
    fn infer(
        &self,
        request: Request<Bytes>,
        model: &ModelDescription,
    ) -> anyhow::Result<Result<Vec<NamedTensor>, CaseFailure>> {
        match self.send(request) {
            Ok(response) => outcome(response, model).context("the bundle does not speak V2"),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Sends a request to the bundle. A failure without a response, such as a trap, is the fault of the handler: the
    /// rest of the bundle does not trap.
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CaseFailure> {
        self.runtime.block_on(self.respond(request))
    }

    async fn respond(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CaseFailure> {
        let response = self.app.respond(request, Instant::now() + TIMEOUT).await;
        let (head, body) = response.map_err(|error| failure(&*error))?.into_parts();
        let body = body.collect().await.map_err(|error| failure(&error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn failure(error: &(dyn std::error::Error + 'static)) -> CaseFailure {
    let causes = std::iter::successors(Some(error), |error| error.source());
    CaseFailure {
        party: Party::Handler,
        message: error.to_string(),
        causes: causes.map(ToString::to_string).collect(),
    }
}

/// Compares the answer of the bundle with the native one.
fn compare(
    native: Result<Vec<NamedTensor>, CaseFailure>,
    found: Result<Vec<NamedTensor>, CaseFailure>,
    tolerance: f64,
) -> anyhow::Result<()> {
    match (native, found) {
        (Ok(native), Ok(found)) => {
            let names = |outputs: &[NamedTensor]| {
                let names = outputs.iter().map(|output| output.name.clone());
                names.collect::<Vec<_>>().join(", ")
            };
            let (native_names, found_names) = (names(&native), names(&found));
            ensure!(
                native_names == found_names,
                "the bundle answers with the outputs {found_names}, the native backend with {native_names}"
            );
            let difference = largest_difference(&native, &found);
            ensure!(
                difference <= tolerance,
                "the outputs of the bundle and of the native backend differ by {difference}, more than \
                 {tolerance}; the other backend (--bundled-backend) may agree"
            );
            Ok(())
        }
        (Err(native), Err(found)) if native.at_fault() == found.at_fault() => Ok(()),
        (Err(native), Err(found)) => bail!(
            "the bundle fails by the fault of the {}, the native backend by that of the {}",
            found.at_fault(),
            native.at_fault()
        ),
        (Ok(_), Err(found)) => {
            Err(found.explain("the bundle fails where the native backend answers".to_owned()))
        }
        (Err(native), Ok(_)) => {
            Err(native.explain("the bundle answers where the native backend fails".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::{ElementType, Shape, Tensor};

    fn output(value: f32) -> anyhow::Result<Vec<NamedTensor>> {
        let content = Bytes::copy_from_slice(&value.to_le_bytes());
        Ok(vec![NamedTensor {
            name: "y".to_owned(),
            tensor: Tensor::new(ElementType::Fp32, Shape::new(vec![1])?, content)?,
        }])
    }

    fn failed(party: Party) -> Result<Vec<NamedTensor>, CaseFailure> {
        Err(CaseFailure {
            party,
            message: "no".to_owned(),
            causes: vec!["no".to_owned()],
        })
    }

    #[test]
    fn answers_agree_within_the_tolerance() -> anyhow::Result<()> {
        compare(Ok(output(1.0)?), Ok(output(1.000_01)?), 1e-4)?;
        compare(Ok(output(f32::NAN)?), Ok(output(f32::NAN)?), 0.0)?;
        let error = compare(Ok(output(1.0)?), Ok(output(1.1)?), 1e-4).err();
        assert!(error.context("accepted")?.to_string().contains("differ"));
        Ok(())
    }

    #[test]
    fn failures_agree_if_the_same_party_is_at_fault() -> anyhow::Result<()> {
        compare(failed(Party::Client), failed(Party::Client), 0.0)?;
        assert!(compare(failed(Party::Client), failed(Party::Handler), 0.0).is_err());
        assert!(compare(Ok(output(1.0)?), failed(Party::Client), 0.0).is_err());
        assert!(compare(failed(Party::Client), Ok(output(1.0)?), 0.0).is_err());
        Ok(())
    }
}
