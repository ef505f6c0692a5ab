//! Columns as Delta writes them: our closed set of types to and from the log's JSON.
//!
//! It refuses to lose what it does not know: fields of another writer (maps, variants, their metadata) are kept as they
//! stand; they merely have no `ColumnType`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::model::job::{Lineage, WriteMode};
use crate::model::run::RunPlan;
use crate::model::table::{Column, ColumnType, LINEAGE_LOADED_AT, LINEAGE_RUN, LINEAGE_SOURCE};

/// From when a version of a row holds (scd2).
pub(super) const VALID_FROM: &str = "_lakeward_valid_from";
/// Until when, exclusive; NULL for the current version (scd2).
pub(super) const VALID_TO: &str = "_lakeward_valid_to";
/// Whether it is the current version (scd2).
pub(super) const IS_CURRENT: &str = "_lakeward_is_current";

/// One field of a table, as the log's JSON has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Field {
    /// Its name.
    pub name: String,
    /// Its type, in the log's JSON.
    #[serde(rename = "type")]
    pub kind: Value,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// Comments, and whatever other writers keep there.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

impl Field {
    /// A column of ours.
    pub fn new(name: &str, column_type: &ColumnType, comment: Option<&str>) -> Self {
        let mut metadata = Map::new();
        if let Some(comment) = comment {
            metadata.insert("comment".into(), comment.into());
        }
        Self {
            name: name.to_owned(),
            kind: to_json(column_type),
            nullable: true,
            metadata,
        }
    }

    /// What it holds, if it is one of our types.
    pub fn column_type(&self) -> Option<ColumnType> {
        from_json(&self.kind)
    }

    /// Its type for people.
    pub fn type_text(&self) -> String {
        self.column_type()
            .map_or_else(|| self.kind.to_string(), |t| t.to_string())
    }

    /// Its comment.
    pub fn comment(&self) -> Option<&str> {
        self.metadata.get("comment").and_then(Value::as_str)
    }
}

/// All fields of a table, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fields(pub Vec<Field>);

impl Fields {
    /// Names and types of the columns that can have statistics.
    pub fn typed(&self) -> Vec<(String, ColumnType)> {
        let known = self.0.iter().filter_map(|f| Some((f.name.clone(), f.column_type()?)));
        known.collect()
    }

    /// Reads the log's schema text.
    pub fn parse(schema: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Schema {
            fields: Vec<Field>,
        }
        let schema: Schema = serde_json::from_str(schema).or_error(ErrorKind::WarehouseRejected, || {
            "cannot read the table's schema in its log".into()
        })?;
        Ok(Self(schema.fields))
    }

    /// The log's schema JSON.
    pub fn to_value(&self) -> Result<Value> {
        let fields = serde_json::to_value(&self.0).or_error(ErrorKind::Bug, || "cannot print a schema".into())?;
        Ok(json!({"type": "struct", "fields": fields}))
    }

    /// The field of a name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|f| f.name == name)
    }

    /// The field whose name is equal but for case.
    pub fn get_but_for_case(&self, name: &str) -> Option<&Field> {
        let lower = name.to_lowercase();
        self.0.iter().find(|f| f.name.to_lowercase() == lower)
    }

    /// Whether any column, at any depth, holds wall-clock times: such tables need a feature of their own.
    pub fn has_wall_clock(&self) -> bool {
        fn mentions(kind: &Value) -> bool {
            match kind {
                Value::String(name) => name == "timestamp_ntz",
                Value::Array(items) => items.iter().any(mentions),
                Value::Object(map) => map.iter().any(|(k, v)| k != "metadata" && k != "name" && mentions(v)),
                _ => false,
            }
        }
        self.0.iter().any(|f| mentions(&f.kind))
    }
}

/// Whether a column is kept by us and not by the source.
pub(super) fn is_ours(name: &str) -> bool {
    matches!(
        name,
        LINEAGE_RUN | LINEAGE_LOADED_AT | LINEAGE_SOURCE | VALID_FROM | VALID_TO | IS_CURRENT
    )
}

/// The lineage columns that parts of a run carry after the plan's own.
pub(super) fn lineage(lineage: Lineage) -> Vec<(&'static str, ColumnType)> {
    let mut columns = vec![(LINEAGE_RUN, ColumnType::Text)];
    if lineage == Lineage::Full {
        columns.push((LINEAGE_LOADED_AT, ColumnType::Timestamp));
        columns.push((LINEAGE_SOURCE, ColumnType::Text));
    }
    columns
}

/// The fields that a run's rows need in its target, in the order in which a new table has them.
pub(super) fn wanted(plan: &RunPlan) -> Vec<Field> {
    let mut fields: Vec<Field> = plan.schema.columns.iter().map(|c| wanted_field(plan, c)).collect();
    for (name, column_type) in lineage(plan.lineage) {
        fields.push(Field::new(name, &column_type, Some(meaning(name))));
    }
    if plan.mode == WriteMode::Scd2 {
        for (name, column_type) in [
            (VALID_FROM, ColumnType::Timestamp),
            (VALID_TO, ColumnType::Timestamp),
            (IS_CURRENT, ColumnType::Boolean),
        ] {
            fields.push(Field::new(name, &column_type, Some(meaning(name))));
        }
    }
    fields
}

/// Only key columns that the source declares NOT NULL are NOT NULL in the target: there it is part of what a key means.
/// Elsewhere it would only make the target refuse what the source allows tomorrow.
fn wanted_field(plan: &RunPlan, column: &Column) -> Field {
    let mut field = Field::new(&column.name, &column.column_type, column.comment.as_deref());
    field.nullable = column.nullable || !plan.schema.key.contains(&column.name);
    field
}

