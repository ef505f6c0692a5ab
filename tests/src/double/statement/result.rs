//! A result as the API tells it: text cells, type names, chunks.
//!
//! It refuses to know where rows come from.

use crate::double::engine::Answer;
use crate::double::sql_error::SqlError;

/// What a statement that succeeded gave back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// Name and type, in Spark's spelling.
    pub columns: Vec<(String, String)>,
    /// As text.
    pub rows: Vec<Vec<Option<String>>>,
    /// `row_limit` cut it.
    pub truncated: bool,
}

impl ResultSet {
    /// Cut to a limit; an error if it is too large to be sent inline.
    pub fn new(answer: Answer, row_limit: Option<usize>, bytes_max: Option<usize>) -> Result<Self, SqlError> {
        let mut rows = answer.rows;
        let truncated = row_limit.is_some_and(|limit| rows.len() > limit);
        rows.truncate(row_limit.unwrap_or(usize::MAX));
        let bytes: usize = rows
            .iter()
            .flatten()
            .map(|cell| cell.as_ref().map_or(4, |text| text.len() + 3))
            .sum();
        if bytes_max.is_some_and(|max| bytes > max) {
            let text =
                format!("Inline result of {bytes} bytes is larger than the limit; use disposition EXTERNAL_LINKS.");
            return Err(SqlError::new("INLINE_RESULT_TOO_LARGE", "54000", text));
        }
        Ok(Self {
            columns: answer.columns,
            rows,
            truncated,
        })
    }

    /// Where each chunk begins, and its rows.
    pub fn chunk(&self, index: usize, chunk_rows: usize) -> Option<(usize, &[Vec<Option<String>>])> {
        let begin = index * chunk_rows;
        let end = self.rows.len().min(begin + chunk_rows);
        (begin < self.rows.len()).then(|| (begin, &self.rows[begin..end]))
    }

    /// How many chunks there are.
    pub fn chunks(&self, chunk_rows: usize) -> usize {
        self.rows.len().div_ceil(chunk_rows)
    }
}

/// `bigint` is `LONG` in `type_name`; what the SDK's enumeration does not know is told all the same (recorded: `TIMESTAMP_NTZ`).
pub fn type_name(type_text: &str) -> String {
    let word: String = type_text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    match word.as_str() {
        "bigint" => "LONG".into(),
        "smallint" => "SHORT".into(),
        "tinyint" => "BYTE".into(),
        "void" => "NULL".into(),
        "varchar" => "STRING".into(),
        other => other.to_uppercase(),
    }
}

/// Precision and scale of a DECIMAL.
pub fn precision_and_scale(type_text: &str) -> Option<(u32, u32)> {
    let inside = type_text.strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = inside.split_once(',')?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}
