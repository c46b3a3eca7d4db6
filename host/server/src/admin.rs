//! The API for changes of the tenants, on a listener of its own: `/v1/tenants`, for keys and certificates with the role `admin`.
//!
//! It shares the identification of requests with the API for models, and nothing else. The documents are those of
//! `wisp_serving::tenants::document`; a key is in the response to the request that made it, and nowhere else. Changes are
//! made in the file of the tenants, which survives the server.

use crate::access::Access;
use crate::authority::AllowedHosts;
use crate::body::RequestBody;
use crate::connection_activity::RequestGuard;
use crate::dispatch::{check_host, check_origin};
use crate::document_body::DocumentBody;
use crate::failure::Failure;
use crate::framing::Framing;
use crate::http_response::HttpResponse;
use crate::panic::catch_panic;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use wisp_protocol::error::ErrorKind;
use wisp_protocol::route::RouteError;
use wisp_serving::InferError;
use wisp_serving::namespaces::{Namespaces, TenantsChangeError};
use wisp_serving::tenants::api_key::KeyId;
use wisp_serving::tenants::document::{
    decode_change, decode_key, decode_tenant, key_document, removed_document, tenant_document,
    tenants_document,
};
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_tensor::MemoryBudget;

/// The largest body, in bytes. Those of clients are shorter.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// The memory for the bodies of all requests together, for which those of the API leave none if they use up theirs.
const MEMORY_BYTES: usize = 4 << 20;

/// The time that a body may keep the server waiting.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The responses of the listener. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct AdminService {
    namespaces: Arc<Namespaces>,
    access: Access,
    memory: Arc<MemoryBudget>,
}

/// One request about the tenants.
#[derive(Debug, PartialEq, Eq)]
enum AdminCall {
    List,
    Add,
    Show(TenantId),
    Set(TenantId),
    Remove(TenantId),
    AddKey(TenantId),
    RevokeKey(TenantId, KeyId),
}

// === impl AdminService ===

impl AdminService {
    pub(crate) fn new(namespaces: Arc<Namespaces>) -> AdminService {
        AdminService {
            access: Access::new(Arc::clone(&namespaces)),
            memory: Arc::new(MemoryBudget::new(MEMORY_BYTES)),
            namespaces,
        }
    }

