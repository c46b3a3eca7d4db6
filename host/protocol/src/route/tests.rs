//! Tests of the mapping from request heads to calls.

use super::*;
use crate::call::{InferCall, ModelName, Selection, Target, Version, VersionChoice};
use crate::error::{ErrorKind, HasErrorKind, Party};
use crate::release::ReleaseChange;
use crate::rest::RestDecoder;
use crate::routing::RoutingKey;
use crate::upload::{UploadFileName, VersionName};
use crate::v2::{GenerateDecoder, GenerateForm, HEADER_LENGTH};
use anyhow::Context;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::select;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (HeaderName::from_static(name), value)
    });
    // Collecting would replace a header that is given twice.
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

fn get(path: &str) -> Result<RestCall, RouteError> {
    route(&Method::GET, path, &HeaderMap::new())
}

fn post(path: &str, pairs: &[(&'static str, &str)]) -> Result<RestCall, RouteError> {
    route(&Method::POST, path, &headers(pairs))
}

fn target(model: &str, version: Option<&str>) -> Target {
    Target {
        model: ModelName::new(model).unwrap(),
        version: version.map_or(VersionChoice::Default, |text| {
            VersionChoice::Number(Version::from_decimal(text).unwrap())
        }),
    }
}

#[test]
fn each_path_maps_to_its_call() -> anyhow::Result<()> {
    let calls = [
        ("/v2", RestCall::ServerMetadata),
        ("/", RestCall::KserveLive),
        ("/openapi.json", RestCall::OpenApi),
        ("/docs", RestCall::Docs(DocsFile::Page)),
        ("/docs/swagger-ui.css", RestCall::Docs(DocsFile::Style)),
        ("/v2/health/live", RestCall::ServerLive),
        ("/v2/models", RestCall::ModelList),
        (
            "/v2/models/m/versions/3/config",
            RestCall::ModelConfig(target("m", Some("3"))),
        ),
        ("/v2/health/ready", RestCall::ServerReady),
        ("/v2/models/m", RestCall::ModelMetadata(target("m", None))),
        (
            "/v2/models/m/versions/3",
            RestCall::ModelMetadata(target("m", Some("3"))),
        ),
        (
            "/v2/models/m/ready",
            RestCall::ModelReady(target("m", None)),
        ),
        (
            "/v2/models/m/versions/3/ready",
            RestCall::ModelReady(target("m", Some("3"))),
        ),
        // A model may have the name of a path segment.
        (
            "/v2/models/versions",
            RestCall::ModelMetadata(target("versions", None)),
        ),
        (
            "/v2/models/ready/ready",
            RestCall::ModelReady(target("ready", None)),
        ),
        ("/v2/models/stats", RestCall::AllStatistics),
        (
            "/v2/models/m/stats",
            RestCall::ModelStatistics(target("m", None)),
        ),
        (
            "/v2/models/stats/versions/3/stats",
            RestCall::ModelStatistics(target("stats", Some("3"))),
        ),
        (
            "/v2/models/stats/ready",
            RestCall::ModelReady(target("stats", None)),
        ),
        // Percent escapes are decoded once.
        (
            "/v2/models/a%2Db%2e1",
            RestCall::ModelMetadata(target("a-b.1", None)),
        ),
    ];
    for (path, call) in calls {
        assert_eq!(get(path).context(path)?, call, "{path}");
    }
    assert_eq!(
        post("/v2/repository/index", &[])?,
        RestCall::RepositoryIndex
    );
    for (path, version) in [
        ("/v2/models/m/infer", None),
        ("/v2/models/m/versions/007/infer", Some("7")),
        (
            "/v2/models/m/versions/18446744073709551615/infer",
            Some("18446744073709551615"),
        ),
    ] {
        let RestCall::Infer(call) = post(path, &[])? else {
            anyhow::bail!("{path} is no inference");
        };
        assert_eq!(call.selection, Selection::Named(target("m", version)));
    }
    Ok(())
}

#[test]
fn unknown_paths_are_not_found() {
    for path in [
        "",
        "v2",
        "/v1",
        "/v2/",
        "/v2x",
        "//v2",
        "/v2/health",
        "/v2/health/",
        "/v2/health/live/",
        "/v2/models/",
        "/v2/models//ready",
        "/v2/models/m/",
        "/v2/models/m/infer/",
        "/v2/models/m/other",
        "/v2/models/m/versions/1/other",
        "/v2/models/m/versions/1/infer/x",
        "/v2/models/m/infer/a/b/c/d/e/f/g",
        "/v2/models/.hidden",
        "/v2/models/..",
        "/v2/models/a%2Fb",
        "/v2/models/a%252Db",
        "/v2/models/a%20b",
        "/v2/models/%ff",
        "/v2/models/a%",
        "/v2/models/é",
        "/v2/repository",
        "/v2/repository/models/m",
    ] {
        for method in [Method::GET, Method::POST] {
            let kind = route(&method, path, &HeaderMap::new()).map_err(|error| error.kind());
            // The model name is validated after the method.
            let names_a_model = path.starts_with("/v2/models/") && method == Method::POST;
            let expected = match kind {
                Err(ErrorKind::MethodNotAllowed) if names_a_model => continue,
                kind => kind,
            };
            assert_eq!(expected, Err(ErrorKind::NotFound), "{method} {path}");
        }
    }
}

#[test]
fn an_invalid_version_number_is_not_found() {
    for version in [
        "abc",
        "0",
        "00",
        "-1",
        "1.0",
        "",
        "18446744073709551616",
        "%31",
    ] {
        for verb in ["", "/ready"] {
            let path = format!("/v2/models/m/versions/{version}{verb}");
            let kind = get(&path).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::NotFound), "{path}");
        }
        let path = format!("/v2/models/m/versions/{version}/infer");
        let kind = post(&path, &[]).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::NotFound), "{path}");
    }
}

