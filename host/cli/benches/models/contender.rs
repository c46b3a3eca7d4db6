//! A server and the request that it gets again and again, and what came of it.

use crate::load::{self, Done, Request};
use crate::model::Model;
use crate::process::Server;
use crate::server::Servers;
use anyhow::Result;
use std::time::Duration;

/// Whom the verdict is about.
pub(crate) const OURS: &str = "Wisp, onnxruntime, V2 binary";
pub(crate) const OURS_JSON: &str = "Wisp, onnxruntime, V2 JSON";
pub(crate) const FASTAPI_JSON: &str = "FastAPI, JSON";

pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    server: &'a Server,
    request: Request,
    /// Whether a request takes long, as it turned out while warming up.
    pub(crate) slow: bool,
    /// With one connection, of each round.
    pub(crate) single: Vec<Measured>,
    /// With many, of some rounds.
    pub(crate) many: Vec<Measured>,
}

pub(crate) struct Measured {
    pub(crate) done: Done,
    /// Of the server's processor for each request, in microseconds.
    pub(crate) cpu: f64,
}

/// Who takes part. With more rows than one, the dialects that carry bytes.
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
        fastapi,
        mlserver,
    } = servers;
    let binary = model.v2_binary(batch);
    let mut contenders = vec![
        contender(OURS, &onnxruntime.server, binary.clone()),
        contender("Wisp, tract, V2 binary", &tract.server, binary),
        contender("FastAPI, bytes", fastapi, model.bytes(batch)),
    ];
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
    /// Answer once: the first answer may take what no later one does.
    pub(crate) fn answer(&self) -> Result<()> {
        load::once(self.server.address, &self.request)
    }

    /// Keep so many connections busy for so long.
    pub(crate) fn load(&self, connections: usize, time: Duration) -> Result<Measured> {
        let before = self.server.cpu_time()?;
        let done = load::run(self.server.address, &self.request, connections, time)?;
        let cpu = self.server.cpu_time()? - before;
        let cpu = cpu.as_secs_f64() * 1e6 / done.requests;
        Ok(Measured { done, cpu })
    }
}
