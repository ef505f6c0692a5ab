//! What no statement may be, whatever it says: two statements, a session of its own, objects with impossible names.
//!
//! It refuses before anything is executed. Spark would accept most of it.

use super::cursor::{Adjacent, Cursor};
use super::names::check_object_name;
use super::{Kind, Token, tokens};
use crate::double::sql_error::SqlError;

/// What a SQL warehouse lets a statement SET (docs sql-ref-parameters).
const SETTABLE: [&str; 9] = [
    "ANSI_MODE",
    "TIMEZONE",
    "STATEMENT_TIMEOUT",
    "USE_CACHED_RESULT",
    "ENABLE_PHOTON",
    "LEGACY_TIME_PARSER_POLICY",
    "MAX_FILE_PARTITION_BYTES",
    "READ_ONLY_EXTERNAL_METASTORE",
    "QUERY_TAGS",
];

/// One statement a call: text behind a `;` is a syntax error, except inside BEGIN … END.
pub fn one_statement(sql: &str) -> Result<(), SqlError> {
    let tokens = tokens(sql)?;
    let mut cursor = Cursor::new(sql, &tokens, Adjacent::Concatenate);
    if tokens.is_empty() {
        return Err(SqlError::syntax(sql, 0));
    }
    if cursor.sees(&["BEGIN"]) {
        return Ok(());
    }
    while let Some(token) = cursor.skip() {
        if token.of(sql) == ";" && !cursor.is_at_end() {
            return Err(cursor.error());
        }
    }
    Ok(())
}

/// `SET key = value`: a few keys pass, and are forgotten with the statement.
pub fn setting(sql: &str) -> Result<(), SqlError> {
    let tokens = tokens(sql)?;
    let mut cursor = Cursor::new(sql, &tokens, Adjacent::Concatenate);
    cursor.expect(&["SET"])?;
    if cursor.is_at_end() {
        return Ok(());
    }
    let key = cursor.name()?.join(".");
    let is_settable = SETTABLE.iter().any(|settable| settable.eq_ignore_ascii_case(&key));
    if is_settable || cursor.accept(&["ZONE"]) {
        return Ok(());
    }
    Err(SqlError::new(
        "CONFIG_NOT_AVAILABLE",
        "42K0I",
        format!("Configuration {key} is not available."),
    ))
}

/// Words behind which an object's name stands.
const BEFORE_NAMES: [&str; 9] = [
    "INTO",
    "FROM",
    "JOIN",
    "USING",
    "TABLE",
    "UPDATE",
    "OVERWRITE",
    "SCHEMA",
    "VOLUME",
];
/// Words that may stand between.
const BETWEEN: [&str; 5] = ["IF", "NOT", "EXISTS", "EXTENDED", "TABLE"];

/// Every object's name that a statement mentions, in its place: names of more than one part, or in backticks.
pub fn object_names(sql: &str) -> Result<Vec<(String, Vec<String>)>, SqlError> {
    let tokens = tokens(sql)?;
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(word) = BEFORE_NAMES.iter().find(|word| is_word(sql, token, word)) else {
            continue;
        };
        // `a IS DISTINCT FROM b.c` compares columns.
        if at > 0 && is_word(sql, &tokens[at - 1], "DISTINCT") {
            continue;
        }
        let mut next = at + 1;
        while tokens
            .get(next)
            .is_some_and(|token| BETWEEN.iter().any(|word| is_word(sql, token, word)))
        {
            next += 1;
        }
        let mut cursor = Cursor::new(sql, &tokens[next..], Adjacent::Concatenate);
        let Ok(parts) = cursor.name() else { continue };
        // `FROM range(10)` calls a function; `INTO t (a, b)` names a table.
        let is_call = ["FROM", "JOIN", "USING"].contains(word) && cursor.sees(&["("]);
        if !is_call {
            names.push(((*word).to_owned(), parts));
        }
    }
    Ok(names)
}

/// Refuses impossible names of objects, and paths as tables. Columns behind `USING (` and `FROM 'path'` are none.
pub fn names_of_objects(sql: &str) -> Result<(), SqlError> {
    for (_, parts) in object_names(sql)? {
        let is_path = parts.len() == 2 && ["parquet", "delta"].contains(&parts[0].to_lowercase().as_str());
        if is_path {
            // Spark would read this machine's disk.
            return Err(SqlError::not_emulated("paths as tables"));
        }
        parts.iter().try_for_each(|part| check_object_name(part))?;
    }
    Ok(())
}

fn is_word(sql: &str, token: &Token, word: &str) -> bool {
    token.kind == Kind::Word && token.of(sql).eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_statement_is_a_syntax_error_and_a_last_semicolon_is_not() {
        assert!(one_statement("SELECT 1;").is_ok());
        assert!(one_statement("SELECT ';' ; -- end").is_ok());
        assert!(one_statement("BEGIN SELECT 1; SELECT 2; END").is_ok());
        assert_eq!(
            one_statement("SELECT 1; SELECT 2").unwrap_err().class,
            "PARSE_SYNTAX_ERROR"
        );
        assert!(one_statement(" ").is_err());
    }

    #[test]
    fn names_of_objects_are_judged_and_columns_are_not() {
        for (sql, is_good) in [
            ("SELECT `a b` FROM `c`.`s`.`t`", true),
            ("SELECT a IS DISTINCT FROM t.`b c` FROM t", true),
            ("SELECT * FROM `c`.`s`.`a b`", false),
            ("MERGE INTO `c`.`s`.`a.b` USING x ON true", false),
            ("CREATE TABLE IF NOT EXISTS `c`.`s`.`a/b` (`x y` INT)", false),
            ("SELECT * FROM parquet.`/a/b.c`", false),
        ] {
            assert_eq!(names_of_objects(sql).is_ok(), is_good, "{sql}");
        }
    }
}
