//! Tests of a server under adverse conditions: killed at any moment, a full disk, few file descriptors,
//! a clock that jumps.

use super::footprint::{peak_resident_bytes, resident_bytes};
use super::serve::{Serve, read_up_to, serve};
use super::{failure, run};
use crate::harness::{Repository, Response, TIMEOUT, component, output, scale, wait_until};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::scope;
use std::time::{Duration, SystemTime};
use wisp_sandbox::limits::Limits;

const REQUEST: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;

/// The right response to it, and the largest error.
const PROGRESSION: f64 = 207.263_23;
const TOLERANCE: f64 = 0.001;

const INFER: &str = "/v2/models/progression/infer";

/// Sends an inference request to the model `progression`, on a new connection, and checks the response.
fn infer(server: &Serve) -> Result<()> {
    check_progression(&post(server, INFER, REQUEST)?)
}

fn check_progression(response: &Response) -> Result<()> {
    let answer = response.ok()?;
    let found = output(&answer, "progression")?["data"][0].as_f64();
    let is_right = found.is_some_and(|found| (found - PROGRESSION).abs() < TOLERANCE);
    ensure!(is_right, "{answer}");
    Ok(())
}

fn post(server: &Serve, path: &str, body: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

/// Returns the names of the entries of a directory; empty if it does not exist.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn a_server_that_was_killed_while_starting_starts_again() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let cache = tempfile::tempdir()?;
    let aot = cache.path().join("aot");
    let command = || {
        let mut command = serve(repository.path());
        command.arg("--cache-dir").arg(cache.path());
        command
    };
    type Moment = fn(&[String]) -> bool;
    let moments: [Moment; 5] = [
        |_| true,
        |names| !names.is_empty(),
        |names| names.iter().any(|name| name == "key"),
        |names| names.iter().any(|name| name.starts_with(".tmp")),
        |names| names.iter().any(|name| name.ends_with(".cwasm")),
    ];
    for moment in moments {
        // Files from an earlier round would trigger this round's condition too early.
        std::fs::remove_dir_all(&aot).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut child = command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // A file may appear and disappear between two checks; the compiled file shows that the moment
        // has passed.
        let is_compiled = || names(&aot).iter().any(|name| name.ends_with(".cwasm"));
        wait_until("a handler is compiled", || {
            moment(&names(&aot)) || is_compiled()
        })?;
        child.kill()?;
        child.wait()?;
        infer(&Serve::spawn(command())?)?;
    }
    Ok(())
}

/// Returns the files with compiled code, and the time at which each was written.
fn compiled(aot: &Path) -> Result<BTreeMap<PathBuf, SystemTime>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(aot)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "cwasm") {
            files.insert(path, entry.metadata()?.modified()?);
        }
    }
    Ok(files)
}

/// Sends requests until the server does not answer. Each response that arrives as a whole must be right.
fn infer_until_the_end(server: &Serve, answered: &AtomicUsize) -> Result<()> {
    loop {
        let Ok(response) = post(server, INFER, REQUEST) else {
            return Ok(());
        };
        let length = response.header("content-length");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if length != Some(response.body.len()) {
            return Ok(());
        }
        check_progression(&response)?;
        answered.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_server_that_is_killed_under_load_starts_again_with_the_code_that_it_had() -> Result<()> {
    const KILLS: usize = 4;
    const CLIENTS: usize = 4;
    const ANSWERS: usize = 12;
    let repository = Repository::of(&["progression"])?;
    let cache = tempfile::tempdir()?;
    let start = || {
        let mut command = serve(repository.path());
        command.arg("--cache-dir").arg(cache.path());
        Serve::spawn(command)
    };
    let aot = cache.path().join("aot");
    let mut server = start()?;
    infer(&server)?;
    let before = compiled(&aot)?;
    ensure!(!before.is_empty(), "nothing is compiled");
    for kill in 0..KILLS * scale() {
        let answered = AtomicUsize::new(0);
        scope(|scope| {
            let (running, answered) = (&server, &answered);
            let client = move || infer_until_the_end(running, answered);
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            let waited = wait_until("requests are answered", || {
                answered.load(Relaxed) >= ANSWERS
            });
            // The clients end with the server, also after an error.
            running.signal("-KILL")?;
            for client in clients {
                client.join().ok().context("a client has panicked")??;
            }
            waited
        })
        .with_context(|| format!("kill {kill}"))?;
        server.child.wait()?;
        server = start()?;
        infer(&server).with_context(|| format!("after kill {kill}"))?;
        ensure!(compiled(&aot)? == before, "kill {kill}: compiled again");
    }
    Ok(())
}

#[test]
fn old_incomplete_files_of_a_killed_server_are_removed() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let cache = tempfile::tempdir()?;
    let mut command = serve(repository.path());
    command.arg("--cache-dir").arg(cache.path());
    let aot = cache.path().join("aot");
    infer(&Serve::spawn(command)?)?;
    let hours = Duration::from_secs(3 * 3600);
    for (name, age) in [(".tmpOld123", hours), (".tmpNew123", Duration::ZERO)] {
        let file = std::fs::File::create(aot.join(name))?;
        file.set_modified(SystemTime::now() - age)?;
    }
    let mut command = serve(repository.path());
    command.arg("--cache-dir").arg(cache.path());
    infer(&Serve::spawn(command)?)?;
    let names = names(&aot);
    ensure!(!names.iter().any(|name| name == ".tmpOld123"), "{names:?}");
    ensure!(names.iter().any(|name| name == ".tmpNew123"), "{names:?}");
    Ok(())
}

#[test]
fn a_cache_that_cannot_be_written_costs_a_compilation_only() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = serve(repository.path());
    // A file system on which no user can create files.
    command
        .args(["--cache-dir", "/sys/wisp"])
        .stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    infer(&server)?;
    server.log_up_to("compiled code is not stored")?;
    Ok(())
}

