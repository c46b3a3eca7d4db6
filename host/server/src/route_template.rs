//! The routes of paths, with names in place of the clients' values, for traces and logs.
//!
//! Requests cannot add routes: there are as many as lines in [`TEMPLATES`]. The routing itself is in
//! `wisp_protocol::route`.

/// The routes of HTTP requests. A segment in braces stands for any text; the text after the braces is part of the route.
const TEMPLATES: [&str; 51] = [
    "/",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/stats",
    "/v2/models/{model}",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/config",
    "/v2/models/{model}/stats",
    "/v2/models/{model}/generate",
    "/v2/models/{model}/generate_stream",
    "/v2/models/{model}/trace/setting",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/{model}/versions/{version}/config",
    "/v2/models/{model}/versions/{version}/stats",
    "/v2/models/{model}/versions/{version}/generate",
    "/v2/models/{model}/versions/{version}/generate_stream",
    "/v2/repository/index",
    "/v2/repository/models/{model}/load",
    "/v2/repository/models/{model}/unload",
    "/v2/repository/models/{model}/versions/{version}",
    "/v2/repository/models/{model}/versions/{version}/commit",
    "/v2/repository/models/{model}/versions/{version}/files/{file}",
    "/v2/trace/setting",
    "/v2/logging",
    "/v1/limits",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/models/{model}:predict",
    "/v1/models/{model}:classify",
    "/v1/models/{model}:regress",
    "/v1/models/{model}/metadata",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/versions/{version}:predict",
    "/v1/models/{model}/versions/{version}:classify",
    "/v1/models/{model}/versions/{version}:regress",
    "/v1/models/{model}/versions/{version}/metadata",
    "/v1/models/{model}/labels/{label}",
    "/v1/models/{model}/labels/{label}:predict",
    "/v1/models/{model}/labels/{label}:classify",
    "/v1/models/{model}/labels/{label}:regress",
    "/predict",
    "/predict/{model}",
    "/batch_predict/{model}",
    "/health",
    "/openapi.json",
    "/docs/{file}",
];

/// Returns the route of a path without its query, or `None` for a path of no protocol.
pub(crate) fn route_template(path: &str) -> Option<&'static str> {
    TEMPLATES
        .into_iter()
        .find(|template| matches(template, path))
}

fn matches(template: &str, path: &str) -> bool {
    let is_tfs = template.starts_with("/v1");
    let mut segments = path.split('/');
    let all = template.split('/').all(|part| {
        let segment = segments.next();
        segment.is_some_and(|segment| matches_segment(part, segment, is_tfs))
    });
    all && segments.next().is_none()
}

/// Returns whether a segment matches its part of a route. The words of TF Serving's routes may be in any case.
fn matches_segment(part: &str, segment: &str, ignores_case: bool) -> bool {
    let is_word = |word: &str, text: &str| match ignores_case {
        true => word.eq_ignore_ascii_case(text),
        false => word == text,
    };
    let Some((_, verb)) = part.strip_prefix('{').and_then(|part| part.split_once('}')) else {
        return is_word(part, segment);
    };
    match segment.split_once(':') {
        Some((name, rest)) => {
            let found = verb.strip_prefix(':');
            !name.is_empty() && found.is_some_and(|verb| is_word(verb, rest))
        }
        None => verb.is_empty() && !segment.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_not_part_of_a_route() {
        for (path, template) in [
            ("/", "/"),
            ("/v2", "/v2"),
            ("/v2/models/wine/infer", "/v2/models/{model}/infer"),
            (
                "/v2/models/a.b/versions/12/infer",
                "/v2/models/{model}/versions/{version}/infer",
            ),
            ("/v2/models/stats", "/v2/models/stats"),
            ("/v2/models/wine", "/v2/models/{model}"),
            ("/v1/models/wine:predict", "/v1/models/{model}:predict"),
            ("/v1/Models/wine:PREDICT", "/v1/models/{model}:predict"),
            (
                "/v1/models/wine/labels/canary:classify",
                "/v1/models/{model}/labels/{label}:classify",
            ),
            ("/docs/swagger-ui.css", "/docs/{file}"),
        ] {
            assert_eq!(route_template(path), Some(template), "{path}");
        }
    }

    #[test]
    fn a_path_of_no_protocol_has_no_route() {
        for path in [
            "",
            "/nothing",
            "/v2/",
            "/v2/models//infer",
            "/v2/models/wine/infer/",
            "/V2",
            "/v1/models/wine:forget",
            "/v1/models/:predict",
            "/apps/shop/cart",
        ] {
            assert_eq!(route_template(path), None, "{path}");
        }
    }

    #[test]
    fn every_route_is_in_the_audit_of_keys() {
        let audited = include_str!("../../../tests/fixtures/tenants/routes.txt");
        let paths = audited
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        let paths: Vec<&str> = paths.collect();
        for template in TEMPLATES {
            let mut found = paths.iter().filter_map(|path| route_template(path));
            assert!(found.any(|found| found == template), "{template}");
        }
    }

    #[test]
    fn every_route_is_its_own() {
        for template in TEMPLATES {
            let path = template.replace(['{', '}'], "");
            assert_eq!(route_template(&path), Some(template));
        }
    }
}
