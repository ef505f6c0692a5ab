//! The cursor `xmin`: which transaction wrote a row, for tables without a column that orders changes.
//!
//! A position is a 64-bit transaction id; the window is `[from, to)`: every transaction below `to` had ended when it
//! was planned, so no row can appear in it later. A row shows only the lower 32 bits of its transaction, so windows
//! are arcs of the circle of 2³²; successive windows touch, so each row version is in exactly one of them. It refuses
//! views and queries, and windows of half the circle or more. Deleted rows leave no trace, and a row that has not
//! changed for four billion transactions may be read once more.

use crate::error::{Error, ErrorKind, Result};
use crate::model::run::Window;

/// The word users write as the cursor.
pub(super) const WORD: &str = "xmin";

const CIRCLE: u64 = 1 << 32;

/// Beyond half the circle, before and after cannot be told apart.
const SPAN_MAX: u64 = 1 << 31;

pub(super) fn is_meant(cursor: &str) -> bool {
    cursor == WORD
}

/// A position as a number.
pub(super) fn parse(position: &str) -> Result<u64> {
    position.trim().parse().map_err(|_| {
        Error::new(
            ErrorKind::Config,
            format!("cannot use '{position}' as an xmin position: give a transaction id"),
        )
    })
}

/// The rows of `[from, to)`.
pub(super) fn condition(window: &Window) -> Result<Option<String>> {
    let Some(to) = &window.to else { return Ok(None) };
    let to = parse(&to.0)?;
    let distance = |origin: u64| {
        let low = origin % CIRCLE;
        format!("((xmin::pg_catalog.text::pg_catalog.int8 - {low} + {CIRCLE}) % {CIRCLE})")
    };
    if let Some(from) = &window.from {
        let from = parse(&from.0)?;
        let span = to.saturating_sub(from);
        if span >= SPAN_MAX {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "cannot read an xmin window of 2^31 transactions or more: reload the job with --full",
            ));
        }
        return Ok(Some(format!("{} < {span}", distance(from))));
    }
    // From the beginning: all but what was written by transactions that had not ended when this was planned. The upper
    // end of those is taken where the rows are read: rows that this statement sees are below its own snapshot's end.
    Ok(Some(format!(
        "{} >= (pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 - {to})",
        distance(to)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::watermark::Position;

    #[test]
    fn a_window_of_half_the_circle_is_refused() {
        let window = |from: u64, to: u64| Window {
            from: Some(Position(from.to_string())),
            to: Some(Position(to.to_string())),
        };
        assert!(condition(&window(10, 10 + SPAN_MAX)).is_err());
        let sql = condition(&window(CIRCLE + 5, CIRCLE + 9)).unwrap().unwrap();
        assert_eq!(
            sql,
            "((xmin::pg_catalog.text::pg_catalog.int8 - 5 + 4294967296) % 4294967296) < 4"
        );
    }
}