#[test]
fn a_start_needs_no_cache_and_logs_its_absence_once() -> Result<()> {
    // `digits` has a backend that is measured, and every model a handler that is compiled.
    let repository = Repository::of(&["digits", "progression", "wine"])?;
    let mut below_a_file = serve(repository.path());
    below_a_file.env("XDG_CACHE_HOME", "/dev/null/x");
    let mut homeless = serve(repository.path());
    homeless.env_remove("XDG_CACHE_HOME").env_remove("HOME");
    let (code, backends, home) = (
        "compiled code is not stored",
        "selected backends cannot be stored",
        "neither XDG_CACHE_HOME nor HOME is set",
    );
    for (mut command, counts) in [
        (below_a_file, [(code, 1), (backends, 1), (home, 0)]),
        (homeless, [(code, 0), (backends, 0), (home, 1)]),
    ] {
        command.stderr(Stdio::piped());
        let mut server = Serve::spawn(command)?;
        infer(&server)?;
        ensure!(server.get("/v2/health/ready")?.status == 200);
        server.signal("-TERM")?;
        ensure!(server.child.wait()?.success());
        let mut log = String::new();
        let stderr = server.child.stderr.take().context("it is piped")?;
        BufReader::new(stderr).read_to_string(&mut log)?;
        for (text, count) in counts {
            ensure!(log.matches(text).count() == count, "{text}: {log}");
        }
    }
    Ok(())
}

#[test]
fn a_full_disk_costs_a_compilation_only() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    // A disk without room for a key, and one with room for a key only.
    for (size, filled) in [("4k", "4096"), ("16k", "0")] {
        let cache = tempfile::tempdir()?;
        let script = r#"mount -t tmpfs -o "size=$1,mode=0700" none "$3" &&
            head -c "$2" /dev/zero > "$3/filled" && shift 3 && exec "$@""#;
        let mut command = Command::new("unshare");
        command
            .args(["-rm", "sh", "-c", script, "sh", size, filled])
            .arg(cache.path());
        let inner = serve(repository.path());
        command.arg(inner.get_program()).args(inner.get_args());
        command.arg("--cache-dir").arg(cache.path());
        let may_mount = Command::new("unshare").args(["-rm", "true"]).status();
        if !may_mount.is_ok_and(|status| status.success()) {
            // If tests may not mount file systems here, the previous test has to suffice.
            return Ok(());
        }
        infer(&Serve::spawn(command)?)?;
    }
    Ok(())
}