#[test]
fn the_error_for_a_wrong_method_contains_the_allowed_one() {
    let routes = [
        ("/v2", "GET, HEAD"),
        ("/v2/health/live", "GET, HEAD"),
        ("/v2/health/ready", "GET, HEAD"),
        ("/v2/models/m", "GET, HEAD"),
        ("/v2/models/m/ready", "GET, HEAD"),
        ("/v2/models/m/infer", "POST"),
        ("/v2/models/m/versions/1/infer", "POST"),
        ("/v2/models/m/generate", "POST"),
        ("/v2/repository/index", "POST"),
    ];
    for (path, allowed) in routes {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::HEAD,
            Method::OPTIONS,
        ] {
            if allowed
                .split(", ")
                .any(|allowed| method.as_str() == allowed)
            {
                continue;
            }
            let error = route(&method, path, &HeaderMap::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MethodNotAllowed, "{method} {path}");
            assert_eq!(error.allow(), Some(allowed), "{method} {path}");
            assert_eq!(
                error.to_string(),
                format!("this route supports only {allowed}")
            );
        }
    }
}

#[test]
fn a_browser_gets_the_console_and_others_the_liveness() -> anyhow::Result<()> {
    for (accept, expected) in [
        (
            "text/html,application/xhtml+xml,*/*;q=0.8",
            RestCall::Console(ConsoleView::default()),
        ),
        (
            "application/json, Text/HTML;q=0.1",
            RestCall::Console(ConsoleView::default()),
        ),
        ("*/*", RestCall::KserveLive),
        ("application/json", RestCall::KserveLive),
    ] {
        let call = route(&Method::GET, "/", &headers(&[("accept", accept)]))?;
        assert_eq!(call, expected, "{accept}");
    }
    let script = route(&Method::GET, "/docs/console.js", &HeaderMap::new())?;
    assert_eq!(script, RestCall::Docs(DocsFile::ConsoleScript));
    let key = route(&Method::GET, "/docs/key.js", &HeaderMap::new())?;
    assert_eq!(key, RestCall::Docs(DocsFile::KeyScript));
    let style = route(&Method::GET, "/docs/console.css", &HeaderMap::new())?;
    assert_eq!(style, RestCall::Docs(DocsFile::ConsoleStyle));
    let console = RestCall::Console(ConsoleView::default());
    let expected = RestCall::Console(ConsoleView {
        page: 1,
        ..ConsoleView::default()
    });
    assert_eq!(with_query(console.clone(), Some("page=2"))?, expected);
    assert_eq!(with_query(console.clone(), None)?, console);
    Ok(())
}