fn meaning(name: &str) -> &'static str {
    match name {
        LINEAGE_RUN => "the run that wrote this row: job/life/run",
        LINEAGE_LOADED_AT => "when that run was planned",
        LINEAGE_SOURCE => "where the row was read",
        VALID_FROM => "from when this version of the row holds",
        VALID_TO => "until when it held; NULL: it is the current one",
        _ => "whether it is the current version",
    }
}

/// Checks names that plain Delta cannot hold.
pub(super) fn check_names(table: &str, fields: &[Field]) -> Result<()> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for field in fields {
        if field
            .name
            .contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='])
            || field.name.is_empty()
        {
            let offer: String = field
                .name
                .chars()
                .map(|c| if c.is_alphanumeric() { c } else { '_' })
                .collect();
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot name a column of table {table} '{}': plain Delta allows no spaces and none of ,;{{}}()=; set naming = \"snake_case\" or select it under the name '{offer}'",
                    field.name
                ),
            ));
        }
        if let Some(other) = seen.insert(field.name.to_lowercase(), &field.name) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot keep columns '{other}' and '{}' in table {table}: readers do not tell names apart by case; leave one out or rename it",
                    field.name
                ),
            ));
        }
    }
    Ok(())
}

fn to_json(column_type: &ColumnType) -> Value {
    match column_type {
        ColumnType::Boolean => "boolean".into(),
        ColumnType::Int8 => "byte".into(),
        ColumnType::Int16 => "short".into(),
        ColumnType::Int32 => "integer".into(),
        ColumnType::Int64 => "long".into(),
        ColumnType::Float32 => "float".into(),
        ColumnType::Float64 => "double".into(),
        ColumnType::Decimal(precision, scale) => format!("decimal({precision},{scale})").into(),
        ColumnType::Text => "string".into(),
        ColumnType::Binary => "binary".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Timestamp => "timestamp".into(),
        ColumnType::TimestampNtz => "timestamp_ntz".into(),
        ColumnType::List(element) => {
            json!({"type": "array", "elementType": to_json(element), "containsNull": true})
        }
        ColumnType::Struct(fields) => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|(name, t)| json!({"name": name, "type": to_json(t), "nullable": true, "metadata": {}}))
                .collect();
            json!({"type": "struct", "fields": fields})
        }
    }
}

fn from_json(kind: &Value) -> Option<ColumnType> {
    match kind {
        Value::String(name) => Some(match name.as_str() {
            "boolean" => ColumnType::Boolean,
            "byte" => ColumnType::Int8,
            "short" => ColumnType::Int16,
            "integer" => ColumnType::Int32,
            "long" => ColumnType::Int64,
            "float" => ColumnType::Float32,
            "double" => ColumnType::Float64,
            "string" => ColumnType::Text,
            "binary" => ColumnType::Binary,
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp,
            "timestamp_ntz" => ColumnType::TimestampNtz,
            other => return other.starts_with("decimal").then(|| other.parse().ok()).flatten(),
        }),
        Value::Object(map) => match map.get("type")?.as_str()? {
            "array" => Some(ColumnType::List(Box::new(from_json(map.get("elementType")?)?))),
            "struct" => map
                .get("fields")?
                .as_array()?
                .iter()
                .map(|f| Some((f.get("name")?.as_str()?.to_owned(), from_json(f.get("type")?)?)))
                .collect::<Option<Vec<_>>>()
                .map(ColumnType::Struct),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_log() {
        for column_type in [
            ColumnType::Boolean,
            ColumnType::Int8,
            ColumnType::Int16,
            ColumnType::Int32,
            ColumnType::Int64,
            ColumnType::Float32,
            ColumnType::Float64,
            ColumnType::Decimal(38, 10),
            ColumnType::Text,
            ColumnType::Binary,
            ColumnType::Date,
            ColumnType::Timestamp,
            ColumnType::TimestampNtz,
            ColumnType::List(Box::new(ColumnType::Decimal(4, 2))),
            ColumnType::Struct(vec![
                ("a".into(), ColumnType::Text),
                ("b".into(), ColumnType::TimestampNtz),
            ]),
        ] {
            let field = Field::new("c", &column_type, Some("why"));
            let fields = Fields(vec![field]);
            let text = fields.to_value().unwrap().to_string();
            let back = Fields::parse(&text).unwrap();
            assert_eq!(back, fields);
            assert_eq!(back.0[0].column_type(), Some(column_type));
        }
    }

    #[test]
    fn what_another_writer_added_is_kept() {
        let text = r#"{"type":"struct","fields":[{"name":"m","type":{"type":"map","keyType":"string","valueType":"long","valueContainsNull":true},"nullable":true,"metadata":{"x":1}}]}"#;
        let fields = Fields::parse(text).unwrap();
        assert_eq!(fields.0[0].column_type(), None);
        assert_eq!(fields.to_value().unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_name_that_plain_delta_refuses_is_an_error_with_an_offer() {
        let bad = [Field::new("Order Id", &ColumnType::Text, None)];
        assert!(check_names("t", &bad).unwrap_err().to_string().contains("Order_Id"));
        let twins = [
            Field::new("id", &ColumnType::Text, None),
            Field::new("ID", &ColumnType::Text, None),
        ];
        assert_eq!(check_names("t", &twins).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_wall_clock_deep_inside_is_seen() {
        let deep = ColumnType::List(Box::new(ColumnType::Struct(vec![(
            "t".into(),
            ColumnType::TimestampNtz,
        )])));
        assert!(Fields(vec![Field::new("c", &deep, None)]).has_wall_clock());
        assert!(!Fields(vec![Field::new("timestamp_ntz", &ColumnType::Text, None)]).has_wall_clock());
    }
}
