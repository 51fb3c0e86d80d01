//! The OpenAPI description: every route, and the messages of a lesson's WebSocket as schemas `live.*`.
//!
//! `web/src/api/openapi.json` is a committed copy from which the front end generates its types.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use utoipa::OpenApi;

use crate::live::protocol;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tongke 同课",
        description = "Live lessons across schools. Pages sign in with the cookie `tongke_session`; WHIP and WHEP programs with a bearer token."
    ),
    components(schemas(protocol::Envelope, protocol::ServerMessage))
)]
pub struct Api;

/// Schema of the messages that clients send over the WebSocket.
const CLIENT_MESSAGE: &str = "live.Envelope";

/// Returns the description as JSON.
pub fn to_json(api: &utoipa::openapi::OpenApi) -> Value {
    let mut api = serde_json::to_value(api).expect("the description is plain data");
    require_nullable(&mut api);
    api
}

/// Marks the nullable fields of answers as required.
///
/// utoipa declares every `Option` optional. serde writes `None` as `null`, so an answer always has
/// the field; a request may omit it. Schemas that requests use keep their optional fields.
fn require_nullable(api: &mut Value) {
    let mut requested = BTreeSet::from([CLIENT_MESSAGE.to_owned()]);
    let operations = members(&api["paths"]).flat_map(|(_, path)| members(path));
    operations.for_each(|(_, operation)| references(&operation["requestBody"], &mut requested));
    let schemas = &api["components"]["schemas"];
    let mut open: Vec<String> = requested.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let mut found = BTreeSet::new();
        references(&schemas[&name], &mut found);
        open.extend(
            found
                .into_iter()
                .filter(|name| requested.insert(name.clone())),
        );
    }
    let schemas = api["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        if !requested.contains(name) {
            require_nullable_of(schema);
        }
    }
}

fn require_nullable_of(schema: &mut Value) {
    if let Some(properties) = schema["properties"].as_object() {
        let mut required: BTreeSet<String> = strings(&schema["required"]).collect();
        let nullable = properties
            .iter()
            .filter(|(_, property)| is_nullable(property));
        required.extend(nullable.map(|(name, _)| name.clone()));
        if !required.is_empty() {
            schema["required"] = required.into_iter().collect();
        }
    }
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(require_nullable_of),
        Value::Object(parts) => parts.values_mut().for_each(require_nullable_of),
        _ => {}
    }
}

fn is_nullable(schema: &Value) -> bool {
    let is_null = |schema: &Value| schema["type"] == "null";
    strings(&schema["type"]).any(|kind| kind == "null")
        || schema["oneOf"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(is_null))
}

/// Collects the names of the schemas that `value` refers to.
fn references(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(parts) => parts.iter().for_each(|part| references(part, names)),
        Value::Object(parts) => {
            let target = parts.get("$ref").and_then(Value::as_str);
            let name = target.and_then(|target| target.strip_prefix("#/components/schemas/"));
            names.extend(name.map(str::to_owned));
            parts.values().for_each(|part| references(part, names));
        }
        _ => {}
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn strings(value: &Value) -> impl Iterator<Item = String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
}
