//! The API documentation: an OpenAPI document, and a page that displays it.
//!
//! The document is built once for all clients of a tenant, and again after a model is loaded or unloaded. The page is
//! the distribution of Swagger UI, compressed when the program is built (`build.rs`) and inflated once. It
//! refers to no other server, and its content security policy would block that. The content of the document
//! is defined in `protocol::openapi`.
//!
//! On a server with tenants, the page and its files need no key, and the document has models only for callers with one.
//! Without a key it describes what every server of this version has, so that the page can ask for the key, and that
//! generators of clients can read it.
//!
//! Invariant: all requests share the same bytes; the document and the inflated files are made once.

use crate::access::CallerKey;
use crate::failure::Failure;
use crate::http_response::{File, HttpResponse};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OnceCell, watch};
use wisp_protocol::call::ModelName;
use wisp_protocol::content_coding::{AcceptedCoding, Coding, Inflater, Progress};
use wisp_protocol::openapi::{self, Authentication, Control, Served, ServedModel, ServedVersion};
use wisp_protocol::route::DocsFile;
use wisp_serving::registry::{LoadedVersion, ModelEntry};
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_serving::{InferError, Serving};

/// Scripts from this server only, and none inline. The viewer has inline styles, and icons in `data:` URLs.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The limit on the inflated size of a viewer file. The largest one has 1.5 MB.
const MAX_INFLATED_BYTES: usize = 16 << 20;

/// The document and the files of the page. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Docs {
    /// The documents by tenant. An operator has as many of them as tenants.
    documents: Mutex<BTreeMap<TenantId, Current>>,
    /// The document without models, for callers without a key. It is the same as long as the process runs.
    without_models: OnceCell<Document>,
    script: Viewer,
    style: Viewer,
    icon: Viewer,
}

/// The document for the models that are served now. Lifetime: until the next load or unload.
#[derive(Debug)]
struct Current {
    /// Notified of changes of the tenant's own models, and of the public ones.
    changes: [watch::Receiver<()>; 2],
    /// Changes when the server gets its first tenant, and when the last one is removed.
    authentication: Authentication,
    /// Built for the first request; concurrent requests wait for it.
    document: Arc<OnceCell<Document>>,
}

/// An OpenAPI document, plain and compressed.
#[derive(Debug)]
struct Document {
    plain: Bytes,
    gzip: Bytes,
    tag: HeaderValue,
}

/// A file of Swagger UI.
#[derive(Debug)]
struct Viewer {
    gzip: &'static [u8],
    /// Inflated for the first client that does not accept gzip.
    plain: OnceCell<Bytes>,
}

