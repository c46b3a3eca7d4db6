//! A Python package index on the loopback interface, with one project and one file.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

/// The format of a project's page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// JSON with an absolute path to the file.
    Json,
    /// JSON with a relative path to the file.
    RelativeJson,
    /// A page of links in HTML, which is not supported.
    Html,
}

/// A running index. It serves until it is dropped.
#[derive(Debug)]
pub(super) struct PackageIndex {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// The contents of the index.
#[derive(Debug)]
struct Offer {
    form: Form,
    file: String,
    content: Vec<u8>,
}

impl PackageIndex {
    /// Starts an index that offers `content` as a file of onnxruntime, under the file name of `path`.
    pub(super) fn start(form: Form, path: &Path, content: Vec<u8>) -> Result<PackageIndex> {
        let file = path.file_name().context("a file has a name")?;
        let offer = Offer {
            form,
            file: file.to_string_lossy().into_owned(),
            content,
        };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let serve = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Errors of disconnected clients are ignored.
                if let Ok(End::OfServer) = offer.answer(stream) {
                    break;
                }
            }
        };
        Ok(PackageIndex {
            address,
            thread: Some(std::thread::spawn(serve)),
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/simple", self.address)
    }
}

/// The scope that ends with a response.
enum End {
    OfConnection,
    OfServer,
}

impl Offer {
    fn answer(&self, stream: TcpStream) -> std::io::Result<End> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let path = line.split(' ').nth(1).unwrap_or_default();
        let mut stream = reader.into_inner();
        let file = format!("/files/{}", self.file);
        let (status, kind, body) = match path {
            "/stop" => return Ok(End::OfServer),
            "/simple/onnxruntime/" => ("200 OK", self.page_type(), self.page().into_bytes()),
            path if path == file => ("200 OK", "application/octet-stream", self.content.clone()),
            _ => ("404 Not Found", "text/html", b"<a href=nothing>".to_vec()),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(&body)?;
        Ok(End::OfConnection)
    }

    fn page_type(&self) -> &'static str {
        match self.form {
            Form::Json | Form::RelativeJson => "application/vnd.pypi.simple.v1+json",
            Form::Html => "text/html; charset=utf-8",
        }
    }

    fn page(&self) -> String {
        let file = &self.file;
        let url = match self.form {
            Form::Json => format!("/files/{file}"),
            Form::RelativeJson => format!("../../files/{file}#sha256=0"),
            Form::Html => return format!("<a href=\"/files/{file}\">{file}</a>"),
        };
        serde_json::json!({
            "meta": { "api-version": "1.1" },
            "name": "onnxruntime",
            "files": [{ "filename": file, "url": url, "hashes": {} }],
        })
        .to_string()
    }
}

impl Drop for PackageIndex {
    fn drop(&mut self) {
        let asked = TcpStream::connect(self.address)
            .and_then(|mut stream| stream.write_all(b"GET /stop HTTP/1.1\r\n\r\n"));
        // If the server does not respond any more, its thread has already ended.
        if let (Ok(()), Some(thread)) = (asked, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