#[test]
fn head_makes_the_same_call_as_get() -> anyhow::Result<()> {
    for path in [
        "/",
        "/health",
        "/docs",
        "/openapi.json",
        "/v1/models",
        "/v1/models/m/metadata",
        "/v2",
        "/v2/models/stats",
        "/v2/models/m/config",
    ] {
        let call = route(&Method::HEAD, path, &HeaderMap::new()).context(path)?;
        assert_eq!(call, get(path)?, "{path}");
    }
    Ok(())
}

#[test]
fn generate_requests_name_a_model_and_a_version() -> anyhow::Result<()> {
    for (path, version, form) in [
        ("/v2/models/m/generate", None, GenerateForm::Object),
        (
            "/v2/models/m/versions/3/generate_stream",
            Some("3"),
            GenerateForm::Events,
        ),
    ] {
        let expected = InferCall {
            selection: Selection::Named(target("m", version)),
            routing: RoutingKey::default(),
            decoder: RestDecoder::Generate(GenerateDecoder::new(form)),
        };
        assert_eq!(post(path, &[])?, RestCall::Infer(expected), "{path}");
    }
    Ok(())
}

#[test]
fn a_release_is_read_with_get_and_changed_with_post() -> anyhow::Result<()> {
    let model = ModelName::new("m")?;
    let path = "/v2/repository/models/m/release";
    assert_eq!(get(path)?, RestCall::ReleaseStatus(model.clone()));
    assert_eq!(post(path, &[]).unwrap_err().allow(), Some("GET, HEAD"));
    for (verb, call) in [
        ("start", RestCall::ReleaseStart(model.clone())),
        (
            "promote",
            RestCall::ReleaseChange(model.clone(), ReleaseChange::Promote),
        ),
        (
            "abort",
            RestCall::ReleaseChange(model.clone(), ReleaseChange::Abort),
        ),
        (
            "close",
            RestCall::ReleaseChange(model.clone(), ReleaseChange::Close),
        ),
    ] {
        let path = format!("{path}/{verb}");
        assert_eq!(post(&path, &[])?, call, "{path}");
        assert_eq!(get(&path).unwrap_err().allow(), Some("POST"), "{path}");
    }
    let unknown = post(&format!("{path}/pause"), &[]).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    Ok(())
}

#[test]
fn unsupported_parts_of_the_protocol_are_reported_as_such() {
    for path in [
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/region/r/register",
        "/v2/repository/r/index",
    ] {
        for method in [Method::GET, Method::POST] {
            let error = route(&method, path, &HeaderMap::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotImplemented, "{method} {path}");
            assert!(
                error
                    .to_string()
                    .ends_with("is not supported by this server")
            );
        }
    }
}

#[test]
fn settings_are_read_with_get_and_changed_with_post() -> anyhow::Result<()> {
    let model = Some(target("m", None));
    for (path, read, changed) in [
        (
            "/v2/trace/setting",
            RestCall::TraceSettings(None),
            RestCall::SetTraceSettings(None),
        ),
        (
            "/v2/models/m/trace/setting",
            RestCall::TraceSettings(model.clone()),
            RestCall::SetTraceSettings(model),
        ),
        (
            "/v2/logging",
            RestCall::LogSettings,
            RestCall::SetLogSettings,
        ),
    ] {
        assert_eq!(get(path)?, read, "{path}");
        assert_eq!(post(path, &[])?, changed, "{path}");
        let refused = route(&Method::PUT, path, &HeaderMap::new()).map_err(|error| error.allow());
        assert_eq!(refused, Err(Some("GET, HEAD, POST")), "{path}");
    }
    Ok(())
}

