//! `docs/jobs.md`, written from the schema: the text of each key stands once, beside the code that reads it.

use serde_json::{Map, Value};

use super::schema::json_schema;
use super::wording::{as_toml, example_table};

type Object = Map<String, Value>;

const INTRODUCTION: &str = "\
<!-- Written from shared/src/config/file; do not edit. LAKEWARD_UPDATE_DOCS=1 cargo test -p lakeward reference -->
# The configuration file

`lakeward.toml` says where tables go, where they come from, and which are copied. It is checked strictly: an unknown
key is an error that names the nearest known one, and all problems of a file are reported at once, each with its line
and column (`lakeward check`). `lakeward schema` prints the JSON Schema, by which editors complete and check.

A small file that is complete:

```toml
";

const SECRETS: &str = "\
## Secrets

Texts marked *secret* may hold references anywhere, also several: `${env:NAME}` is an environment variable,
`${file:PATH}` the content of a file (relative to the configuration, one line end at its end removed), and `$${` a plain
`${`. A reference is resolved when it is needed, and what it stands for is never printed. A password in plain text works
and is warned about.
";

const EXAMPLE: &str = r#"version = 1

[destination]
type = "delta"
path = "lake"

[connections.shop]
type = "postgres"
host = "db.example.com"
database = "shop"
username = "reader"
password = "${env:SHOP_PASSWORD}"

[[jobs]]
name = "orders"
table = "public.orders"
cursor = "updated_at"

[[jobs]]
name = "countries"
table = "public.countries"
write = "replace"
"#;

/// The reference of the configuration file, in Markdown.
pub fn reference_markdown() -> String {
    let schema = json_schema();
    let mut page = Page {
        root: &schema,
        text: format!("{INTRODUCTION}{EXAMPLE}```\n"),
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    for section in ["destination", "staging", "connections", "jobs", "defaults"] {
        if let Some(property) = properties.and_then(|p| p.get(section)) {
            page.section(section, property);
        }
    }
    page.definition("AuthFile", "## `auth`: ways into an object store\n");
    page.definition("DatabricksAuthFile", "## `auth` of Databricks: ways into a workspace\n");
    page.text.push('\n');
    page.text.push_str(SECRETS);
    page.text
}

struct Page<'s> {
    root: &'s Value,
    text: String,
}

impl<'s> Page<'s> {
    fn section(&mut self, name: &str, property: &'s Value) {
        let heading = match name {
            "connections" => "[connections.NAME]".to_owned(),
            "jobs" => "[[jobs]]".to_owned(),
            other => format!("[{other}]"),
        };
        self.line(&format!("\n## `{heading}`\n"));
        let inner = property.get("items").or_else(|| property.get("additionalProperties"));
        let own = self.resolve(inner.unwrap_or(property));
        self.line(&description(property));
        match own {
            // All of them are explained under [[jobs]].
            Some(own) if name == "defaults" => {
                let keys: Vec<String> = properties(own).map(|(key, _)| format!("`{key}`")).collect();
                self.line(&format!("\nKeys: {}.", keys.join(" ")));
            }
            Some(own) => self.table_or_variants(own),
            None => {}
        }
    }

    fn definition(&mut self, name: &str, heading: &str) {
        if let Some(schema) = self.root.pointer(&format!("/$defs/{name}")).and_then(Value::as_object) {
            self.line(&format!("\n{heading}"));
            self.table_or_variants(schema);
        }
    }

    fn table_or_variants(&mut self, schema: &'s Object) {
        let Some(variants) = schema.get("oneOf").and_then(Value::as_array) else {
            return self.table(schema);
        };
        for variant in variants.iter().filter_map(Value::as_object) {
            let tag = variant
                .get("properties")
                .and_then(|p| p.pointer("/type/const"))
                .and_then(Value::as_str);
            self.line(&format!("\n### `type = \"{}\"`\n", tag.unwrap_or_default()));
            self.line(&description_of(variant));
            if properties(variant).any(|(key, _)| key != "type") {
                self.table(variant);
            }
        }
    }

