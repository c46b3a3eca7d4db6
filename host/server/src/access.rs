//! The identification and authorisation of requests, in one place for all protocols.
//!
//! Every call passes [`Access::admit`] before anything about it is answered, whether or not its path exists. The service
//! that it returns is that of the caller's tenant, so that no later step can name the models of another one. A request
//! without a valid key or certificate always gets the same response, and a gRPC request the same status. Browsers open pages
//! without a key: those who have none get the page and the document of the API without anything of a tenant
//! ([`Requirement::Optional`]).
//!
//! A certificate is the one of the connection's handshake, and never one that a header such as
//! `x-forwarded-client-cert` describes.
//!
//! The process of a tenant takes the role of the caller from the server that has identified it, with each request: the two
//! need not agree on the kind of a request: no disagreement gives more rights than the key has.
//!
//! The right that a request requires is that of its `operation`. `tests/tenants/audit.rs` tries every route with every kind
//! of key.

use crate::failure::Failure;
use crate::operation::Requirement;
use crate::peer_certificate::PeerCertificate;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::time::SystemTime;
use wisp_protocol::route::route;
use wisp_serving::Serving;
use wisp_serving::namespaces::{Caller, Namespaces};
use wisp_serving::tenants::api_key::KeyId;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_set::{NotAuthenticated, Presented};

/// The scheme of the header in which clients send their keys.
const SCHEME: &str = "bearer";

/// The header that carries the role of the caller from the server to a worker process. A client's own is replaced.
pub(crate) const FORWARDED_ROLE: &str = "wisp-forwarded-role";

/// The identity of a caller, as far as pages and the API's document depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallerKey {
    /// The server has no tenants.
    NotRequired,
    /// The caller is a tenant, by a key or a certificate, or as the one that gets all requests without either.
    Valid,
    /// The caller is anonymous. The response may contain no data of a tenant or of the public models.
    Missing,
}

/// A request that may be made. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The service of the caller's tenant, or of the public models if there is no caller.
    pub(crate) serving: Arc<Serving>,
    pub(crate) key: CallerKey,
}

/// The check of the keys, certificates and roles of requests. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Access {
    namespaces: Arc<Namespaces>,
}

/// The caller of a request, which may be a stream that outlives its key or its certificate. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestCaller {
    namespaces: Arc<Namespaces>,
    serving: Arc<Serving>,
    role: Role,
    /// The key that was verified.
    key: Option<KeyId>,
    /// The certificate of the client, which may end before the request.
    peer: Option<Arc<PeerCertificate>>,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(namespaces: Arc<Namespaces>) -> Access {
        Access { namespaces }
    }

    /// Returns the service for a request with this head, if it may make a call with this requirement. A call without a
    /// caller gets the one of the public models.
    pub(crate) fn admit(
        &self,
        head: &Parts,
        requirement: Requirement,
    ) -> Result<Admission, Failure> {
        // Read before the caller is identified. If the first tenant is added in between, a caller without a key is anonymous.
        let key = match self.needs_keys() {
            true => CallerKey::Valid,
            false => CallerKey::NotRequired,
        };
        let nobody = || Admission {
            serving: Arc::clone(self.namespaces.public()),
            key: CallerKey::Missing,
        };
        match requirement {
            Requirement::Open => Ok(nobody()),
            Requirement::Optional => match self.caller(head) {
                Ok(Caller { serving, .. }) => Ok(Admission { serving, key }),
                Err(_) if presented_key(&head.headers).is_none() => Ok(nobody()),
                Err(failure) => Err(failure),
            },
            Requirement::Role(role) => {
                let caller = self.caller(head)?;
                expect_role(&caller, role)?;
                let serving = caller.serving;
                Ok(Admission { serving, key })
            }
        }
    }

    /// Returns the caller of a gRPC request, or `None` for a call that requires no key and has no valid one.
    pub(crate) fn admit_grpc(&self, head: &Parts) -> Result<Option<RequestCaller>, Failure> {
        let caller = match Requirement::of_method(head.uri.path()) {
            Requirement::Open | Requirement::Optional => self.caller(head).ok(),
            Requirement::Role(role) => {
                let caller = self.caller(head)?;
                expect_role(&caller, role)?;
                Some(caller)
            }
        };
        Ok(caller.map(|caller| self.request_caller(caller, head)))
    }

    /// Returns the caller, if the process of its tenant answers a request with this head, and if it may make the request.
    /// All else is answered by this process, with a refusal where one is due. With `passes_open`, calls that require no key
    /// are passed on too.
    pub(crate) fn isolated(
        &self,
        head: &Parts,
        (is_grpc, passes_open): (bool, bool),
    ) -> Option<RequestCaller> {
        if !self.namespaces.has_workers() || head.method == Method::CONNECT {
            return None;
        }
        let required = match is_grpc {
            true => Requirement::of_method(head.uri.path()),
            false => Requirement::of_call(&route(&head.method, head.uri.path(), &head.headers)),
        };
        let caller = self.caller(head).ok()?;
        let may_call = match required {
            Requirement::Open => passes_open,
            // People enter keys in the pages: what a browser opens by itself is never made by the process of a tenant.
            Requirement::Optional => presented_key(&head.headers).is_some(),
            Requirement::Role(role) => caller.role >= role,
        };
        let isolation = caller.serving.tenant().isolation;
        let is_isolated = isolation == Isolation::Worker;
        (may_call && is_isolated).then(|| self.request_caller(caller, head))
    }

    /// Returns the caller, if it may change the tenants.
    pub(crate) fn expect_admin(&self, head: &Parts) -> Result<(), Failure> {
        // Without tenants everyone would be the administrator.
        if !self.namespaces.needs_keys() {
            return Err(Failure::NoTenants);
        }
        expect_role(&self.caller(head)?, Role::Admin)
    }

    /// Returns whether requests belong to tenants, here or in the process that has passed them on.
    pub(crate) fn needs_keys(&self) -> bool {
        self.namespaces.needs_keys() || self.namespaces.is_of_one_tenant()
    }

    /// Removes the key from the headers of a request that is passed on to a guest.
    pub(crate) fn hide_key(&self, headers: &mut HeaderMap) {
        if self.namespaces.needs_keys() {
            headers.remove(AUTHORIZATION);
        }
        if self.namespaces.is_of_one_tenant() {
            headers.remove(FORWARDED_ROLE);
        }
    }

    fn caller(&self, head: &Parts) -> Result<Caller, Failure> {
        let now = SystemTime::now();
        let presented = Presented {
            key: presented_key(&head.headers),
            subjects: PeerCertificate::of(head).map(|peer| peer.subjects(now)),
        };
        let mut caller = self.namespaces.identify(presented, now)?;
        if self.namespaces.is_of_one_tenant() {
            caller.role = forwarded_role(&head.headers);
        }
        Ok(caller)
    }

    fn request_caller(&self, caller: Caller, head: &Parts) -> RequestCaller {
        RequestCaller {
            namespaces: Arc::clone(&self.namespaces),
            serving: caller.serving,
            role: caller.role,
            key: caller.key,
            peer: PeerCertificate::of(head).map(Arc::clone),
        }
    }
}

