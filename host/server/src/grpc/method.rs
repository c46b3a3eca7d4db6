//! What the path of a method says before any message is read, and the permit that it gets by it.
//!
//! An inference is admitted here, in front of tonic, so that a refusal costs no byte of its message. On
//! a stream each message is an inference, admitted as it comes: a silent stream takes nobody's place.

use crate::failure::Failure;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::Request;
use wisp_serving::Serving;
use wisp_serving::admission::Permit;

/// The methods whose one message is an inference.
const INFERENCES: [&str; 7] = [
    "/inference.GRPCInferenceService/ModelInfer",
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/prediction.PredictionService/Predict",
    "/prediction.PredictionService/BatchPredict",
];

/// The methods that take messages for as long as their client has any, in each version of their service.
const STREAMS: [&str; 2] = ["/ModelStreamInfer", "/ServerReflectionInfo"];

/// What a method takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// One message, which is an inference.
    Inference,
    /// One message that asks for something else.
    Question,
    /// Messages.
    Stream,
}

/// A permit on its way to the method that it is for, among what tonic hands on of a request, all of which
/// can be cloned; the permit is taken once. Lifetime: one request.
#[derive(Debug, Clone)]
pub(super) struct Admitted(Arc<Mutex<Option<Permit>>>);

impl Method {
    pub(super) fn of(path: &str) -> Method {
        if INFERENCES.contains(&path) {
            Method::Inference
        } else if STREAMS.iter().any(|method| path.ends_with(method)) {
            Method::Stream
        } else {
            Method::Question
        }
    }
}

impl Admitted {
    pub(super) fn new(permit: Permit) -> Admitted {
        Admitted(Arc::new(Mutex::new(Some(permit))))
    }
}

/// The permit of this request. One that nobody has admitted yet is admitted now.
pub(super) fn permit<M>(serving: &Serving, request: &Request<M>) -> Result<Permit, Failure> {
    let admitted = request.extensions().get::<Admitted>();
    let permit = admitted.and_then(|admitted| {
        let mut permit = admitted.0.lock().unwrap_or_else(PoisonError::into_inner);
        permit.take()
    });
    match permit {
        Some(permit) => Ok(permit),
        None => Ok(serving.admit()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::generated::{inference, prediction, tensorflow};
    use tonic::server::NamedService;
    use wisp_serving::ServingOptions;
    use wisp_serving::registry::Registry;

    #[test]
    fn the_listed_inferences_are_of_services_there_are() {
        let services = [
            <inference::grpc_inference_service_server::GrpcInferenceServiceServer<()>>::NAME,
            <tensorflow::serving::prediction_service_server::PredictionServiceServer<()>>::NAME,
            <prediction::prediction_service_server::PredictionServiceServer<()>>::NAME,
        ];
        for path in INFERENCES {
            let service = path.split('/').nth(1).unwrap_or_default();
            assert!(services.contains(&service), "{path}");
            assert_eq!(Method::of(path), Method::Inference);
        }
        let stream = "/inference.GRPCInferenceService/ModelStreamInfer";
        assert_eq!(Method::of(stream), Method::Stream);
        assert_eq!(Method::of("/grpc.health.v1.Health/Check"), Method::Question);
    }

    #[test]
    fn a_permit_is_taken_once() -> anyhow::Result<()> {
        let options = ServingOptions {
            max_requests: 1,
            ..ServingOptions::default()
        };
        let serving = Serving::new(Registry::default(), None, options);
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(Admitted::new(serving.admit()?));
        let first = permit(&serving, &request)?;
        assert!(permit(&serving, &request).is_err(), "there is no other");
        drop(first);
        assert!(permit(&serving, &request).is_ok(), "room again");
        Ok(())
    }
}
