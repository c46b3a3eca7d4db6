//! Tests of socket activation and of `--idle-exit`: the first connection starts the server and is answered, and an
//! unused server ends.
//!
//! `systemd-socket-activate` listens, and becomes the server with the first connection. In other tests the test
//! itself holds the socket, as a service manager does while the server does not run.

use crate::harness::{Repository, Response, TIMEOUT, wait_for};
use crate::systemd_tools::tool;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

const WISP: &str = env!("CARGO_BIN_EXE_wisp");

const BODY: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;

const LIVE: &str = "GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Becomes the program in its arguments, with standard input as the first descriptor that is passed.
const PASS: &str = r#"export LISTEN_PID=$$; exec "$@" 3<&0 0</dev/null"#;

/// A process that is a server or becomes one. Killed on drop.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
}

impl Process {
    fn spawn(command: &mut Command) -> Result<Process> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Process {
            output: BufReader::new(child.stdout.take().context("it is piped")?),
            log: BufReader::new(child.stderr.take().context("it is piped")?),
            child,
        })
    }

    /// Starts `systemd-socket-activate`, and returns once it listens on all addresses.
    fn activator(addresses: &[SocketAddr], options: &[&str], wisp: &[&str]) -> Result<Process> {
        let mut command = tool("systemd-socket-activate")?;
        for address in addresses {
            command.args(["--listen", &address.to_string()]);
        }
        // The program gets a few variables only.
        let cache = cache();
        let cache = cache.to_str().context("not UTF-8")?;
        command
            .args(["--setenv", &format!("XDG_CACHE_HOME={cache}")])
            .args(options)
            .args([WISP, "serve"])
            .args(wisp)
            .stdin(Stdio::null());
        let mut process = Process::spawn(&mut command)?;
        for address in addresses {
            process.log_up_to(&format!("Listening on {address}"))?;
        }
        Ok(process)
    }

    /// Starts a server on a socket of this test, and returns it with the first line of its output once it is ready.
    fn on(holder: &TcpListener, wisp: &[&str]) -> Result<(Process, String)> {
        let socket = OwnedFd::from(holder.try_clone()?);
        let mut process = Process::spawn(passing(socket.into()).args(wisp))?;
        let first = process.first_line()?;
        Ok((process, first))
    }

    /// Returns the first line of the output, which a server writes when it is ready.
    fn first_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "no output: {}", self.rest_of_log()?);
        Ok(line)
    }

    fn log_up_to(&mut self, text: &str) -> Result<()> {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            ensure!(self.log.read_line(&mut line)? > 0, "no `{text}` in the log");
        }
        Ok(())
    }

    fn rest_of_log(&mut self) -> Result<String> {
        let mut log = String::new();
        self.log.read_to_string(&mut log)?;
        Ok(log)
    }

    fn terminate(&self) -> Result<()> {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &process]).status()?;
        ensure!(sent.success(), "no process {process}");
        Ok(())
    }

    /// Waits for the end of the process, and checks its exit code.
    fn ended_with_0(&mut self) -> Result<()> {
        let status = self.ended()?;
        ensure!(
            status.code() == Some(0),
            "{status}: {}",
            self.rest_of_log()?
        );
        Ok(())
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        wait_for("the server ends", || self.child.try_wait().transpose())?
            .context("failed to wait for the server")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the directory of compiled guests, which are kept for the next test.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Returns the command of a server to which this descriptor is passed.
fn passing(descriptor: Stdio) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", PASS, "sh", WISP, "serve"])
        .env("LISTEN_FDS", "1")
        .env("XDG_CACHE_HOME", cache())
        .env_remove("RUST_LOG")
        .stdin(descriptor);
    command
}

