//! The tenants that use a server as intended. They know the right answer to each of their requests, and ask for another one
//! each time, so that an answer to somebody else's request is a wrong one.

use crate::harness::grpc::{self, RESOURCE_EXHAUSTED, UNAVAILABLE, field};
use crate::harness::{Response, exchange, output};
use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wisp_protocol::grpc::message::inference::ModelInferResponse;

/// Patients and their progression, from examples/progression/cases/a_ward.json.
const PATIENTS: [([f32; 10], f64); 4] = [
    (
        [
            45.0, 1.0, 32.0, 110.0, 224.0, 134.2, 45.0, 5.0, 5.4116, 93.0,
        ],
        244.3659,
    ),
    (
        [
            59.0, 2.0, 27.2, 107.0, 158.0, 102.0, 39.0, 4.0, 4.4427, 93.0,
        ],
        164.6918,
    ),
    (
        [45.0, 1.0, 24.2, 83.0, 177.0, 118.4, 45.0, 4.0, 4.2195, 82.0],
        121.0059,
    ),
    (
        [42.0, 1.0, 30.6, 121.0, 176.0, 92.8, 69.0, 3.0, 4.2627, 89.0],
        183.0941,
    ),
];

/// Wines and their classes, from examples/wine/cases/one_of_each.json.
const WINES: [([f32; 13], &str); 3] = [
    (
        [
            13.5, 1.81, 2.61, 20.0, 96.0, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845.0,
        ],
        "class_0",
    ),
    (
        [
            12.42, 2.55, 2.27, 22.0, 90.0, 1.68, 1.84, 0.66, 1.42, 2.7, 0.86, 3.3, 315.0,
        ],
        "class_1",
    ),
    (
        [
            13.32, 3.24, 2.38, 21.5, 92.0, 1.93, 0.76, 0.45, 1.25, 8.42, 0.55, 1.62, 650.0,
        ],
        "class_2",
    ),
];

/// The largest error of a progression.
const TOLERANCE: f64 = 0.001;

/// The way in which a tenant asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// The public model `wine` with its handler, over REST.
    Wine,
    /// A row for the tenant's own model `own`, in the JSON of TensorFlow Serving.
    Row,
    /// A tensor for the public model `shared`, over gRPC.
    Grpc,
    /// A tensor for the tenant's own model `own`, over REST. Its worker process is killed at any time.
    Killed,
}

/// A tenant whose every answer is known.
#[derive(Debug)]
pub(super) struct GoodTenant {
    api: Api,
    key: String,
    asked: AtomicUsize,
    /// The requests that the server has refused with a reason.
    refused: AtomicUsize,
}