// === impl RequestCaller ===

impl RequestCaller {
    /// Returns the services of all tenants.
    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Returns the service of the tenant when the request began.
    pub(crate) fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// Returns whether the request has a key, which no navigation of a browser has.
    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Returns the role of the caller when the request began.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Returns the service of the tenant now, unless the key or the certificate is not valid any more. Each role allows
    /// inference.
    pub(crate) fn renewed(&self) -> Result<Arc<Serving>, Failure> {
        let now = SystemTime::now();
        let subjects = self.peer.as_ref().map(|peer| peer.subjects(now));
        let caller = self.namespaces.renew((self.key, subjects), now)?;
        // A name can be given to another tenant, a key cannot.
        let is_moved = caller.serving.tenant().id != self.serving.tenant().id;
        match self.peer.is_some() && is_moved {
            true => Err(NotAuthenticated.into()),
            false => Ok(caller.serving),
        }
    }
}

fn expect_role(caller: &Caller, required: Role) -> Result<(), Failure> {
    match caller.role >= required {
        true => Ok(()),
        false => Err(Failure::Role(required)),
    }
}

/// Returns the role that the server has found for a request that it has passed on, the weakest one if it names none.
fn forwarded_role(headers: &HeaderMap) -> Role {
    let role = headers.get(FORWARDED_ROLE);
    let role = role.and_then(|role| role.to_str().ok()?.parse::<Role>().ok());
    role.unwrap_or(Role::Infer)
}

/// Returns the key in the headers of a request, if there is one. Anything else in its place is a key that nobody has: a
/// request that tries to identify itself is never an anonymous one.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some("");
    }
    let key = value.to_str().ok().and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case(SCHEME)
            .then(|| key.trim_matches(' '))
    });
    Some(key.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::ACCEPT;
    use wisp_protocol::route::RouteError;

    fn key_of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(AUTHORIZATION, value);
        }
        presented_key(&headers).map(str::to_owned)
    }

    #[test]
    fn a_key_is_the_token_of_a_single_bearer_header() {
        let key = |text: &str| Some(text.to_owned());
        assert_eq!(key_of(&[]), None);
        assert_eq!(key_of(&["Bearer wisp_1_2"]), key("wisp_1_2"));
        assert_eq!(key_of(&["bearer   wisp_1_2 "]), key("wisp_1_2"));
        for wrong in [&["wisp_1_2"][..], &["Basic a"], &[""], &["Bearer"]] {
            assert_eq!(key_of(wrong), key(""), "{wrong:?}");
        }
        assert_eq!(key_of(&["Bearer a", "Bearer a"]), key(""));
        assert_eq!(key_of(&["Bearer wisp\u{e9}"]), key(""));
    }

    #[test]
    fn a_forwarded_request_has_the_weakest_role_unless_the_server_names_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_role(&headers), Role::Infer);
        for role in Role::ALL {
            headers.insert(FORWARDED_ROLE, HeaderValue::from_static(role.name()));
            assert_eq!(forwarded_role(&headers), role);
        }
        headers.insert(FORWARDED_ROLE, HeaderValue::from_static("owner"));
        assert_eq!(forwarded_role(&headers), Role::Infer);
    }

    #[test]
    fn unknown_methods_and_routes_require_a_key() {
        let infer = Requirement::Role(Role::Infer);
        assert_eq!(Requirement::of_method("/nothing.Service/Method"), infer);
        assert_eq!(Requirement::of_call(&Err(RouteError::UnknownRoute)), infer);
    }

    #[test]
    fn pages_open_without_a_key_and_their_files_are_the_same_for_everyone() {
        let of_path = |path: &str, accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            Requirement::of_call(&route(&Method::GET, path, &headers))
        };
        assert_eq!(of_path("/", "text/html"), Requirement::Optional);
        assert_eq!(of_path("/", "*/*"), Requirement::Open);
        assert_eq!(of_path("/openapi.json", "*/*"), Requirement::Optional);
        for path in ["/docs", "/docs/key.js", "/docs/console.js"] {
            assert_eq!(of_path(path, "*/*"), Requirement::Open, "{path}");
        }
    }
}
