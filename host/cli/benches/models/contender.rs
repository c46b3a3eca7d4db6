//! A server, the request that is sent to it repeatedly, and the measurements.

use crate::load::{self, Done, Request};
use crate::model::Model;
use crate::process::Server;
use crate::server::{Peers, Servers};
use anyhow::Result;
use std::time::Duration;

/// The contender that the verdict is about.
pub(crate) const OURS: &str = "Wisp, onnxruntime, V2 binary";
/// The contenders with the embedded backends.
pub(crate) const EMBEDDED: [&str; 2] = ["Wisp, tract, V2 binary", "Wisp, rten, V2 binary"];
pub(crate) const OURS_JSON: &str = "Wisp, onnxruntime, V2 JSON";
pub(crate) const FASTAPI_JSON: &str = "FastAPI, JSON";

pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    server: &'a Server,
    request: Request,
    /// True if the median request took longer than `SLOW` during the warm-up.
    pub(crate) slow: bool,
    /// Measurements with one connection, one per round.
    pub(crate) single: Vec<Measured>,
    /// Measurements with `MANY` connections; not taken in every round.
    pub(crate) many: Vec<Measured>,
}

pub(crate) struct Measured {
    pub(crate) done: Done,
    /// Processor time of the server per request, in microseconds.
    pub(crate) cpu: f64,
}

/// Returns the contenders for one batch size. Batches of more than one row use binary protocols only.
pub(crate) fn contenders<'a>(
    model: &Model,
    servers: &'a Servers,
    batch: usize,
) -> Result<Vec<Contender<'a>>> {
    let contender = |name, server, request| Contender {
        name,
        server,
        request,
        slow: false,
        single: Vec::new(),
        many: Vec::new(),
    };
    let Servers {
        onnxruntime,
        tract,
        rten,
        peers,
    } = servers;
    let binary = model.v2_binary(batch);
    let [of_tract, of_rten] = EMBEDDED;
    let mut contenders = vec![
        contender(OURS, &onnxruntime.server, binary.clone()),
        contender(of_tract, &tract.server, binary.clone()),
        contender(of_rten, &rten.server, binary),
    ];
    let Some(Peers { fastapi, mlserver }) = peers else {
        return Ok(contenders);
    };
    contenders.push(contender("FastAPI, bytes", fastapi, model.bytes(batch)));
    if batch == 1 {
        let json = model.v2_json()?;
        contenders.extend([
            contender(OURS_JSON, &onnxruntime.server, json.clone()),
            contender(FASTAPI_JSON, fastapi, model.lists()?),
            contender("MLServer, V2 JSON", mlserver, json),
        ]);
    }
    Ok(contenders)
}

impl Contender<'_> {
    /// Sends one request. The first request may include initialization that later ones do not.
    pub(crate) fn answer(&self) -> Result<()> {
        load::once(self.server.address, &self.request)
    }

    /// Keeps `connections` connections busy for `time`.
    pub(crate) fn load(&self, connections: usize, time: Duration) -> Result<Measured> {
        let before = self.server.cpu_time()?;
        let done = load::run(self.server.address, &self.request, connections, time)?;
        let cpu = self.server.cpu_time()? - before;
        let cpu = cpu.as_secs_f64() * 1e6 / done.requests;
        Ok(Measured { done, cpu })
    }
}
