//! The tenants and strangers that attack a server. Each repeats its attack until it is told to stop, and checks that the
//! server refuses it as the client's, the tenant's or the handler's fault, and never as its own.

use crate::harness::victim::wine;
use crate::harness::{Response, TIMEOUT, exchange};
use anyhow::{Context, Result, bail, ensure};
use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The behaviors of `tests/hostile_guest` without an end, which its time limit ends.
const ENDLESS: [&str; 3] = ["loop", "fill", "log_for_ever"];

/// Its other behaviors.
const BEHAVIOURS: [&str; 14] = [
    "honest",
    "trap",
    "grow",
    "recurse",
    "panic",
    "hoard",
    "handles",
    "log_flood",
    "log_huge",
    "flood",
    "long_failure",
    "long_refusal",
    "overflow",
    "misfits",
];

/// Bodies that are no request.
const MALFORMED: [&str; 6] = [
    "[",
    "{\"inputs\":[{\"name\":\"features\",\"datatype\":\"FP32\",\"shape\":[1,13],\"data\":[1e999]}]}",
    "{\"inputs\":[{\"name\":\"features\",\"datatype\":\"FP32\",\"shape\":[4294967295,4294967295],\"data\":[1]}]}",
    "{\"inputs\":[],\"inputs\":[]}",
    "\u{0}\u{1}\u{2}",
    "{\"inputs\":[{\"name\":\"\\ud800\"}]}",
];

/// The connections with slow requests that are open at the same time.
const SLOW: usize = 32;

/// The body that a slow or cut request announces, and the part of it that is sent.
const ANNOUNCED: usize = 1 << 20;
const SENT: usize = 1 << 10;

/// The statuses that tell whose fault it is. The last two are those of a handler.
const BLAMED: [u16; 10] = [400, 401, 404, 409, 413, 422, 429, 503, 502, 504];

/// The requests that a client repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// Calls its own handler, which never ends.
    Loops,
    /// Calls its own handler, which traps, takes all memory, recurses without end, logs or fails at length.
    Misbehaves,
    /// Sends valid requests far above its limits.
    Floods,
    /// Sends bodies that are no request, and deep and large ones.
    Malforms,
    /// Sends the beginning of a body, and nothing more.
    Stalls,
    /// Sends the beginning of a body and leaves.
    Cuts,
    /// Guesses keys.
    Guesses,
    /// Uploads what is no model, whole and in part, and loads it.
    Uploads,
}

/// A client that attacks.
#[derive(Debug)]
pub(super) struct Attacker {
    pub(super) attack: Attack,
    key: String,
    turns: AtomicUsize,
}

impl Attacker {
    pub(super) fn new(attack: Attack, key: &str) -> Attacker {
        Attacker {
            attack,
            key: key.to_owned(),
            turns: AtomicUsize::new(0),
        }
    }

    /// Attacks until `over` is set, at least once.
    pub(super) fn attack(&self, address: SocketAddr, over: &AtomicBool) -> Result<()> {
        // Those that stall stay open while there is room.
        let mut open = VecDeque::new();
        loop {
            let turn = self.turns.fetch_add(1, Relaxed);
            let acted = self.act(address, turn);
            open.extend(acted.with_context(|| format!("{:?}: {turn}", self.attack))?);
            if open.len() > SLOW {
                open.pop_front();
            }
            if over.load(Relaxed) {
                return Ok(());
            }
        }
    }

    /// Attacks once. Returns the connection that stays open, if any.
    fn act(&self, address: SocketAddr, turn: usize) -> Result<Option<TcpStream>> {
        match self.attack {
            Attack::Loops => self.call(address, ENDLESS[turn % ENDLESS.len()]),
            Attack::Misbehaves => self.call(address, BEHAVIOURS[turn % BEHAVIOURS.len()]),
            Attack::Floods => self.flood(address),
            Attack::Malforms => self.malform(address, turn),
            Attack::Stalls => {
                let stream = self.begin(address)?;
                // At the pace of a server that answers.
                let response = self.send(address, "GET /v2", b"")?;
                expect(&response, &[200, 503])?;
                return Ok(Some(stream));
            }
            Attack::Cuts => {
                drop(self.begin(address)?);
                let response = self.send(address, "GET /v2", b"")?;
                expect(&response, &[200, 503])
            }
            Attack::Guesses => self.guess(address),
            Attack::Uploads => self.upload(address, turn),
        }?;
        Ok(None)
    }

