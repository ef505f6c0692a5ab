//! COPY INTO, as its reference page has it (docs delta-copy-into): from text to [`CopyInto`].
//!
//! It refuses what the page forbids: FILES with PATTERN, more than 1,000 files, a column list with anything but CSV, an
//! unknown option (the service may ignore one; a typing error should not pass here), markers where literals stand.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Kind;
use super::column_definitions::read_options;
use super::cursor::{Adjacent, Cursor};
use super::names::{Namespace, TableName};
use crate::double::sql_error::SqlError;

/// More names in FILES are an error.
pub const FILES_MAX: usize = 1000;
const FORMAT_OPTIONS: [&str; 6] = [
    "mergeschema",
    "datetimerebasemode",
    "int96rebasemode",
    "ignorecorruptfiles",
    "ignoremissingfiles",
    "recursivefilelookup",
];
/// The service knows them.
const NOT_EMULATED: [&str; 7] = [
    "rescueddatacolumn",
    "readercasesensitive",
    "modifiedafter",
    "modifiedbefore",
    "pathglobfilter",
    "inferschema",
    "header",
];
const COPY_OPTIONS: [&str; 2] = ["force", "mergeschema"];

/// A parsed COPY INTO.
#[derive(Debug, Clone)]
pub struct CopyInto {
    /// Where the rows go.
    pub target: TableName,
    /// It was written as `IDENTIFIER(…)`.
    pub target_is_identifier: bool,
    /// The SELECT list, as it is written; `None` reads all columns.
    pub select: Option<String>,
    /// Where the source begins, with its scheme.
    pub source: String,
    /// `WITH (CREDENTIAL …)`
    pub credential: Option<Credential>,
    /// `FILES = (…)`
    pub files: Option<Vec<String>>,
    /// `PATTERN = '…'`
    pub pattern: Option<String>,
    /// `VALIDATE`: nothing is written.
    pub validate: bool,
    /// Keys in lower case.
    pub format_options: BTreeMap<String, String>,
    /// Keys in lower case.
    pub copy_options: BTreeMap<String, String>,
}

/// What `WITH (CREDENTIAL …)` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A named one.
    Named(String),
    /// Keys in upper case.
    Inline(BTreeMap<String, String>),
}

