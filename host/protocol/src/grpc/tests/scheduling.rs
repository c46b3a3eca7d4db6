//! Tests of the reserved parameters that schedule a request.

use super::inference::infer_parameter::ParameterChoice;
use super::inference::{InferParameter, ModelInferRequest};
use super::*;
use crate::call::Scheduling;
use crate::grpc::v2::ModelInferDecoder;
use std::time::Duration;

#[test]
fn priority_and_timeout_are_wishes_for_the_queue() {
    let mut message = ModelInferRequest::default();
    let (request, _) = ModelInferDecoder.decode(message.clone(), &wine()).unwrap();
    assert_eq!(request.scheduling, Scheduling::default());
    for (name, choice) in [
        ("priority", ParameterChoice::Int64Param(2)),
        ("timeout", ParameterChoice::Uint64Param(5000)),
    ] {
        let value = InferParameter {
            parameter_choice: Some(choice),
        };
        message.parameters.insert(name.to_owned(), value);
    }
    let (request, _) = ModelInferDecoder.decode(message, &wine()).unwrap();
    let expected = Scheduling {
        priority: 2,
        timeout: Some(Duration::from_micros(5000)),
    };
    assert_eq!(request.scheduling, expected);
}
