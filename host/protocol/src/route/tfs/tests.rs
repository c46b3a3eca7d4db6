//! Tests of the routes of paths.

use super::*;
use crate::call::{ModelName, Version, VersionLabel};
use crate::error::{ErrorKind, HasErrorKind};

fn target(version: VersionChoice) -> Target {
    Target {
        model: ModelName::new("half").unwrap(),
        version,
    }
}

fn number(text: &str) -> VersionChoice {
    VersionChoice::Number(Version::from_decimal(text).unwrap())
}

fn label(text: &str) -> VersionChoice {
    VersionChoice::Label(VersionLabel::new(text).unwrap())
}

#[test]
fn each_path_maps_to_its_call() -> anyhow::Result<()> {
    let infer = |version, verb| {
        RestCall::Infer(InferCall {
            selection: Selection::Named(target(version)),
            routing: RoutingKey::default(),
            decoder: RestDecoder::Tfs(TfsDecoder::new(verb)),
        })
    };
    let get = [
        ("/models", RestCall::TfsModelList),
        ("/models/", RestCall::TfsModelList),
        (
            "/Models/half",
            RestCall::TfsModelStatus(target(VersionChoice::Default)),
        ),
        (
            "/models/half/versions/3",
            RestCall::TfsModelStatus(target(number("3"))),
        ),
        (
            "/models/half/Versions/0",
            RestCall::TfsModelStatus(target(VersionChoice::Default)),
        ),
        (
            "/models/half/labels/canary",
            RestCall::TfsModelStatus(target(label("canary"))),
        ),
        (
            "/models/half/metadata",
            RestCall::TfsModelMetadata(target(VersionChoice::Default)),
        ),
        (
            "/models/half/versions/3/METADATA",
            RestCall::TfsModelMetadata(target(number("3"))),
        ),
        (
            "/models/h%61lf/labels/canary/metadata",
            RestCall::TfsModelMetadata(target(label("canary"))),
        ),
    ];
    let post = [
        (
            "/models/half:predict",
            infer(VersionChoice::Default, Verb::Predict),
        ),
        (
            "/models/half:Classify",
            infer(VersionChoice::Default, Verb::Classify),
        ),
        (
            "/models/half/versions/12:regress",
            infer(number("12"), Verb::Regress),
        ),
        (
            "/models/half/versions/0:predict",
            infer(VersionChoice::Default, Verb::Predict),
        ),
        (
            "/models/half/LABELS/stable:PREDICT",
            infer(label("stable"), Verb::Predict),
        ),
    ];
    for (method, other, allowed, paths) in [
        (Method::GET, Method::POST, "GET, HEAD", &get[..]),
        (Method::POST, Method::GET, "POST", &post),
    ] {
        for (path, expected) in paths {
            assert_eq!(&route(&method, path)?, expected, "{path}");
            let error = route(&other, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MethodNotAllowed, "{path}");
            assert_eq!(error.allow(), Some(allowed), "{path}");
        }
    }
    Ok(())
}

#[test]
fn other_paths_are_not_found() {
    let unknown = "this server has no such route";
    let cases = [
        ("", unknown),
        ("/", unknown),
        ("models", unknown),
        ("/model", unknown),
        ("/models:predict", unknown),
        ("/models/:predict", unknown),
        ("/models//versions/1", unknown),
        ("/models/half:predict:predict", unknown),
        ("/models/half:train", unknown),
        ("/models/half:", unknown),
        ("/models/half/", unknown),
        ("/models/half/versions", unknown),
        ("/models/half/revisions/1", unknown),
        ("/models/half/metadata:predict", unknown),
        ("/models/half/versions/1/metadata/x", unknown),
        ("/models/half/versions/1/labels/a", unknown),
        ("/models/half/versions/1/x/y/z/a/b", unknown),
        ("/models/..", "unknown model: `..`"),
        ("/models/a%2fb", "unknown model: `a/b`"),
        ("/models/a%253a", "unknown model: `a%3a`"),
        ("/models/a%3apredict", "unknown model: `a:predict`"),
        (
            "/models/half/versions/abc",
            "unknown version: `half` has no version `abc`",
        ),
        (
            "/models/half/versions/0x1",
            "unknown version: `half` has no version `0x1`",
        ),
        (
            "/models/half/labels/..:predict",
            "unknown version label: `half` has no label `..`",
        ),
    ];
    for (path, expected) in cases {
        for method in [Method::GET, Method::POST] {
            let error = route(&method, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
            assert_eq!(error.to_string(), expected, "{path}");
            assert_eq!(error.allow(), None);
        }
    }
}