#[test]
fn a_full_disk_keeps_no_key_valid() -> Result<()> {
    let may_mount = Command::new("unshare").args(["-rm", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        // If tests may not mount file systems here, those of the file have to suffice.
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let script = r#"set -e
        mount -t tmpfs -o size=1m,mode=0700 none "$2"
        "$1" tenant add acme --role deploy --tenants "$2"
        "$1" tenant add other --tenants "$2"
        cat /dev/zero > "$2/filled" 2> /dev/null || true
        "$1" tenant revoke acme --all-keys --tenants "$2"
        "$1" tenant remove other --tenants "$2"
        "$1" tenant list --json --tenants "$2""#;
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_wisp"))
        .arg(directory.path());
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{errors}");
    let listed = String::from_utf8(output.stdout)?;
    let listed = listed.lines().last().unwrap_or_default();
    ensure!(listed.contains(r#""keys":[]"#), "{listed}");
    ensure!(!listed.contains("other"), "{listed}");
    Ok(())
}

#[test]
fn libraries_are_loaded_from_no_directory_that_others_can_write_to() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let cache = tempfile::tempdir()?;
    let home = cache.path().join("backends");
    std::fs::create_dir(&home)?;
    std::fs::set_permissions(&home, Permissions::from_mode(0o777))?;
    let mut command = serve(repository.path());
    command.arg("--cache-dir").arg(cache.path());
    let (text, code) = failure(&run(&mut command)?)?;
    ensure!(code == 64 && text.contains("mode 0777"), "{code}: {text}");
    Ok(())
}

/// Returns the command with a limit set by `ulimit`.
fn limited(repository: &Repository, limit: &str) -> Command {
    let inner = serve(repository.path());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn too_few_descriptors_are_an_error_that_names_the_limit() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let (text, code) = failure(&run(&mut limited(&repository, "-n 40"))?)?;
    ensure!(
        code == 64 && text.contains("RLIMIT_NOFILE"),
        "{code}: {text}"
    );
    let mut command = limited(&repository, "-n 256");
    command.args(["--max-connections", "1000"]);
    let (text, code) = failure(&run(&mut command)?)?;
    ensure!(
        code == 64 && text.contains("--max-connections"),
        "{code}: {text}"
    );
    Ok(())
}

#[test]
fn the_soft_limit_on_descriptors_is_raised() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = limited(&repository, "-Sn 64");
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let line = server.log_line("limit on open connections")?;
    let hard = Command::new("sh").args(["-c", "ulimit -Hn"]).output()?;
    let hard = String::from_utf8(hard.stdout)?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id()))?;
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().nth(3));
    ensure!(soft == Some(hard.trim()), "{files:?}, {hard}: {line}");
    Ok(())
}

#[test]
fn new_clients_are_served_when_idle_ones_use_all_descriptors() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = limited(&repository, "-n 64");
    command.stderr(Stdio::piped());
    let server = Serve::spawn(command)?;
    // Far more than the available descriptors; each replaces the connection that has been idle longest.
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(&server.address)?);
        if idle.len() % 20 == 0 {
            infer(&server)?;
        }
    }
    infer(&server)
}

#[test]
fn memory_is_given_back_after_a_burst() -> Result<()> {
    let hostile = component("hostile_guest")?;
    let repository =
        Repository::of(&["progression"])?.with_model("hostile", "progression", Some(hostile))?;
    let server = Serve::start(repository.path())?;
    infer(&server)?;
    let before = resident_bytes(server.child.id())?;
    let limits = Limits::default();
    // Handlers that hold the maximum amount of tensors.
    let body =
        r#"{"inputs":[{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["hoard"]}]}"#;
    let mut hoarded = 0;
    for _ in 0..3 {
        scope(|scope| -> Result<()> {
            let hoard = || post(&server, "/v2/models/hostile/infer", body);
            let hoarders: Vec<_> = (0..4).map(|_| scope.spawn(hoard)).collect();
            for hoarder in hoarders {
                let answer = hoarder.join().ok().context("a client has panicked")??;
                match answer.status {
                    200 => {
                        let answer = answer.ok()?;
                        let outcome = &output(&answer, "outcome")?["data"][0];
                        ensure!(*outcome == "too-large", "{answer}");
                        hoarded += 1;
                    }
                    // It may take too long on a busy machine.
                    504 => {}
                    _ => drop(answer.error(503)?),
                }
            }
            Ok(())
        })?;
        infer(&server)?;
    }
    ensure!(hoarded > 0, "no handler has held tensors");
    let peak = peak_resident_bytes(server.child.id())?;
    ensure!(peak > before + (64 << 20), "{peak} bytes, before {before}");
    // Four handlers at once, each with all the memory and all the tensors of its limits, and a tenth more.
    let each = u64::try_from(limits.memory_bytes + limits.tensor_bytes)?;
    let most = before + 4 * each / 10 * 11;
    ensure!(peak < most, "{peak} bytes instead of {most}");
    wait_until("less than 64 MiB are kept", || {
        let resident = resident_bytes(server.child.id());
        resident.is_ok_and(|resident| resident < before + (64 << 20))
    })
}