macro_rules! viewer_file {
    ($name:literal) => {
        Viewer::new(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")))
    };
}

// === impl Docs ===

impl Docs {
    pub(crate) fn new() -> Docs {
        Docs {
            documents: Mutex::default(),
            without_models: OnceCell::new(),
            script: viewer_file!("swagger-ui-bundle.js"),
            style: viewer_file!("swagger-ui.css"),
            icon: viewer_file!("favicon-32x32.png"),
        }
    }

    /// Returns the document for the models that are served to this caller now, for a client with these headers.
    pub(crate) async fn openapi(
        &self,
        serving: &Serving,
        key: CallerKey,
        headers: &HeaderMap,
    ) -> Result<HttpResponse, Failure> {
        let authentication = match key {
            CallerKey::NotRequired => Authentication::None,
            CallerKey::Valid => Authentication::Keys,
            CallerKey::Missing => {
                let making = || make_document(serving, Vec::new(), Authentication::Keys);
                let document = self.without_models.get_or_try_init(making).await?;
                return Ok(document_response(document, key, headers));
            }
        };
        let cell = self.current(serving, authentication);
        let making = || make_document(serving, serving.entries(), authentication);
        let document = cell.get_or_try_init(making).await?;
        Ok(document_response(document, key, headers))
    }

    /// Returns a file of the page, for a client with these headers.
    pub(crate) async fn file(
        &self,
        file: DocsFile,
        serving: &Serving,
        headers: &HeaderMap,
    ) -> Result<HttpResponse, Failure> {
        let (content_type, viewer) = match file {
            DocsFile::Page => {
                let page = include_str!("docs/page.html");
                return Ok(text("text/html; charset=utf-8", page, headers));
            }
            DocsFile::Initializer => {
                let script = include_str!("docs/initializer.js");
                return Ok(text("text/javascript; charset=utf-8", script, headers));
            }
            DocsFile::KeyScript => {
                let script = include_str!("docs/key.js");
                return Ok(text("text/javascript; charset=utf-8", script, headers));
            }
            DocsFile::ConsoleScript => {
                let script = include_str!("console/console.js");
                return Ok(text("text/javascript; charset=utf-8", script, headers));
            }
            DocsFile::ConsoleStyle => {
                let style = include_str!("console/style.css");
                return Ok(text("text/css; charset=utf-8", style, headers));
            }
            DocsFile::Script => ("text/javascript; charset=utf-8", &self.script),
            DocsFile::Style => ("text/css; charset=utf-8", &self.style),
            DocsFile::Icon => ("image/png", &self.icon),
        };
        let tag = viewer.tag();
        let (content, coding) = match is_known(&tag, headers) {
            true => (None, None),
            false => {
                let (content, coding) = viewer.content(serving, headers).await?;
                (Some(content), coding)
            }
        };
        Ok(HttpResponse::file(File {
            content_type: HeaderValue::from_static(content_type),
            content,
            coding,
            varies: true,
            headers: file_headers(tag),
        }))
    }

    /// Returns the cell for the document of the models that are served now. It may still be empty.
    fn current(
        &self,
        serving: &Serving,
        authentication: Authentication,
    ) -> Arc<OnceCell<Document>> {
        let subscribe = || Current {
            changes: serving.changes(),
            authentication,
            document: Arc::default(),
        };
        // Each change of the map is a single assignment.
        let documents = self.documents.lock();
        let mut documents = documents.unwrap_or_else(PoisonError::into_inner);
        let tenant = serving.tenant().id.clone();
        let current = documents.entry(tenant).or_insert_with(subscribe);
        // The registry reports a change once it is visible. That of a tenant who was removed and added again is another
        // one, and the sender of its receiver is gone.
        let mut changes = current.changes.iter();
        let has_changed = changes.any(|changes| changes.has_changed().unwrap_or(true));
        if has_changed || current.authentication != authentication {
            *current = subscribe();
        }
        Arc::clone(&current.document)
    }
}

/// Builds the document of these models on a thread of the blocking pool: it takes some kilobytes for each version, so
/// many models make it long.
async fn make_document(
    serving: &Serving,
    entries: Vec<(ModelName, Arc<ModelEntry>)>,
    authentication: Authentication,
) -> Result<Document, InferError> {
    let control = match serving.is_controlled_by_clients() {
        true => Control::Clients,
        false => Control::Nobody,
    };
    let make = move || {
        let models = entries.iter().map(|(name, entry)| ServedModel {
            name,
            versions: (entry.versions.values())
                .filter_map(|version| match version {
                    // The interface of a web component is its own.
                    LoadedVersion::Ready(version) if version.web_route().is_some() => None,
                    LoadedVersion::Ready(version) => Some(ServedVersion {
                        description: version.description(),
                        example: version.example(),
                    }),
                    // The signature of a version is known once it is loaded.
                    LoadedVersion::Unloaded
                    | LoadedVersion::Dormant(_)
                    | LoadedVersion::Failed(_) => None,
                })
                .collect(),
            labels: (entry.labels.iter())
                .map(|(label, version)| (label, *version))
                .collect(),
        });
        let plain = openapi::document(&Served {
            version: env!("CARGO_PKG_VERSION"),
            models: models.collect(),
            control,
            authentication,
        });
        Document {
            gzip: Coding::Gzip.compress(std::slice::from_ref(&plain)),
            tag: tag(&plain),
            plain,
        }
    };
    Ok(serving.blocking().run_soon(make).await?)
}

/// Returns a document for a client with this key and these headers.
fn document_response(document: &Document, key: CallerKey, headers: &HeaderMap) -> HttpResponse {
    let (content, coding) = match (is_known(&document.tag, headers), gzip(headers)) {
        (true, _) => (None, None),
        (false, Some(coding)) => (Some(document.gzip.clone()), Some(coding)),
        (false, None) => (Some(document.plain.clone()), None),
    };
    let mut own = HeaderMap::new();
    own.insert(ETAG, document.tag.clone());
    // The names of a tenant's models do not stay in a browser that others use too.
    let caching = match key {
        CallerKey::NotRequired | CallerKey::Missing => ASKED_EACH_TIME,
        CallerKey::Valid => HeaderValue::from_static("no-store"),
    };
    own.insert(CACHE_CONTROL, caching);
    if key != CallerKey::NotRequired {
        own.insert(VARY, HeaderValue::from(AUTHORIZATION));
    }
    HttpResponse::file(File {
        content_type: HeaderValue::from_static("application/json"),
        content,
        coding,
        varies: true,
        headers: own,
    })
}

/// Returns a file that is short enough to be sent uncompressed.
fn text(content_type: &'static str, text: &'static str, headers: &HeaderMap) -> HttpResponse {
    let tag = tag(text.as_bytes());
    let content = Bytes::from_static(text.as_bytes());
    HttpResponse::file(File {
        content_type: HeaderValue::from_static(content_type),
        content: (!is_known(&tag, headers)).then_some(content),
        coding: None,
        varies: false,
        headers: file_headers(tag),
    })
}

/// The browser stores the file and revalidates it each time, because another program may respond next.
const ASKED_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");

fn file_headers(tag: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(ETAG, tag);
    headers.insert(CACHE_CONTROL, ASKED_EACH_TIME);
    headers
}

/// Returns an entity tag for these bytes. It is weak because it is the same for compressed and plain bytes.
fn tag(bytes: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    HeaderValue::try_from(tag).expect("hexadecimal digits and quotes stand in any header")
}

/// Returns whether the client already has the bytes with this tag.
fn is_known(tag: &HeaderValue, headers: &HeaderMap) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let mut tags = tags.as_bytes().split(|&byte| byte == b',');
        tags.any(|known| known.trim_ascii() == tag.as_bytes())
    })
}