#[test]
fn regions_of_shared_memory_can_be_listed_and_removed_only() -> anyhow::Result<()> {
    for memory in ["system", "cuda"] {
        let path = format!("/v2/{memory}sharedmemory");
        let status = get(&format!("{path}/status"))?;
        assert_eq!(status, RestCall::SharedMemoryStatus);
        for all in ["unregister", "region/r/unregister"] {
            let call = post(&format!("{path}/{all}"), &[])?;
            assert_eq!(call, RestCall::SharedMemoryUnregister);
        }
        let error = get(&format!("{path}/region/r/status")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let expected = format!("Unable to find {memory} shared memory region: 'r'");
        assert_eq!(error.to_string(), expected);
    }
    Ok(())
}

#[test]
fn a_header_length_is_decimal_and_given_once() {
    const NAME: &str = HEADER_LENGTH;
    for length in ["0", "17", "18446744073709551615", "007"] {
        assert!(
            post("/v2/models/m/infer", &[(NAME, length)]).is_ok(),
            "{length}"
        );
    }
    for length in [
        "",
        "-1",
        "+1",
        " 1",
        "1.0",
        "0x10",
        "1,1",
        "18446744073709551616",
        "é",
    ] {
        let error = post("/v2/models/m/infer", &[(NAME, length)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{length}");
    }
    let error = post("/v2/models/m/infer", &[(NAME, "5"), (NAME, "5")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Inference-Header-Content-Length is given more than once"
    );
}

#[test]
fn an_error_repeats_only_the_beginning_of_a_name() {
    let error = get(&format!("/v2/models/{}", "x".repeat(10_000))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!("unknown model: `{}…`", "x".repeat(64))
    );
    let error = get("/v2/models/a%0Ab").unwrap_err();
    assert_eq!(error.to_string(), "unknown model: `a\\nb`");
}

#[test]
fn models_are_loaded_and_unloaded_by_name() -> anyhow::Result<()> {
    let model = target("m", None).model;
    for (verb, call) in [
        ("load", RestCall::RepositoryLoad(model.clone())),
        ("unload", RestCall::RepositoryUnload(model)),
    ] {
        let path = format!("/v2/repository/models/m/{verb}");
        assert_eq!(post(&path, &[])?, call);
        let refused = get(&path).map_err(|error| error.allow());
        assert_eq!(refused, Err(Some("POST")), "{path}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn every_head_is_a_call_or_a_client_error(
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT]),
        path in prop_oneof![
            any::<String>(),
            "/v[12]/(models|Models|repository|health)(/[a-z%0-9:.]{0,8}){0,6}(:predict|:classify)?",
            "/(batch_)?predict(/[a-z%0-9]{0,4})?",
        ],
        length in any::<Option<String>>(),
    ) {
        let value = length.and_then(|length| HeaderValue::from_str(&length).ok());
        let name = HeaderName::from_static("inference-header-content-length");
        let headers = value.map(|value| (name, value)).into_iter().collect();
        if let Err(error) = route(&method, &path, &headers) {
            prop_assert_eq!(error.kind().party(), Party::Client);
            prop_assert_eq!(error.allow().is_some(), error.kind() == ErrorKind::MethodNotAllowed);
        }
    }
}

#[test]
fn the_paths_of_the_protocols_are_reserved() {
    for (path, reserved) in [
        ("/", Some("/")),
        ("/v2", Some("/v2")),
        ("/v2/models/x", Some("/v2")),
        ("/v2x", None),
        ("/predict/x", Some("/predict")),
        ("/openapi.json", Some("/openapi.json")),
        ("/apps/x", None),
        ("/hello", None),
    ] {
        assert_eq!(reserved_prefix(path), reserved, "{path}");
    }
}

#[test]
fn versions_of_the_repository_are_uploaded_committed_and_deleted() -> anyhow::Result<()> {
    let path = "/v2/repository/models/m/versions/3";
    let name = VersionName::parse("m", "3")?;
    let call =
        |method: Method, rest: &str| route(&method, &format!("{path}{rest}"), &HeaderMap::new());
    let file = UploadFileName::parse("cases/a.json")?;
    assert_eq!(
        call(Method::PUT, "/files/cases/a.json")?,
        RestCall::UploadFile(name.clone(), file)
    );
    assert_eq!(
        call(Method::POST, "/commit")?,
        RestCall::CommitVersion(name.clone())
    );
    assert_eq!(call(Method::DELETE, "")?, RestCall::DeleteVersion(name));
    for (method, rest, allowed) in [
        (Method::POST, "/files/model.onnx", "PUT"),
        (Method::GET, "/commit", "POST"),
        (Method::GET, "", "DELETE"),
    ] {
        assert_eq!(call(method, rest).unwrap_err().allow(), Some(allowed));
    }
    for rest in [
        "/files/..%2f..%2fmodel.onnx",
        "/files/../model.onnx",
        "/files/%6dodel.onnx",
        "/files/model.onnx%00",
        "/files/",
    ] {
        let refused = call(Method::PUT, rest).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{rest}");
    }
    let refused = post("/v2/repository/models/..%2fm/versions/3/commit", &[]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidRequest);
    Ok(())
}