#[test]
fn the_axes_of_invalid_tensors_are_not_kept() -> Result<()> {
    let hostile = component("hostile_guest")?;
    let repository =
        Repository::of(&["progression"])?.with_model("hostile", "progression", Some(hostile))?;
    let server = Serve::start(repository.path())?;
    let body =
        r#"{"inputs":[{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["honest"]}]}"#;
    post(&server, "/v2/models/hostile/infer", body)?.ok()?;
    let before = peak_resident_bytes(server.id())?;
    // Sixteen tensors of a million axes, which are 64 MiB.
    let body = body.replace("honest", "wide_misfits");
    let answer = post(&server, "/v2/models/hostile/infer", &body)?.ok()?;
    let outcome = &output(&answer, "outcome")?["data"][0];
    ensure!(*outcome == "cut", "{answer}");
    let growth = peak_resident_bytes(server.id())?.saturating_sub(before);
    ensure!(growth < 40 << 20, "{growth} bytes more");
    infer(&server)
}

/// Returns a library that fakes the clock of a process, downloaded from Debian's archive.
fn faketime() -> Result<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faketime");
    let library = home.join("usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1");
    if !library.exists() {
        std::fs::create_dir_all(&home)?;
        let script = "apt-get download libfaketime && dpkg-deb -x libfaketime_*.deb .";
        let fetched = Command::new("sh")
            .args(["-c", script])
            .current_dir(&home)
            .output()?;
        let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
        ensure!(library.exists(), "no libfaketime: {said}");
    }
    Ok(library)
}

#[test]
fn jumps_of_the_clock_cause_no_timeouts() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let directory = tempfile::tempdir()?;
    let clock = directory.path().join("clock");
    std::fs::write(&clock, "+0")?;
    let mut command = serve(repository.path());
    command
        // The library in the process reads its clock from a file and from shared memory.
        .arg("--no-cage")
        .env("LD_PRELOAD", faketime()?)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut server = Serve::spawn(command)?;
    let mut kept = TcpStream::connect(&server.address)?;
    kept.set_read_timeout(Some(TIMEOUT))?;
    for jump in ["+1d", "-1d", "+3650d", "-10000d", "+0"] {
        std::fs::write(&clock, jump)?;
        for _ in 0..5 {
            infer(&server).with_context(|| jump.to_owned())?;
        }
        // A connection from before the jump still works.
        write!(
            kept,
            "GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )?;
        let mut answer = [0; 15];
        kept.read_exact(&mut answer)?;
        ensure!(&answer == b"HTTP/1.1 200 OK", "{jump}");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") {
            let mut byte = [0];
            kept.read_exact(&mut byte)?;
            rest.extend(byte);
        }
    }
    drop(kept);
    server.signal("-TERM")?;
    let ended = server.child.wait()?;
    ensure!(ended.code() == Some(0), "{ended}");
    Ok(())
}

#[test]
fn a_file_name_cannot_forge_a_line_of_the_log() -> Result<()> {
    let name = "x\n2026-01-01T00:00:00Z ERROR wisp: all is lost\u{202e}";
    let repository = Repository::of(&["progression"])?
        .with_file(&format!("{name}/1/model.onnx"), "")?
        .with_file("fresh/model.toml", "export = \"a\\nb\\u202E\\u001B[2J\"")?;
    let mut child = serve(repository.path())
        .arg("--no-exit-on-error")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut log = BufReader::new(child.stderr.take().context("it is piped")?);
    let line = read_up_to(&mut log, "is not a valid model name")?;
    ensure!(line.contains(r"x\n2026-01-01T00:00:00Z"), "{line}");
    ensure!(!line.contains('\u{202e}'), "{line}");
    let mut banner = Vec::new();
    let mut output = BufReader::new(child.stdout.take().context("it is piped")?);
    while !banner.ends_with(b"try again\n") {
        let mut byte = [0];
        output.read_exact(&mut byte)?;
        banner.extend(byte);
    }
    let banner = String::from_utf8(banner)?;
    ensure!(banner.contains(r"`a\nb\u{202e}\u{1b}[2J`"), "{banner}");
    child.kill()?;
    child.wait()?;
    Ok(())
}