    /// Calls the hostile handler.
    fn call(&self, address: SocketAddr, behaviour: &str) -> Result<()> {
        let body = format!(
            r#"{{"inputs":[{{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["{behaviour}"]}}]}}"#
        );
        let response = self.send(address, "POST /v2/models/hostile/infer", body.as_bytes())?;
        let is_expected = response.status == 200 || BLAMED.contains(&response.status);
        ensure!(is_expected, "{behaviour}: {response:?}");
        Ok(())
    }

    fn flood(&self, address: SocketAddr) -> Result<()> {
        let body = wine().to_string();
        let response = self.send(address, "POST /v2/models/wine/infer", body.as_bytes())?;
        if response.status == 429 {
            let reason = response.error(429)?;
            ensure!(reason.contains("requests_per_second"), "{reason}");
            response.header("retry-after").context("no time")?;
        }
        expect(&response, &[200, 429, 503])
    }

    fn malform(&self, address: SocketAddr, turn: usize) -> Result<()> {
        let deep = "[".repeat(100_000);
        let body = MALFORMED.get(turn % (MALFORMED.len() + 1));
        let body = body.map_or(deep.as_str(), |body| body);
        let response = self.send(address, "POST /v2/models/wine/infer", body.as_bytes())?;
        expect(&response, &[400, 413, 429, 503])
    }

    fn guess(&self, address: SocketAddr) -> Result<()> {
        // Every digit but the last is right.
        let (rest, last) = self.key.split_at(self.key.len() - 1);
        let other = if last == "0" { "1" } else { "0" };
        let almost = format!("{rest}{other}");
        for key in ["", "guess", almost.as_str()] {
            let response = ask(address, ("POST /v2/models/wine/infer", key), b"{}")?;
            expect(&response, &[401])?;
        }
        Ok(())
    }

    fn upload(&self, address: SocketAddr, turn: usize) -> Result<()> {
        let version = format!("/v2/repository/models/junk{}/versions/1", turn % 4);
        let file = format!("PUT {version}/files/model.onnx");
        let junk = vec![u8::try_from(turn % 256)?; 10_000];
        let refused = BLAMED.as_slice();
        expect(
            &self.send(address, &file, &junk)?,
            &[&[200, 201][..], refused].concat(),
        )?;
        expect(
            &self.send(address, &format!("POST {version}/commit"), b"")?,
            refused,
        )?;
        // A part of another file.
        let mut stream = TcpStream::connect(address)?;
        let head = head(
            (&format!("PUT {version}/files/handler.wasm"), &self.key),
            ANNOUNCED,
        );
        stream.write_all(&[head.as_bytes(), &junk].concat())?;
        drop(stream);
        let load = format!("POST /v2/repository/models/junk{}/load", turn % 4);
        let body = br#"{"parameters": {"config": "{}", "file:1/model.onnx": "AA=="}}"#;
        expect(&self.send(address, &load, body)?, refused)?;
        let elsewhere = "PUT /v2/repository/models/..%2f..%2fwine/versions/1/files/model.onnx";
        expect(&self.send(address, elsewhere, &junk)?, refused)?;
        let deleted = self.send(address, &format!("DELETE {version}"), b"")?;
        expect(&deleted, &[&[200][..], refused].concat())
    }

    /// Sends the beginning of a request.
    fn begin(&self, address: SocketAddr) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let head = head(("POST /v2/models/wine/infer", &self.key), ANNOUNCED);
        stream.write_all(&[head.as_bytes(), &[b' '; SENT]].concat())?;
        Ok(stream)
    }

    fn send(&self, address: SocketAddr, request: &str, body: &[u8]) -> Result<Response> {
        ask(address, (request, &self.key), body)
    }
}

fn head((request, key): (&str, &str), length: usize) -> String {
    format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn ask(address: SocketAddr, request: (&str, &str), body: &[u8]) -> Result<Response> {
    let head = head(request, body.len());
    exchange(address, &[head.as_bytes(), body].concat())
}

fn expect(response: &Response, statuses: &[u16]) -> Result<()> {
    if statuses.contains(&response.status) {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&response.body);
    bail!("{}: {body}", response.status)
}
