//! What the server says of its own API: the document, made anew for each request, and the page that shows it.
//!
//! The page is Swagger UI as it is distributed, compressed when the program is built (`build.rs`); the page
//! names nothing on another server, and its policy would not let it. What is in the document is
//! `protocol::openapi`'s to say.

use crate::reply::{File, Reply, on_blocking_thread};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use std::hash::{DefaultHasher, Hasher};
use wisp_protocol::call::DocsFile;
use wisp_protocol::content_coding::{AcceptedCoding, Coding, Inflater, Progress};
use wisp_protocol::openapi::{self, Control, Served, ServedModel};
use wisp_serving::Serving;
use wisp_serving::registry::LoadedVersion;

/// Scripts from this server only and none within the page; the viewer's styles are within it, and its
/// icons are `data:`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The largest file of the viewer, inflated. It is 1.5 MB.
const MAX_INFLATED_BYTES: usize = 16 << 20;

/// A file as the program holds it.
#[derive(Clone, Copy)]
enum Held {
    Plain(&'static str),
    Gzip(&'static [u8]),
}

macro_rules! viewer_file {
    ($name:literal) => {
        Held::Gzip(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")))
    };
}

/// The document of what is served now.
pub(crate) async fn openapi(serving: &Serving, headers: &HeaderMap) -> Reply {
    let entries = serving.entries();
    let control = match serving.is_controlled_by_clients() {
        true => Control::Clients,
        false => Control::Nobody,
    };
    // Some kilobytes for each version: as many models as there are make it long.
    let document = on_blocking_thread(move || {
        let models = entries.iter().map(|(name, entry)| ServedModel {
            name,
            versions: (entry.versions.values())
                .filter_map(|version| match version {
                    LoadedVersion::Ready(version) => Some(version.description()),
                    LoadedVersion::Unloaded | LoadedVersion::Failed(_) => None,
                })
                .collect(),
            labels: (entry.labels.iter())
                .map(|(label, version)| (label, *version))
                .collect(),
        });
        openapi::document(&Served {
            version: env!("CARGO_PKG_VERSION"),
            models: models.collect(),
            control,
        })
    });
    Reply::document(document.await).compress_for(headers).await
}

/// A file of the page, for a client with these headers.
pub(crate) async fn file(file: DocsFile, headers: &HeaderMap) -> Reply {
    let (content_type, held) = match file {
        DocsFile::Page => (
            "text/html; charset=utf-8",
            Held::Plain(include_str!("docs/page.html")),
        ),
        DocsFile::Initializer => (
            "text/javascript; charset=utf-8",
            Held::Plain(include_str!("docs/initializer.js")),
        ),
        DocsFile::Script => (
            "text/javascript; charset=utf-8",
            viewer_file!("swagger-ui-bundle.js"),
        ),
        DocsFile::Style => ("text/css; charset=utf-8", viewer_file!("swagger-ui.css")),
        DocsFile::Icon => ("image/png", viewer_file!("favicon-32x32.png")),
    };
    let tag = held.tag();
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let tags = tags.to_str().unwrap_or_default();
        tags.split(',').any(|known| known.trim() == tag)
    });
    let (content, coding) = match is_known {
        true => (None, None),
        false => {
            let (content, coding) = held.content(headers).await;
            (Some(content), coding)
        }
    };
    Reply::file(File {
        content_type: HeaderValue::from_static(content_type),
        content,
        coding,
        varies: matches!(held, Held::Gzip(_)),
        headers: file_headers(&tag),
    })
}

fn file_headers(tag: &str) -> HeaderMap {
    let tag =
        HeaderValue::try_from(tag).expect("hexadecimal digits and quotes stand in any header");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(ETAG, tag);
    // Kept by the browser, and asked about each time: another program may answer next.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers
}

impl Held {
    /// What tells the file from another program's. Weak, as the same whether compressed or not.
    fn tag(self) -> String {
        let mut hasher = DefaultHasher::new();
        hasher.write(match self {
            Held::Plain(text) => text.as_bytes(),
            // A stream of gzip ends with the checksum and the length of what it holds.
            Held::Gzip(stream) => &stream[stream.len().saturating_sub(8)..],
        });
        format!("W/\"{:016x}\"", hasher.finish())
    }

    /// The bytes for a client with these headers, and how they are compressed.
    async fn content(self, headers: &HeaderMap) -> (Bytes, Option<Coding>) {
        let stream = match self {
            Held::Plain(text) => return (Bytes::from_static(text.as_bytes()), None),
            Held::Gzip(stream) => Bytes::from_static(stream),
        };
        match AcceptedCoding::from_headers(headers).for_body(MAX_INFLATED_BYTES) {
            Some(Coding::Gzip) => (stream, Some(Coding::Gzip)),
            Some(Coding::Deflate) | None => {
                (on_blocking_thread(move || inflate(stream)).await, None)
            }
        }
    }
}

fn inflate(stream: Bytes) -> Bytes {
    let mut inflater = Inflater::new(Coding::Gzip, stream, MAX_INFLATED_BYTES);
    while inflater
        .step()
        .expect("it was compressed when the program was built")
        == Progress::Started
    {}
    inflater.into_inflated()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_without_gzip_gets_the_file_as_it_is() -> anyhow::Result<()> {
        let held = viewer_file!("swagger-ui.css");
        let mut headers = HeaderMap::new();
        let (plain, coding) = held.content(&headers).await;
        assert_eq!(coding, None);
        assert!(std::str::from_utf8(&plain)?.contains(".swagger-ui"));
        headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
        let (compressed, coding) = held.content(&headers).await;
        assert_eq!(coding, Some(Coding::Gzip));
        assert_eq!(inflate(compressed), plain);
        Ok(())
    }

    #[test]
    fn files_have_different_tags() {
        let tags = [
            Held::Plain("a").tag(),
            Held::Plain("b").tag(),
            viewer_file!("swagger-ui.css").tag(),
            viewer_file!("swagger-ui-bundle.js").tag(),
        ];
        for (position, tag) in tags.iter().enumerate() {
            assert!(!tags[..position].contains(tag), "{tag}");
        }
    }
}
