//! Tests of `wisp serve` as a process: its banner, log, signals and exit code.

use super::{failure, run, stdout, wisp, with_cases};
use crate::harness::{Repository, Response, component, root};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Returns the command that serves `path` on a free port.
pub(super) fn serve(path: &Path) -> Command {
    let mut command = wisp();
    command
        .args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
        .arg(path);
    command
}

#[test]
fn a_missing_model_file_names_the_command_that_makes_it() -> Result<()> {
    let model_file = "export = \"python3 export.py\"\noptional = true";
    let repository = Repository::of(&["progression"])?
        .with_file("built/model.toml", model_file)?
        .with_file("built/1/handler.wasm", std::fs::read(component("embed")?)?)?
        .with_file("fresh/model.toml", model_file)?;
    let server = Serve::start(repository.path())?;
    for line in [
        "  built 1  UNAVAILABLE\n    version 1 has no model.onnx; create it with \
         `python3 export.py`, then try again\n",
        "  fresh -  UNAVAILABLE\n    there is no version: no directory with a decimal name; create \
         model.onnx with `python3 export.py`, then try again\n",
    ] {
        ensure!(server.banner.contains(line), "{}", server.banner);
    }
    ensure!(
        server.get("/v2/health/ready")?.status == 200,
        "the server is ready without optional models"
    );
    Ok(())
}

#[test]
fn a_polled_repository_is_served_as_it_becomes() -> Result<()> {
    let repository = Repository::empty()?;
    let mut command = serve(repository.path());
    command
        .args(["--model-control-mode", "poll"])
        .args(["--repository-poll-secs", "1"])
        .stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let repository = repository.with_example("progression", "later")?;
    let log = server.log_up_to("loaded after a change")?;
    server.get("/v2/models/later")?.ok()?;
    std::fs::remove_dir_all(repository.path().join("later"))?;
    let gone = |line: &std::io::Result<String>| {
        let line = line.as_ref();
        line.is_ok_and(|line| line.contains("unloaded after its removal"))
    };
    ensure!(log.lines().any(|line| gone(&line)), "it is still served");
    server.get("/v2/models/later")?.error(404)?;
    Ok(())
}

#[test]
fn a_directory_that_no_model_can_be_called_is_told_and_the_rest_is_served() -> Result<()> {
    let repository = Repository::of(&["progression"])?.with_file("my model/1/model.onnx", "")?;
    let mut command = serve(repository.path());
    // It is not a model that fails to load, so the server starts without further options.
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    ensure!(
        server.banner.contains("1 of 1 models ready"),
        "{}",
        server.banner
    );
    server.log_up_to("`my model` is not a valid model name")?;
    Ok(())
}

