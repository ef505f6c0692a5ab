//! The JSON Schema of `lakeward.toml`, derived from the structs in `file`: it checks the file, editors complete by it,
//! and the reference is written from it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

use super::file::File;

/// The JSON Schema of `lakeward.toml`.
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = false)
        .with_transform(RecursiveTransform(Plain));
    settings.into_generator().into_root_schema_for::<File>().to_value()
}

/// Takes out what only a Rust program needs: `null` for an absent key, integer widths, line breaks of comments.
#[derive(Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        let Some(schema) = schema.as_object_mut() else { return };
        schema.remove("format");
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|t| t != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(words)) = schema.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text
                .split("\n\n")
                .map(|paragraph| paragraph.replace('\n', " "))
                .collect::<Vec<_>>()
                .join("\n\n");
        }
        unwrap_option(schema);
    }
}

/// `anyOf: [X, null]` is X.
fn unwrap_option(schema: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.get_mut("anyOf") else {
        return;
    };
    branches.retain(|branch| branch.get("type").is_none_or(|t| t != "null"));
    if branches.len() > 1 {
        return;
    }
    let only = branches.pop();
    schema.remove("anyOf");
    if let Some(Value::Object(only)) = only {
        for (keyword, value) in only {
            schema.entry(keyword).or_insert(value);
        }
    }
}
