//! The routes of web components: the beginnings of the paths that they serve.
//!
//! A model file may choose the route; without one it follows from the name of the model. Two models cannot have the
//! same route, and no route lies within the paths of the protocols. Of two routes that contain a path, the longer one
//! is meant.

use std::fmt;
use std::sync::Arc;
use wisp_protocol::call::ModelName;
use wisp_protocol::route::reserved_prefix;

/// The beginning of the routes that no model file has chosen.
const APPS: &str = "/apps";

/// The maximum length of a route, in bytes.
const MAX_ROUTE_BYTES: usize = 200;

/// The route of a web component: a path without a slash at its end. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WebRoute(Arc<str>);

/// The error for a path that cannot be a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebRouteError {
    #[error(
        "`{route}` is not a route: expected a path such as `/hello`, of letters, digits, `-`, `_`, `.` and `~`, \
         without a slash at its end"
    )]
    Syntax { route: String },
    #[error(
        "the route `{route}` collides with `{reserved}`, which belongs to the protocols of the server"
    )]
    Reserved {
        route: String,
        reserved: &'static str,
    },
}

// === impl WebRoute ===

impl WebRoute {
    /// Returns a route, unless it is invalid or lies within the paths of the protocols.
    pub fn new(route: &str) -> Result<WebRoute, WebRouteError> {
        if let Some(reserved) = reserved_prefix(route) {
            let route = route.to_owned();
            return Err(WebRouteError::Reserved { route, reserved });
        }
        let segments = route.strip_prefix('/').map(|path| path.split('/'));
        let is_valid = segments.is_some_and(|mut segments| segments.all(is_segment));
        match is_valid && route.len() <= MAX_ROUTE_BYTES {
            true => Ok(WebRoute(route.into())),
            false => Err(WebRouteError::Syntax {
                route: wisp_tensor::sanitize::shorten(route, MAX_ROUTE_BYTES),
            }),
        }
    }

    /// Returns the route of a model whose model file has chosen none.
    pub fn of_model(model: &ModelName) -> WebRoute {
        WebRoute(format!("{APPS}/{model}").into())
    }

    /// Returns the model whose default route contains this path, whether or not there is one.
    pub(crate) fn default_model(path: &str) -> Option<ModelName> {
        let name = path.strip_prefix(APPS)?.strip_prefix('/')?;
        ModelName::new(name.split('/').next()?).ok()
    }

    /// Returns whether a path is the route or continues it.
    pub fn contains(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&*self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether the text can stand between two slashes, and stays as it is in every client.
fn is_segment(text: &str) -> bool {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !matches!(text, "" | "." | "..") && text.bytes().all(is_kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_contains_itself_and_what_continues_it() -> anyhow::Result<()> {
        let route = WebRoute::new("/hello")?;
        for (path, is_contained) in [
            ("/hello", true),
            ("/hello/", true),
            ("/hello/a/b", true),
            ("/helloa", false),
            ("/hell", false),
            ("/", false),
        ] {
            assert_eq!(route.contains(path), is_contained, "{path}");
        }
        let model = ModelName::new("wine")?;
        assert_eq!(WebRoute::of_model(&model).as_str(), "/apps/wine");
        assert_eq!(WebRoute::default_model("/apps/wine/x"), Some(model));
        assert_eq!(WebRoute::default_model("/apps/"), None);
        assert_eq!(WebRoute::default_model("/other/wine"), None);
        Ok(())
    }

    #[test]
    fn a_route_without_plain_segments_is_refused() {
        for route in [
            "", "hello", "/hello/", "//", "/a//b", "/a/../b", "/ä", "/a?b", "/%41",
        ] {
            let refused = WebRoute::new(route);
            let is_syntax = matches!(refused, Err(WebRouteError::Syntax { .. }));
            assert!(is_syntax, "{route}: {refused:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_ROUTE_BYTES));
        assert!(WebRoute::new(&long).is_err());
    }

    #[test]
    fn a_route_within_the_protocols_is_refused_with_their_part() {
        for (route, reserved) in [("/v2/models/x", "/v2"), ("/docs", "/docs"), ("/", "/")] {
            let refused = WebRoute::new(route).map_err(|error| error.to_string());
            let expected = format!("the route `{route}` collides with `{reserved}`");
            let names = refused
                .as_ref()
                .is_err_and(|text| text.starts_with(&expected));
            assert!(names, "{refused:?}");
        }
    }
}
