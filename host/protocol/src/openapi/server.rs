//! The routes of the server itself: health, documentation, and the limits of tenants.

use super::authentication::TENANTS;
use super::error_response;
use super::operation::{DOCUMENTATION, Document, HEALTH, Operation, json_response, object};
use serde_json::{Value, json};

pub(super) fn add(document: &mut Document) {
    document.schema("Error", error_response::schema());
    let live = object(json!({"live": {"const": true}}));
    let ready = object(json!({"ready": {"const": true}}));
    let healthy = object(json!({"status": {"const": "healthy"}}));
    let alive = object(json!({"status": {"const": "alive"}}));
    for (path, id, summary, schema) in [
        (
            "/v2/health/live",
            "serverLive",
            "Liveness of the server",
            live,
        ),
        (
            "/v2/health/ready",
            "serverReady",
            "Readiness of the server",
            ready,
        ),
        (
            "/health",
            "health",
            "Readiness of the server, in the predict API",
            healthy,
        ),
        (
            "/",
            "kserveLive",
            "Liveness of the server, in KServe V1",
            alive,
        ),
    ] {
        document.add(
            path,
            get_operation(id, HEALTH, summary, json_response("Success.", &schema)),
        );
    }
    let any_object = json!({"type": "object"});
    let itself = json_response("An OpenAPI 3.1 document.", &any_object);
    document.add(
        "/openapi.json",
        get_operation("openApi", DOCUMENTATION, "This document", itself),
    );
    let page = json!({
        "description": "A page that displays the document and sends requests.",
        "content": {"text/html": {"schema": {"type": "string"}}},
    });
    document.add(
        "/docs",
        get_operation(
            "docs",
            DOCUMENTATION,
            "This document as an interactive page",
            page,
        ),
    );
}

/// Adds the route that only a server with tenants needs.
pub(super) fn add_limits(document: &mut Document) {
    let limits = json!({
        "type": "object",
        "description": "A limit that is not set is missing.",
        "additionalProperties": {"type": "integer", "minimum": 0},
    });
    let schema = object(json!({
        "tenant": {"type": "string"},
        "weight": {"type": "integer", "minimum": 0},
        "limits": limits,
        "grants": {"type": "array", "items": {"type": "string"}},
    }));
    let success = json_response("Success.", &schema);
    document.add(
        "/v1/limits",
        get_operation("limits", TENANTS, "The limits of the tenant", success),
    );
}

/// Creates a GET operation without parameters.
fn get_operation(id: &str, tag: &'static str, summary: &str, success: Value) -> Operation {
    Operation {
        id: id.to_owned(),
        tag,
        summary: summary.to_owned(),
        parameters: Vec::new(),
        body: None,
        success,
        errors: &[],
    }
}