    /// Responds to one request, which may name only `hosts`.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        guard: RequestGuard,
        hosts: Option<&AllowedHosts>,
    ) -> Response<DocumentBody> {
        let (head, incoming) = request.into_parts();
        let serving = self.namespaces.public();
        let mut body = RequestBody::new(
            incoming,
            BODY_TIMEOUT,
            self.memory.reservation(),
            serving.blocking().clone(),
        );
        let allowed = hosts.map_or(Ok(()), |hosts| hosts.check(&head));
        let outcome = catch_panic(async {
            allowed?;
            check_host(&head)?;
            self.document(&head, &mut body).await
        });
        let outcome = outcome.await;
        let framing = Framing::of(head.version);
        let is_unread = framing == Framing::Whole && !body.is_over().await;
        if is_unread {
            guard.leave_body_unread();
        }
        let mut response = match outcome {
            Ok(document) => HttpResponse::document(document).into_response(framing, guard),
            Err(failure) => {
                if failure.kind() == ErrorKind::Internal {
                    let error = &failure as &dyn std::error::Error;
                    tracing::error!(error, "a request for administration failed");
                }
                failure.into_response(head.uri.path(), framing, guard)
            }
        };
        if head.method == Method::HEAD {
            let length = HeaderValue::from(response.body_mut().discard());
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        if is_unread {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        response
    }

    async fn document(
        &self,
        head: &Parts,
        body: &mut RequestBody<Incoming>,
    ) -> Result<Bytes, Failure> {
        self.access.expect_admin(head)?;
        if head.method != Method::GET && head.method != Method::HEAD {
            // A browser presents a certificate by itself, also for requests of other pages.
            check_origin(head)?;
        }
        let call = AdminCall::of(&head.method, head.uri.path())?;
        let content = body.read(MAX_BODY_BYTES).await.map_err(InferError::from)?;
        let namespaces = Arc::clone(&self.namespaces);
        // It reads and writes files, and may open or drop the models of a tenant.
        let work = tokio::task::spawn_blocking(move || call.perform(&namespaces, &content));
        let done = work.await;
        done.map_err(|error| Failure::Panic(format!("a change of the tenants: {error}")))?
    }
}

// === impl AdminCall ===

impl AdminCall {
    /// Returns the call of a request with this method and path.
    fn of(method: &Method, path: &str) -> Result<AdminCall, RouteError> {
        let segments: Vec<&str> = path.splitn(7, '/').collect();
        let ["", "v1", "tenants", ref rest @ ..] = segments[..] else {
            return Err(RouteError::UnknownRoute);
        };
        let tenant = |text: &str| {
            let tenant: Result<TenantId, _> = text.parse();
            tenant.map_err(|_| RouteError::UnknownRoute)
        };
        match *rest {
            [] => match *method {
                Method::GET => Ok(AdminCall::List),
                Method::POST => Ok(AdminCall::Add),
                _ => Err(RouteError::Method {
                    allowed: "GET, POST",
                }),
            },
            [id] => {
                let id = tenant(id)?;
                match *method {
                    Method::GET => Ok(AdminCall::Show(id)),
                    Method::PATCH => Ok(AdminCall::Set(id)),
                    Method::DELETE => Ok(AdminCall::Remove(id)),
                    _ => Err(RouteError::Method {
                        allowed: "GET, PATCH, DELETE",
                    }),
                }
            }
            [id, "keys"] => {
                let id = tenant(id)?;
                match *method {
                    Method::POST => Ok(AdminCall::AddKey(id)),
                    _ => Err(RouteError::Method { allowed: "POST" }),
                }
            }
            [id, "keys", key] => {
                let id = tenant(id)?;
                let key: Result<KeyId, _> = key.parse();
                let key = key.map_err(|_| RouteError::UnknownRoute)?;
                match *method {
                    Method::DELETE => Ok(AdminCall::RevokeKey(id, key)),
                    _ => Err(RouteError::Method { allowed: "DELETE" }),
                }
            }
            _ => Err(RouteError::UnknownRoute),
        }
    }

    /// Performs the call and returns the document of its response. Blocks.
    fn perform(self, namespaces: &Namespaces, content: &[u8]) -> Result<Bytes, Failure> {
        let now = SystemTime::now();
        match self {
            AdminCall::List => {
                let records = namespaces.records().map_err(TenantsChangeError::from)?;
                Ok(tenants_document(&records))
            }
            AdminCall::Show(id) => {
                let records = namespaces.records().map_err(TenantsChangeError::from)?;
                tenant_document(&records, &id).ok_or(Failure::UnknownTenant(id))
            }
            AdminCall::Add => {
                let new = decode_tenant(content)?;
                let key = namespaces.change(|records| records.add(&new, now))?;
                tracing::info!(tenant = %new.id, key = %key.id(), "a tenant was added");
                Ok(key_document(&new.id, &key))
            }
            AdminCall::Set(id) => {
                let change = decode_change(content)?;
                let document = namespaces.change(|records| {
                    records.set(&id, &change)?;
                    Ok(tenant_document(records, &id))
                })?;
                tracing::info!(tenant = %id, "the settings of a tenant were changed");
                document.ok_or(Failure::UnknownTenant(id))
            }
            AdminCall::AddKey(id) => {
                let new = decode_key(content)?;
                let key = namespaces.change(|records| records.rotate(&id, new, now))?;
                tracing::info!(tenant = %id, key = %key.id(), "a key was added");
                Ok(key_document(&id, &key))
            }
            AdminCall::RevokeKey(id, key) => {
                namespaces.change(|records| records.revoke(&id, key))?;
                tracing::info!(tenant = %id, %key, "a key was revoked");
                Ok(removed_document(&id))
            }
            AdminCall::Remove(id) => {
                namespaces.change(|records| records.remove(&id))?;
                tracing::info!(tenant = %id, "a tenant was removed");
                Ok(removed_document(&id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_tenants_one_tenant_or_a_key() -> anyhow::Result<()> {
        let (acme, key): (TenantId, KeyId) = ("acme".parse()?, "0123456789abcdef".parse()?);
        for (method, path, expected) in [
            (Method::GET, "/v1/tenants", AdminCall::List),
            (Method::POST, "/v1/tenants", AdminCall::Add),
            (
                Method::GET,
                "/v1/tenants/acme",
                AdminCall::Show(acme.clone()),
            ),
            (
                Method::PATCH,
                "/v1/tenants/acme",
                AdminCall::Set(acme.clone()),
            ),
            (
                Method::DELETE,
                "/v1/tenants/acme",
                AdminCall::Remove(acme.clone()),
            ),
            (
                Method::POST,
                "/v1/tenants/acme/keys",
                AdminCall::AddKey(acme.clone()),
            ),
            (
                Method::DELETE,
                "/v1/tenants/acme/keys/0123456789abcdef",
                AdminCall::RevokeKey(acme.clone(), key),
            ),
        ] {
            assert_eq!(AdminCall::of(&method, path), Ok(expected), "{path}");
        }
        Ok(())
    }

    #[test]
    fn any_other_path_has_no_route() {
        for path in [
            "/",
            "/v1",
            "/v1/tenants/",
            "/v1/tenants/..",
            "/v1/tenants/%61cme",
            "/v1/tenants/acme/",
            "/v1/tenants/acme/keys/",
            "/v1/tenants/acme/keys/0123456789abcdef/x",
            "/v2/health/live",
        ] {
            let call = AdminCall::of(&Method::GET, path);
            assert_eq!(call, Err(RouteError::UnknownRoute), "{path}");
        }
        let patched = AdminCall::of(&Method::PATCH, "/v1/tenants");
        assert!(matches!(patched, Err(RouteError::Method { .. })));
    }
}