/// Returns an address of this machine on which nobody listens.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Returns the request of an inference, whose connection is closed after the response.
fn inference() -> String {
    format!(
        "POST /v2/models/progression/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// Returns the response on a connection that is closed after it.
fn last_response(stream: &mut TcpStream) -> Result<Response> {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

fn ask(address: SocketAddr, request: &str) -> Result<Response> {
    let mut stream = connect(address)?;
    stream.write_all(request.as_bytes())?;
    last_response(&mut stream)
}

fn path(repository: &Repository) -> Result<&str> {
    repository.path().to_str().context("not UTF-8")
}

#[test]
fn the_first_connection_starts_the_server_and_the_next_one_after_its_end() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let address = free_address()?;
    for _ in 0..2 {
        let wisp = ["--idle-exit", "1", path(&repository)?];
        let mut server = Process::activator(&[address], &[], &wisp)?;
        ask(address, &inference())?.ok()?;
        // An idle connection does not keep the server from ending.
        let mut idle = connect(address)?;
        idle.write_all(LIVE.as_bytes())?;
        ensure!(last_response(&mut idle)?.status == 200);
        server.ended_with_0()?;
        let first = server.first_line()?;
        let expected = format!("on http://{address} (socket activation): 1 of 1 models ready\n");
        ensure!(first.ends_with(&expected), "{first}");
        let log = server.rest_of_log()?;
        ensure!(log.contains("--idle-exit"), "{log}");
    }
    Ok(())
}

#[test]
fn names_select_the_sockets_for_http_and_grpc() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    // Taken together, so that they differ.
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let [grpc, http] = [listeners[0].local_addr()?, listeners[1].local_addr()?];
    drop(listeners);
    let names = ["--fdname", "grpc:http"];
    let mut server = Process::activator(&[grpc, http], &names, &[path(&repository)?])?;
    ask(http, &inference())?.ok()?;
    let first = server.first_line()?;
    let expected = format!(
        "on http://{http} (socket activation): 1 of 1 models ready, gRPC on {grpc} (socket activation)\n"
    );
    ensure!(first.ends_with(&expected), "{first}");
    Ok(())
}

#[test]
fn a_connection_that_arrives_while_the_server_drains_is_answered_by_the_next() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let address = holder.local_addr()?;
    let (mut server, _) = Process::on(&holder, &[path(&repository)?])?;
    let mut busy = connect(address)?;
    write!(
        busy,
        "POST /v2/models/progression/infer HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        BODY.len()
    )?;
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on)?;
    let mut idle = connect(address)?;
    idle.write_all(LIVE.as_bytes())?;
    idle.read_exact(&mut [0; 1])?;
    server.terminate()?;
    // The server has left the socket before it closes idle connections.
    idle.read_to_end(&mut Vec::new())?;
    let mut waiting = connect(address)?;
    waiting.write_all(inference().as_bytes())?;
    busy.write_all(BODY.as_bytes())?;
    last_response(&mut busy)?.ok()?;
    server.ended_with_0()?;

    let (_next, _) = Process::on(&holder, &[path(&repository)?])?;
    last_response(&mut waiting)?.ok()?;
    // The first server has left no filter that drops handshakes.
    ask(address, &inference())?.ok()?;
    Ok(())
}

#[test]
fn the_rules_of_loopback_follow_the_address_of_the_socket() -> Result<()> {
    const UNLOAD: &str = "POST /v2/repository/models/progression/unload HTTP/1.1\r\nhost: localhost\r\n\
                          connection: close\r\ncontent-length: 0\r\n\r\n";
    let foreign = LIVE.replace("localhost\r\n", "hostile.example\r\nconnection: close\r\n");
    let repository = Repository::of(&["progression"])?;
    for (socket, setting, foreign_host, control) in [
        ("127.0.0.1:0", "0.0.0.0:0", 403, 200),
        ("0.0.0.0:0", "127.0.0.1:0", 200, 403),
    ] {
        let holder = TcpListener::bind(socket)?;
        let address = SocketAddr::from(([127, 0, 0, 1], holder.local_addr()?.port()));
        let (_server, first) = Process::on(&holder, &["--http", setting, path(&repository)?])?;
        ensure!(!first.contains("gRPC"), "{first}");
        let answer = ask(address, &foreign)?;
        ensure!(answer.status == foreign_host, "{socket}: {answer:?}");
        let answer = ask(address, UNLOAD)?;
        ensure!(answer.status == control, "{socket}: {answer:?}");
    }
    Ok(())
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_a_bad_configuration() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let connection = TcpStream::connect(listener.local_addr()?)?;
    let directory = tempfile::tempdir()?;
    let local = UnixListener::bind(directory.path().join("socket"))?;
    for (what, descriptor, text) in [
        ("a file", Stdio::null(), "ListenStream="),
        (
            "a local socket",
            OwnedFd::from(local).into(),
            "ListenStream=",
        ),
        (
            "a connection",
            OwnedFd::from(connection).into(),
            "ListenStream=",
        ),
    ] {
        let mut command = passing(descriptor);
        command.env("LISTEN_FDNAMES", "web").arg(path(&repository)?);
        check_refusal(&mut command, &["`web`", text]).context(what)?;
    }
    let mut command = passing(OwnedFd::from(listener).into());
    command
        .env("LISTEN_FDS", "3")
        .env("LISTEN_FDNAMES", "a:b:c");
    check_refusal(command.arg(path(&repository)?), &["`c`", "one for gRPC"])
}

/// Checks that a server does not start, with an error that contains these texts.
fn check_refusal(command: &mut Command, texts: &[&str]) -> Result<()> {
    let mut process = Process::spawn(command)?;
    let status = process.ended()?;
    let log = process.rest_of_log()?;
    ensure!(status.code() == Some(64), "{status}: {log}");
    for text in texts {
        ensure!(log.contains(text), "no {text}: {log}");
    }
    Ok(())
}

#[test]
fn the_service_manager_is_notified_of_the_start_and_of_the_end() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("notify");
    let notified = UnixDatagram::bind(&socket)?;
    notified.set_read_timeout(Some(TIMEOUT))?;
    let mut command = Command::new(WISP);
    command
        .args(["serve", "--http", "127.0.0.1:0", "--grpc", "none"])
        .args(["--idle-exit", "1", path(&repository)?])
        .env("XDG_CACHE_HOME", cache())
        .env("NOTIFY_SOCKET", &socket)
        .env("WISP_METRICS", "none");
    let mut server = Process::spawn(&mut command)?;
    for expected in ["READY=1", "STOPPING=1"] {
        let mut state = [0; 32];
        let length = notified.recv(&mut state)?;
        ensure!(&state[..length] == expected.as_bytes(), "no {expected}");
    }
    server.ended_with_0()
}