impl CopyInto {
    /// Whether an option is `true`; `default` if it is not there.
    pub fn is_set(options: &BTreeMap<String, String>, key: &str, default: bool) -> bool {
        options
            .get(key)
            .map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

/// Reads a whole statement.
pub fn read(cursor: &mut Cursor<'_>, namespace: &Namespace) -> Result<CopyInto, SqlError> {
    cursor.expect(&["COPY", "INTO"])?;
    let target_is_identifier = cursor.sees(&["IDENTIFIER", "("]);
    let target = match target_is_identifier {
        true => read_identifier(cursor, namespace)?,
        false => TableName::read(cursor, namespace)?,
    };
    let has_columns = cursor.sees(&["("]);
    if has_columns {
        cursor.parenthesised()?;
    }
    let by_position = cursor.accept(&["BY", "POSITION"]);
    cursor.expect(&["FROM"])?;
    let (select, source, credential) = read_source(cursor)?;
    cursor.expect(&["FILEFORMAT", "="])?;
    let format = cursor.identifier()?.to_uppercase();
    if format == "DELTA" {
        return Err(SqlError::known("COPY_INTO_SOURCE_FILE_FORMAT_NOT_SUPPORTED"));
    }
    if format != "PARQUET" {
        return Err(SqlError::not_emulated(&format!("FILEFORMAT = {format}")));
    }
    if has_columns || by_position {
        // Documented for headerless CSV only.
        return Err(SqlError::new(
            "COPY_INTO_FEATURE_INCOMPATIBLE_SETTING",
            "42613",
            "A column list can only be used with FILEFORMAT = CSV.",
        ));
    }
    let mut copy = CopyInto {
        target,
        target_is_identifier,
        select,
        source,
        credential,
        files: None,
        pattern: None,
        validate: false,
        format_options: BTreeMap::new(),
        copy_options: BTreeMap::new(),
    };
    while !cursor.is_at_end() {
        read_clause(cursor, &mut copy)?;
    }
    if copy.files.is_some() && copy.pattern.is_some() {
        return Err(cursor.error());
    }
    Ok(copy)
}

/// `IDENTIFIER('main.raw.t')`; a parameter has become `CAST('main.raw.t' AS STRING)` by now.
fn read_identifier(cursor: &mut Cursor<'_>, namespace: &Namespace) -> Result<TableName, SqlError> {
    cursor.expect(&["IDENTIFIER"])?;
    let mut inside = cursor.parenthesised()?;
    inside.accept(&["CAST", "("]);
    let name = inside.string()?;
    let tokens = super::tokens(&name)?;
    TableName::read(&mut Cursor::new(&name, &tokens, Adjacent::Concatenate), namespace)
}

type Source = (Option<String>, String, Option<Credential>);

fn read_source(cursor: &mut Cursor<'_>) -> Result<Source, SqlError> {
    if !cursor.sees(&["("]) {
        let uri = cursor.string()?;
        return Ok((None, uri, read_credential(cursor)?));
    }
    let mut inside = cursor.parenthesised()?;
    inside.expect(&["SELECT"])?;
    let from = inside.offset();
    if !inside.seek(&["FROM"]) {
        return Err(inside.error());
    }
    let list = inside.sql()[from..inside.offset_behind()].to_owned();
    inside.expect(&["FROM"])?;
    let uri = inside.string()?;
    let credential = read_credential(&mut inside)?;
    if inside.peek().is_some() {
        // No WHERE, no GROUP BY, no join: an expression list over the source clause and nothing more.
        return Err(inside.error());
    }
    Ok((Some(list), uri, credential))
}

fn read_credential(cursor: &mut Cursor<'_>) -> Result<Option<Credential>, SqlError> {
    if !cursor.accept(&["WITH"]) {
        return Ok(None);
    }
    let mut inside = cursor.parenthesised()?;
    if !inside.accept(&["CREDENTIAL"]) {
        return Err(SqlError::not_emulated("COPY INTO … WITH (ENCRYPTION …)"));
    }
    if !inside.sees(&["("]) {
        return Ok(Some(Credential::Named(inside.identifier()?)));
    }
    let options = read_options(&inside.parenthesised()?)?;
    let upper = options.into_iter().map(|(key, value)| (key.to_uppercase(), value));
    Ok(Some(Credential::Inline(upper.collect())))
}

fn read_clause(cursor: &mut Cursor<'_>, copy: &mut CopyInto) -> Result<(), SqlError> {
    if cursor.accept(&["VALIDATE"]) {
        copy.validate = true;
        if !cursor.accept(&["ALL"]) && cursor.peek().is_some_and(|token| token.kind == Kind::Number) {
            cursor.skip();
            cursor.expect(&["ROWS"])?;
        }
    } else if cursor.accept(&["FILES", "="]) {
        let items = cursor.parenthesised()?.items();
        if items.len() > FILES_MAX {
            return Err(SqlError::new(
                "COPY_INTO_TOO_MANY_FILES",
                "54000",
                format!("FILES names {} files, at most {FILES_MAX} are allowed.", items.len()),
            ));
        }
        copy.files = Some(
            items
                .into_iter()
                .map(|mut item| item.string())
                .collect::<Result<_, _>>()?,
        );
    } else if cursor.accept(&["PATTERN", "="]) {
        copy.pattern = Some(cursor.string()?);
    } else if cursor.accept(&["FORMAT_OPTIONS"]) {
        copy.format_options = known_options(cursor, &FORMAT_OPTIONS)?;
    } else if cursor.accept(&["COPY_OPTIONS"]) {
        copy.copy_options = known_options(cursor, &COPY_OPTIONS)?;
    } else {
        return Err(cursor.error());
    }
    Ok(())
}

fn known_options(cursor: &mut Cursor<'_>, known: &[&str]) -> Result<BTreeMap<String, String>, SqlError> {
    let mut options = BTreeMap::new();
    for (key, value) in read_options(&cursor.parenthesised()?)? {
        let key = key.to_lowercase();
        if NOT_EMULATED.contains(&key.as_str()) {
            return Err(SqlError::not_emulated(&format!("COPY INTO's option {key}")));
        }
        if !known.contains(&key.as_str()) {
            return Err(SqlError::new(
                "DOUBLE_UNKNOWN_OPTION",
                "42601",
                format!("no such option: '{key}'"),
            ));
        }
        options.insert(key, value);
    }
    Ok(options)
}

/// The `COPY INTO` statements of a script, each as a range of the text: for BEGIN ATOMIC.
pub fn statements_of(sql: &str) -> Result<Vec<Range<usize>>, SqlError> {
    let tokens = super::tokens(sql)?;
    let mut cursor = Cursor::new(sql, &tokens, Adjacent::Concatenate);
    cursor.expect(&["BEGIN", "ATOMIC"])?;
    let mut ranges = Vec::new();
    loop {
        if cursor.accept(&["END"]) {
            return if cursor.is_at_end() {
                Ok(ranges)
            } else {
                Err(cursor.error())
            };
        }
        let from = cursor.offset();
        if !cursor.seek(&[";"]) {
            return Err(cursor.error());
        }
        ranges.push(from..cursor.offset());
        cursor.expect(&[";"])?;
    }
}
