//! Named parameters: every marker of a statement becomes `CAST('text' AS TYPE)`.
//!
//! That is what the service says it does with them (docs sql-execution: checked with cast semantics), and Delta's parser hides
//! markers from Spark 4.2. It refuses markers that have no value or two, values that have no marker, and types that are not scalar.

use super::{Kind, tokens};
use crate::double::sql_error::SqlError;

/// One entry of a request's `parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Without the colon.
    pub name: String,
    /// `None` is NULL.
    pub value: Option<String>,
    /// STRING if the request says nothing.
    pub type_text: String,
}

const SCALAR: [&str; 15] = [
    "STRING",
    "INT",
    "INTEGER",
    "BIGINT",
    "LONG",
    "SMALLINT",
    "TINYINT",
    "FLOAT",
    "DOUBLE",
    "BOOLEAN",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMP_NTZ",
    "BINARY",
    "VOID",
];

/// The statement with its parameters in it.
pub fn bind(sql: &str, parameters: &[Parameter]) -> Result<String, SqlError> {
    for (at, parameter) in parameters.iter().enumerate() {
        check_type(&parameter.type_text)?;
        // Nobody says which of two would be taken.
        if parameters[..at].iter().any(|other| other.name == parameter.name) {
            let text = format!("two parameters are called {}", parameter.name);
            return Err(SqlError::new("DOUBLE_REPEATED_PARAMETER", "42P02", text));
        }
    }
    let mut bound = String::new();
    let (mut copied, mut used) = (0, Vec::new());
    for token in tokens(sql)? {
        if token.kind != Kind::Marker {
            continue;
        }
        let name = &token.of(sql)[1..];
        let parameter = parameters
            .iter()
            .find(|parameter| parameter.name == name)
            .ok_or_else(|| unbound(name))?;
        bound.push_str(&sql[copied..token.from]);
        bound.push_str(&cast(parameter));
        copied = token.to;
        used.push(name);
    }
    bound.push_str(&sql[copied..]);
    // The service takes a parameter that nothing uses; a loader that sends one has made a mistake.
    if let Some(idle) = parameters
        .iter()
        .find(|parameter| !used.contains(&parameter.name.as_str()))
    {
        return Err(SqlError::new(
            "DOUBLE_UNUSED_PARAMETER",
            "42P02",
            format!("nothing in the statement is called :{}", idle.name),
        ));
    }
    Ok(bound)
}

fn unbound(name: &str) -> SqlError {
    SqlError::new(
        "UNBOUND_SQL_PARAMETER",
        "42P02",
        format!("Found the unbound parameter: {name}."),
    )
}

fn check_type(type_text: &str) -> Result<(), SqlError> {
    let upper = type_text.to_uppercase();
    let is_sized = ["DECIMAL(", "INTERVAL "].iter().any(|sized| upper.starts_with(sized));
    if SCALAR.contains(&upper.as_str()) || upper == "DECIMAL" || is_sized {
        return Ok(());
    }
    Err(SqlError::new(
        "DATATYPE_MISMATCH.PARAMETER_TYPE_NOT_SUPPORTED",
        "42K09",
        format!("The type {upper} is not supported for parameters."),
    ))
}

fn cast(parameter: &Parameter) -> String {
    let type_text = &parameter.type_text;
    match &parameter.value {
        None => format!("CAST(NULL AS {type_text})"),
        Some(value) => format!("CAST({} AS {type_text})", super::literal(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_become_casts_and_literals_stay() {
        let given = [Parameter {
            name: "s".into(),
            value: Some("it's \\".into()),
            type_text: "STRING".into(),
        }];
        let bound = bind("SELECT ':s', `:s`, a:s, :s", &given).unwrap();
        assert_eq!(bound, r"SELECT ':s', `:s`, a:s, CAST('it\'s \\' AS STRING)");
        assert_eq!(bind("SELECT :t", &[]).unwrap_err().class, "UNBOUND_SQL_PARAMETER");
        let twice = [given[0].clone(), given[0].clone()];
        let refused = bind("SELECT :s", &twice).unwrap_err();
        assert_eq!(refused.class, "DOUBLE_REPEATED_PARAMETER");
        assert_eq!(bind("SELECT 1", &given).unwrap_err().class, "DOUBLE_UNUSED_PARAMETER");
    }
}