/// Returns gzip if the client accepts it.
fn gzip(headers: &HeaderMap) -> Option<Coding> {
    let coding = AcceptedCoding::from_headers(headers).for_body(MAX_INFLATED_BYTES);
    coding.filter(|&coding| coding == Coding::Gzip)
}

// === impl Viewer ===

impl Viewer {
    fn new(gzip: &'static [u8]) -> Viewer {
        Viewer {
            gzip,
            plain: OnceCell::new(),
        }
    }

    /// Returns the tag of the file. A gzip stream ends with the checksum and the length of its content.
    fn tag(&self) -> HeaderValue {
        tag(&self.gzip[self.gzip.len().saturating_sub(8)..])
    }

    /// Returns the bytes for a client with these headers, and their compression.
    async fn content(
        &self,
        serving: &Serving,
        headers: &HeaderMap,
    ) -> Result<(Bytes, Option<Coding>), InferError> {
        let gzipped = Bytes::from_static(self.gzip);
        if let Some(coding) = gzip(headers) {
            return Ok((gzipped, Some(coding)));
        }
        let inflating = || serving.blocking().run_soon(move || inflate(gzipped));
        let plain = self.plain.get_or_try_init(inflating).await?;
        Ok((plain.clone(), None))
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
    use wisp_serving::ServingOptions;
    use wisp_serving::registry::Registry;

    fn serving() -> Serving {
        Serving::new(Registry::default(), None, ServingOptions::default())
    }

    #[tokio::test]
    async fn a_client_without_gzip_gets_the_file_as_it_is() -> anyhow::Result<()> {
        let (viewer, serving) = (viewer_file!("swagger-ui.css"), serving());
        let mut headers = HeaderMap::new();
        let (plain, coding) = viewer.content(&serving, &headers).await?;
        assert_eq!(coding, None);
        assert!(std::str::from_utf8(&plain)?.contains(".swagger-ui"));
        let (again, _) = viewer.content(&serving, &headers).await?;
        assert_eq!(again.as_ptr(), plain.as_ptr(), "inflated once");
        headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
        let (compressed, coding) = viewer.content(&serving, &headers).await?;
        assert_eq!(coding, Some(Coding::Gzip));
        assert_eq!(inflate(compressed), plain);
        Ok(())
    }

    #[test]
    fn files_have_different_tags() {
        let tags = [
            tag(b"a"),
            tag(b"b"),
            viewer_file!("swagger-ui.css").tag(),
            viewer_file!("swagger-ui-bundle.js").tag(),
        ];
        for (position, tag) in tags.iter().enumerate() {
            assert!(!tags[..position].contains(tag), "{tag:?}");
        }
    }

    #[tokio::test]
    async fn the_document_is_made_once_until_something_is_loaded() -> anyhow::Result<()> {
        let serving = serving();
        let docs = Docs::new();
        let made = async || -> anyhow::Result<Bytes> {
            let cell = docs.current(&serving, Authentication::None);
            let making = || make_document(&serving, serving.entries(), Authentication::None);
            let document = cell.get_or_try_init(making).await?;
            let inflated = inflate(document.gzip.clone());
            assert_eq!(inflated, document.plain);
            Ok(document.plain.clone())
        };
        let (first, second) = (made().await?, made().await?);
        assert_eq!(first.as_ptr(), second.as_ptr());
        // Even a model that does not exist is reported as removed.
        serving.registry().remove(&ModelName::new("m")?);
        let third = made().await?;
        assert_ne!(first.as_ptr(), third.as_ptr());
        assert_eq!(made().await?.as_ptr(), third.as_ptr());
        Ok(())
    }

    #[tokio::test]
    async fn a_request_with_the_tag_of_the_document_gets_not_modified() -> anyhow::Result<()> {
        let serving = serving();
        let docs = Docs::new();
        let mut headers = HeaderMap::new();
        let key = CallerKey::NotRequired;
        let first = docs.openapi(&serving, key, &headers).await?;
        assert_eq!(first.status(), 200);
        let tag = docs
            .current(&serving, Authentication::None)
            .get()
            .map(|document| document.tag.clone());
        headers.insert(IF_NONE_MATCH, tag.unwrap());
        let again = docs.openapi(&serving, key, &headers).await?;
        assert_eq!(again.status(), 304);
        Ok(())
    }

    #[tokio::test]
    async fn the_document_is_made_again_when_the_first_tenant_is_added() -> anyhow::Result<()> {
        let serving = serving();
        let docs = Docs::new();
        let without = docs.current(&serving, Authentication::None);
        let with = docs.current(&serving, Authentication::Keys);
        assert!(!Arc::ptr_eq(&without, &with));
        let again = docs.current(&serving, Authentication::Keys);
        assert!(Arc::ptr_eq(&with, &again));
        Ok(())
    }
}