    fn table(&mut self, schema: &'s Object) {
        self.line("\n| key | value | what |\n|---|---|---|");
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |key: &str| required.is_some_and(|r| r.iter().any(|k| k == key));
        let keys = properties(schema).filter(|(key, _)| *key != "type");
        let (needed, others): (Vec<_>, Vec<_>) = keys.partition(|(key, _)| is_required(key));
        for (key, property) in needed.into_iter().chain(others) {
            let value = if is_required(key) {
                "**needed**".to_owned()
            } else {
                default(property)
            };
            let what = format!("{}{}", description(property), self.words(property));
            let what = what.replace("\n\n", "<br>").replace('|', "\\|");
            self.line(&format!("| `{key}` | {}{value} | {what} |", self.kind(property)));
        }
    }

    /// `text, "1GiB"`
    fn kind(&self, property: &'s Value) -> String {
        let resolved = self.resolve(property);
        let extra = property.get("x-value").and_then(Value::as_str);
        let kind = match (extra, resolved.and_then(|r| r.get("type")).and_then(Value::as_str)) {
            (Some("secret" | "reference"), _) => "*secret*",
            (Some("duration"), _) => "duration",
            (Some("size"), _) => "size",
            (Some("position"), _) => "date, time, number or text",
            (_, Some("boolean")) => "true or false",
            (_, Some("integer" | "number")) => "number",
            (_, Some("array")) => "list",
            (_, Some("object")) => "table",
            (_, None) => return String::new(),
            _ => "text",
        };
        format!("{kind}, ")
    }

    /// The words of a list, each with what it means; the keys of a small table.
    fn words(&self, property: &'s Value) -> String {
        let Some(schema) = self.resolve(property).filter(|_| property.get("$ref").is_some()) else {
            return String::new();
        };
        match property.get("$ref").and_then(Value::as_str) {
            Some("#/$defs/AuthFile") => return " See [`auth`](#auth-ways-into-an-object-store).".to_owned(),
            Some("#/$defs/DatabricksAuthFile") => {
                return " See [`auth` of Databricks](#auth-of-databricks-ways-into-a-workspace).".to_owned();
            }
            _ => {}
        }
        let mut lines = Vec::new();
        for variant in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            let word = variant.get("const").map(as_toml);
            if let Some(word) = word.or_else(|| example_table(variant)) {
                lines.push(format!("<br>`{word}`: {}", description(variant)));
            }
        }
        for (key, inner) in properties(schema) {
            let choice = self.choice(inner);
            let default = inner
                .get("default")
                .map(|d| format!(" Default `{}`.", as_toml(d)))
                .unwrap_or_default();
            lines.push(format!("<br>`{key}`{choice}: {}{default}", description(inner)));
        }
        lines.concat()
    }

    /// ` = evolve, freeze or discard`
    fn choice(&self, property: &'s Value) -> String {
        let variants = self
            .resolve(property)
            .and_then(|schema| schema.get("oneOf")?.as_array());
        let words = variants
            .into_iter()
            .flatten()
            .filter_map(|v| Some(as_toml(v.get("const")?)));
        let words: Vec<String> = words.collect();
        if words.is_empty() {
            String::new()
        } else {
            format!(" = `{}`", words.join("`, `"))
        }
    }

    fn resolve(&self, schema: &'s Value) -> Option<&'s Object> {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolve(self.root.pointer(reference.strip_prefix('#')?)?),
            None => schema.as_object(),
        }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }
}

fn properties(schema: &Object) -> impl Iterator<Item = (&str, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

fn description(schema: &Value) -> String {
    schema.as_object().map(description_of).unwrap_or_default()
}

fn description_of(schema: &Object) -> String {
    schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// `default "UTC"`, or an example where there is no default.
fn default(property: &Value) -> String {
    let example = property.get("examples").and_then(|examples| examples.get(0));
    match (property.get("default"), example) {
        (Some(default), _) => format!("default `{}`", as_toml(default)),
        (None, Some(example)) => format!("such as `{}`", as_toml(example)),
        (None, None) => "optional".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_that_the_code_writes() {
        let path = Path::new("../docs/jobs.md");
        let written = reference_markdown();
        if std::env::var_os("LAKEWARD_UPDATE_DOCS").is_some() {
            std::fs::write(path, &written).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == written,
            "docs/jobs.md is out of date: LAKEWARD_UPDATE_DOCS=1 cargo test -p lakeward reference"
        );
    }

    #[test]
    fn the_example_is_a_file_that_reads() {
        let config = super::super::parse(EXAMPLE, "lakeward.toml", Path::new("/")).unwrap();
        assert_eq!((config.jobs.len(), config.warnings.len()), (2, 0));
    }
}