#[test]
fn a_bad_configuration_ends_with_64_before_a_port_is_bound() -> Result<()> {
    for args in [
        ["serve", "--http", "nowhere"],
        ["serve", "--max-body-bytes", "0"],
        ["serve", "--max-concurrent-requests", "2305843009213693952"],
        ["serve", "--no-such-flag", "1"],
    ] {
        let (text, code) = failure(&run(wisp().args(args).arg("."))?)?;
        ensure!(code == 64, "{args:?}: {code}: {text}");
    }
    let (text, code) = failure(&run(wisp().args(["serve", "/no/such/place"]))?)?;
    ensure!(code == 64 && text.contains("does not exist"), "{text}");
    let (text, code) = failure(&run(wisp().args(["serve", "/dev/null"]))?)?;
    ensure!(
        code == 64 && text.contains("`/dev/null` is neither a directory nor a model file"),
        "{text}"
    );
    let logged = wisp()
        .args(["serve", "."])
        .env("RUST_LOG", "wisp=loud")
        .output()?;
    let (text, code) = failure(&logged)?;
    ensure!(
        code == 64 && text.contains("RUST_LOG is `wisp=loud`"),
        "{text}"
    );
    let empty = Repository::empty()?.with_file("notes/a.txt", "")?;
    let (text, code) = failure(&run(&mut serve(empty.path()))?)?;
    ensure!(
        code == 64 && text.contains("there is no model in `"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_single_onnx_file_is_served_as_a_model_of_its_name() -> Result<()> {
    let model = root().join("examples/progression/1/model.onnx");
    let server = Serve::start(&model)?;
    let metadata = server.get("/v2/models/model")?.ok()?;
    ensure!(metadata["inputs"][0]["name"] == "features", "{metadata}");
    Ok(())
}

#[test]
fn the_banners_curl_lines_of_every_example_work_when_pasted() -> Result<()> {
    let mut repository = Repository::empty()?.with_model("bare", "progression", None)?;
    for name in ["digits", "progression", "wine"] {
        repository = repository.with_example(name, name)?;
    }
    repository =
        repository.with_file("embed/1/handler.wasm", std::fs::read(component("embed")?)?)?;
    let graph = repository.path().join("embed/1/model.onnx");
    std::os::unix::fs::symlink(python::embed_graph()?, graph)?;
    for name in ["digits", "embed", "progression", "wine"] {
        repository = with_cases(repository, name)?;
    }
    let mut command = serve(repository.path());
    // The test is about the response, which may take long on a busy machine.
    command.args(["--request-timeout-milliseconds", "50000"]);
    let server = Serve::spawn(command)?;
    let lines = server.banner.lines().filter(|line| line.contains("curl"));
    let mut answered = 0;
    for line in lines {
        let output = Command::new("sh").arg("-c").arg(line.trim()).output()?;
        let text = stdout(&output)?;
        ensure!(text.contains("\"outputs\":[{"), "{line}: {text}");
        ensure!(text.contains("\"data\":"), "{line}: {text}");
        answered += 1;
    }
    ensure!(answered == 5, "{}", server.banner);
    Ok(())
}

#[test]
fn sigterm_answers_what_is_in_flight_and_ends_with_success() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut server = Serve::start(repository.path())?;
    let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;
    let mut stream = TcpStream::connect(&server.address)?;
    write!(
        stream,
        "POST /v2/models/progression/infer HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on)?;
    server.terminate()?;
    // During the drain delay, requests are still accepted.
    stream.write_all(body.as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    ensure!(Response::parse(&reply)?.status == 200);
    ensure!(server.child.wait()?.success());
    Ok(())
}

#[test]
fn a_second_signal_ends_it_at_once_whatever_is_running() -> Result<()> {
    let hostile = component("hostile_guest")?;
    let repository = Repository::empty()?.with_model("hostile", "progression", Some(hostile))?;
    let mut command = serve(repository.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let body =
        r#"{"inputs":[{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["loop"]}]}"#;
    let post = |length: usize| {
        format!(
            "POST /v2/models/hostile/infer HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let (mut looping, mut unfinished) = (
        TcpStream::connect(&server.address)?,
        TcpStream::connect(&server.address)?,
    );
    let mut go_on = [0; 25];
    for stream in [&mut looping, &mut unfinished] {
        stream.write_all(post(body.len()).as_bytes())?;
        stream.read_exact(&mut go_on)?;
    }
    looping.write_all(body.as_bytes())?;
    server.terminate()?;
    let _log = server.log_up_to("a second signal ends the process at once")?;
    server.terminate()?;
    let ended = server.child.wait()?;
    ensure!(ended.code() == Some(1), "{ended}");
    Ok(())
}

#[test]
fn on_loopback_only_requests_to_this_machine_or_to_named_hosts_are_answered() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = serve(repository.path());
    command.args(["--allowed-host", "models.example"]);
    let server = Serve::spawn(command)?;
    let ask = |request: &str| -> Result<Response> {
        let mut stream = TcpStream::connect(&server.address)?;
        stream.write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Response::parse(&reply)
    };
    let unload = "/v2/repository/models/progression/unload";
    for (target, host) in [
        (unload.to_owned(), "hostile.example:8000"),
        (format!("http://hostile.example:8000{unload}"), "localhost"),
        ("/v2/models/progression".to_owned(), "hostile.example"),
        ("/openapi.json".to_owned(), "localhost.hostile.example"),
        ("/no/such/route".to_owned(), "127.0.0.1.hostile.example"),
    ] {
        let method = if target.contains(unload) {
            "POST"
        } else {
            "GET"
        };
        // Like a web page whose own host name resolves to this machine.
        let refused = ask(&format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: close\r\n\r\n"
        ))?;
        let text = refused.error(403).with_context(|| target.clone())?;
        ensure!(text.contains("--allowed-host"), "{text}");
    }
    for host in [
        &server.address,
        "localhost:1",
        "x.localhost",
        "[::1]",
        "Models.example:443",
    ] {
        let request = format!(
            "GET /v2/models/progression HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        );
        ask(&request)?.ok().with_context(|| host.to_owned())?;
    }
    server.get("/v2/models/progression")?.ok()?;
    Ok(())
}

/// A process that runs `wisp serve`; killed on drop.
pub(super) struct Serve {
    pub(super) child: Child,
    pub(super) address: String,
    pub(super) banner: String,
}

impl Serve {
    /// Starts a server on a free port, and reads the banner up to its last model.
    pub(super) fn start(path: &Path) -> Result<Serve> {
        Serve::spawn(serve(path))
    }

    pub(super) fn spawn(mut command: Command) -> Result<Serve> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = lines.next().context("no banner")??;
        let address = first
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(": ").next());
        let address = address.with_context(|| first.clone())?.to_owned();
        let models = first
            .split(" of ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let models: usize = models.context("no count")?.parse()?;
        // Models that are loaded on demand are only counted.
        let on_demand = first.split(" on demand)").next();
        let on_demand = on_demand.and_then(|before| before.rsplit('(').next());
        let on_demand: usize = on_demand.and_then(|count| count.parse().ok()).unwrap_or(0);
        let models = models.saturating_sub(on_demand);
        let mut banner = first;
        // The banner has an empty line, then three lines for each model: its name, a curl command or a
        // reason, and an empty line.
        for line in lines.by_ref().take(1 + 3 * models) {
            banner += "\n";
            banner += &line?;
        }
        Ok(Serve {
            child,
            address,
            banner,
        })
    }

    /// Returns the id of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the address for HTTP.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends SIGTERM.
    fn terminate(&self) -> Result<()> {
        self.signal("-TERM")
    }

    /// Sends a signal, named as for `kill`.
    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status()?;
        ensure!(sent.success(), "no process {pid}");
        Ok(())
    }

    /// Reads standard error up to the line with `text`. Returns the rest.
    pub(super) fn log_up_to(&mut self, text: &str) -> Result<BufReader<ChildStderr>> {
        let stderr = self.child.stderr.take().context("it is not piped")?;
        let mut log = BufReader::new(stderr);
        read_up_to(&mut log, text)?;
        Ok(log)
    }

    /// Returns the first line of standard error with `text`.
    pub(super) fn log_line(&mut self, text: &str) -> Result<String> {
        let stderr = self.child.stderr.take().context("it is not piped")?;
        read_up_to(&mut BufReader::new(stderr), text)
    }

    pub(super) fn get(&self, path: &str) -> Result<Response> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Response::parse(&reply)
    }
}

/// Returns the next line of the log with `text`.
pub(super) fn read_up_to(log: &mut BufReader<ChildStderr>, text: &str) -> Result<String> {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "no `{text}` in the log");
    }
    Ok(line)
}

impl Drop for Serve {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
