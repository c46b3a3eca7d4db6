//! Golden cases: a request and its expected response in JSON.
//!
//! The files that a case names are read by a function, which gets names only, and its answers become tensors.

use super::models::models;
use wisp_protocol::golden_case::{GoldenCase, request};

/// Checks one input.
pub fn run(input: &[u8]) {
    let read = |name: &str| (name.len() < 64).then(|| name.as_bytes().to_vec());
    for model in models() {
        match GoldenCase::parse(input, model, &read) {
            Ok(case) => {
                // Any outcome can be compared.
                let _ = case.check(Ok(case.request.inputs.as_slice()));
            }
            Err(reason) => assert!(reason.len() < 4096 + input.len(), "{reason}"),
        }
        if let Some(request) = request(input, model) {
            assert!(
                request.inputs.len() <= model.signature.inputs.len(),
                "an input without a declaration"
            );
        }
    }
}