impl GoodTenant {
    pub(super) fn new(api: Api, key: String) -> GoodTenant {
        GoodTenant {
            api,
            key,
            asked: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// Sends requests one after another, and checks the answers.
    pub(super) fn ask(&self, address: SocketAddr, requests: usize) -> Result<()> {
        for _ in 0..requests {
            let number = self.asked();
            let answered = match self.api {
                Api::Wine => self.wine(address, number),
                Api::Row => self.row(address, number),
                Api::Grpc => self.grpc(address, number),
                Api::Killed => self.tensor(address, number),
            };
            let is_answered = answered.with_context(|| format!("{:?}: {number}", self.api))?;
            self.refused.fetch_add(usize::from(!is_answered), Relaxed);
            self.asked.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// Checks that the server has answered as much as it must under attacks.
    pub(super) fn check(&self) -> Result<()> {
        let (asked, refused) = (self.asked(), self.refused.load(Relaxed));
        // Requests fail while a worker process starts again; at the beginning it was there.
        let enough = match self.api {
            Api::Killed => refused < asked,
            Api::Wine | Api::Row | Api::Grpc => refused * 10 <= asked,
        };
        ensure!(
            enough,
            "{:?}: {refused} of {asked} requests were refused",
            self.api
        );
        Ok(())
    }

    /// Asks for the class of a wine. Returns whether the request was answered, and not refused.
    fn wine(&self, address: SocketAddr, number: usize) -> Result<bool> {
        let (wine, class) = WINES[number % WINES.len()];
        let body = json!({ "inputs": [{
            "name": "features", "datatype": "FP32", "shape": [1, 13], "data": wine,
        }] });
        let response = self.post(address, "/v2/models/wine/infer", &body)?;
        let Some(answer) = self.answer(&response)? else {
            return Ok(false);
        };
        let found = &output(&answer, "class")?["data"];
        ensure!(*found == json!([class]), "{answer}, not {class}");
        Ok(true)
    }

    fn row(&self, address: SocketAddr, number: usize) -> Result<bool> {
        let (patient, progression) = PATIENTS[number % PATIENTS.len()];
        let body = json!({ "instances": [patient] });
        let response = self.post(address, "/v1/models/own:predict", &body)?;
        let Some(answer) = self.answer(&response)? else {
            return Ok(false);
        };
        is_right(answer["predictions"][0][0].as_f64(), progression)?;
        Ok(true)
    }

    fn tensor(&self, address: SocketAddr, number: usize) -> Result<bool> {
        let (patient, progression) = PATIENTS[number % PATIENTS.len()];
        let body = json!({ "inputs": [{
            "name": "features", "datatype": "FP32", "shape": [1, 10], "data": patient,
        }] });
        let response = self.post(address, "/v2/models/own/infer", &body)?;
        let Some(answer) = self.answer(&response)? else {
            return Ok(false);
        };
        let found = &output(&answer, "progression")?["data"][0];
        is_right(found.as_f64(), progression)?;
        Ok(true)
    }

    fn grpc(&self, address: SocketAddr, number: usize) -> Result<bool> {
        let (patient, progression) = PATIENTS[number % PATIENTS.len()];
        let content: Vec<u8> = patient.into_iter().flat_map(f32::to_le_bytes).collect();
        let name = field(1, b"features");
        let input = [name, field(2, b"FP32"), field(3, &[1, 10])].concat();
        let message = [field(1, b"shared"), field(5, &input), field(7, &content)].concat();
        let method = "inference.GRPCInferenceService/ModelInfer";
        let response = grpc::call(address, (method, &self.key), &message)?;
        match response.status.as_str() {
            grpc::OK => {}
            UNAVAILABLE | RESOURCE_EXHAUSTED if !response.reason.is_empty() => return Ok(false),
            _ => bail!("{response:?}"),
        }
        let answer = ModelInferResponse::decode(response.message()?)?;
        let content = answer.raw_output_contents.first();
        let bytes: [u8; 4] = content.context("no output")?[..].try_into()?;
        is_right(Some(f64::from(f32::from_le_bytes(bytes))), progression)?;
        Ok(true)
    }

    fn post(&self, address: SocketAddr, path: &str, body: &Value) -> Result<Response> {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            self.key,
            body.len()
        );
        exchange(address, [head, body].concat().as_bytes())
    }

    /// Returns the document of a response, or `None` if it is a refusal with a reason. A response that was cut counts as one
    /// where a worker process is killed.
    fn answer(&self, response: &Response) -> Result<Option<Value>> {
        if self.api == Api::Killed {
            let length = response.header("content-length").context("no length")?;
            if response.body.len() < length.parse()? {
                return Ok(None);
            }
        }
        match response.status {
            refusal @ (429 | 503) => {
                response.error(refusal)?;
                Ok(None)
            }
            _ => Ok(Some(response.ok()?)),
        }
    }
}

fn is_right(found: Option<f64>, expected: f64) -> Result<()> {
    let is_right = found.is_some_and(|found| (found - expected).abs() <= TOLERANCE);
    ensure!(is_right, "{found:?}, not {expected}");
    Ok(())
}
