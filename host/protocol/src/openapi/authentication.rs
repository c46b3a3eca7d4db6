//! The authentication of clients, which the document of a server with tenants describes.
//!
//! A requirement of the whole document holds for every operation that has none of its own. In OpenAPI 3.1 a requirement
//! names roles, also for a scheme of HTTP, which has no scopes.

use crate::error::ErrorKind;
use serde_json::{Value, json};

/// The name of the scheme. The script of the page at `/docs` refers to it.
const SCHEME: &str = "tenantKey";

/// The group of the operations that only a server with tenants has.
pub(super) const TENANTS: &str = "Tenants";

/// The key that an operation requires on a server with tenants.
#[derive(Clone, Copy)]
pub(super) enum RequiredKey {
    /// None: a key makes no difference.
    Never,
    /// None, but a wrong one is refused. With a key, the response has the models of its tenant.
    Optional,
    /// A key of any role.
    Infer,
    /// A key of any role, of the tenant that owns the model.
    Owner,
    /// A key of a role that may change models.
    Deploy,
}

impl RequiredKey {
    /// Returns the requirement of the operation at this path.
    pub(super) fn of_path(path: &str) -> RequiredKey {
        let of_one_model = path.starts_with("/v2/models/{model}/");
        match path {
            "/" | "/health" | "/v2/health/live" | "/v2/health/ready" | "/docs" => {
                RequiredKey::Never
            }
            "/openapi.json" => RequiredKey::Optional,
            _ if path.starts_with("/v2/repository/models/") => RequiredKey::Deploy,
            _ if of_one_model && path.ends_with("/stats") => RequiredKey::Owner,
            _ => RequiredKey::Infer,
        }
    }

    /// Returns the requirement as the document has it, unless it is the same as for the whole document.
    pub(super) fn requirement(self) -> Option<Value> {
        match self {
            RequiredKey::Never => Some(json!([])),
            RequiredKey::Optional => Some(json!([{}, {SCHEME: ["infer"]}])),
            RequiredKey::Infer | RequiredKey::Owner => None,
            RequiredKey::Deploy => Some(json!([{SCHEME: ["deploy"]}])),
        }
    }

    /// Returns the errors of requests without the key.
    pub(super) fn errors(self) -> &'static [ErrorKind] {
        match self {
            RequiredKey::Never => &[],
            RequiredKey::Optional | RequiredKey::Infer => &[ErrorKind::Unauthenticated],
            RequiredKey::Owner | RequiredKey::Deploy => {
                &[ErrorKind::Unauthenticated, ErrorKind::Forbidden]
            }
        }
    }
}

/// Adds the scheme and the requirement of the whole document.
pub(super) fn describe(document: &mut Value) {
    document["security"] = json!([{SCHEME: ["infer"]}]);
    document["components"]["securitySchemes"] = json!({SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "wisp_<id>_<random>",
        "description": "An API key of a tenant, which the operator of the server makes. A key has the role \
            `infer`, `deploy` or `admin`, and may do what the roles before its own may.",
    }});
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.push(json!({"name": TENANTS, "description": "The tenant whose key the request has."}));
    }
}
