//! Where a large read is cut: between values of one column, by the server's own statistics.
//!
//! Ranges are `(after, until]`, so equal values are never divided; the first begins and the last ends without a bound,
//! so together they hold every row whatever the statistics say. It refuses to scan the table for better cuts: uneven
//! slices leave rests, and that is enough.

use serde_json::Value;

use super::catalog::{Described, Kind, SourceColumn, cell};
use super::cursor::Usable;
use super::quote;
use super::session::Session;
use super::type_map::{Shape, SourceType, numeric_modifier};
use crate::error::{Error, Result};
use crate::model::job::{Job, Relation};
use crate::model::run::{Estimate, ReadSpec, Slice, SliceBounds, SliceId, SliceKey};
use crate::model::table::TableSchema;
use crate::source::SLICES_MAX;

/// What the planner of the server expects of a statement.
pub(super) async fn estimate(session: &Session, select: &str) -> Result<Estimate> {
    let rows = session
        .rows(&format!("EXPLAIN (FORMAT JSON) {select}"), "estimate the read")
        .await?;
    let text: String = rows.iter().map(|row| cell(row, 0)).collect::<Vec<_>>().join("\n");
    let explained: Value = serde_json::from_str(&text).map_err(|e| Error::bug("cannot parse EXPLAIN").because(e))?;
    let plan = &explained[0]["Plan"];
    let rows = plan["Plan Rows"].as_f64().unwrap_or(0.0);
    let bytes = rows * plan["Plan Width"].as_f64().unwrap_or(0.0);
    // The planner's figures are not negative and far below 2^64.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(Estimate {
        rows: rows as u64,
        bytes: bytes as u64,
    })
}

/// The column that a read is cut and ordered by: the first of the key that can be, with a window also the cursor.
pub(super) fn find_key(relation: &Described, schema: &TableSchema, cursor: Option<&Usable>) -> Option<SliceKey> {
    let key = schema
        .key
        .first()
        .and_then(|k| schema.column(k))
        .map(|c| c.source_name.as_str());
    let candidates = key.into_iter().chain(cursor.map(|c| c.cursor.column.as_str()));
    candidates
        .filter_map(|name| relation.column(name))
        .filter(|c| is_usable(c))
        .find_map(|column| {
            Some(SliceKey {
                column: column.name.clone(),
                target_column: schema.column_from(&column.name)?.name.clone(),
                source_type: column.source_type.declared.clone(),
            })
        })
}

/// Types whose order is total, whose text reads back as the same value, and whose equal values are equal in bytes: a
/// rest begins `>` the last complete value, and whatever differs from that only in bytes would be read by nobody.
fn is_usable(column: &SourceColumn) -> bool {
    let SourceType {
        builtin,
        modifier,
        shape,
        ..
    } = &column.source_type;
    if *shape != Shape::Plain {
        return false;
    }
    match builtin.as_str() {
        "int2" | "int4" | "int8" | "date" | "timestamp" | "timestamptz" | "uuid" => true,
        "text" | "varchar" => column.deterministic,
        // Blanks at the end do not count in a comparison. Those of a declared length are all padded to it.
        "bpchar" => column.deterministic && *modifier >= 0,
        "numeric" => numeric_modifier(*modifier).is_some_and(|(_, scale)| scale == 0),
        _ => false,
    }
}

/// The slices of a read: one, or as many as its bytes ask for.
pub(super) async fn cut(
    session: &Session,
    job: &Job,
    relation: &Described,
    read: &ReadSpec,
    estimate: Estimate,
) -> Result<Vec<Slice>> {
    let whole = || {
        vec![Slice {
            id: SliceId::nth(0),
            bounds: SliceBounds::All,
        }]
    };
    let wanted = usize::try_from(estimate.bytes.div_ceil(job.slice_bytes.max(1))).unwrap_or(SLICES_MAX);
    // One is kept back for rows without a key.
    let wanted = wanted.min(SLICES_MAX - 1);
    let Some(key) = read.slice_key.as_ref().filter(|_| wanted > 1) else {
        return Ok(whole());
    };
    let Some(column) = relation.column(&key.column) else {
        return Ok(whole());
    };
    let mut weights = statistics(session, &job.relation, relation, column).await?;
    if weights.is_empty() {
        weights = ends(session, job, column).await?;
    }
    let cuts = cuts(&weights, wanted, &column.source_type.builtin);
    if cuts.is_empty() {
        return Ok(whole());
    }
    let afters = std::iter::once(None).chain(cuts.iter().cloned().map(Some));
    let untils = cuts.iter().cloned().map(Some).chain(std::iter::once(None));
    let ranges = afters
        .zip(untils)
        .map(|(after, until)| SliceBounds::Range { after, until });
    let nulls = (!column.not_null).then_some(SliceBounds::Null);
    let numbered = ranges.chain(nulls).enumerate();
    Ok(numbered
        .map(|(n, bounds)| Slice {
            id: SliceId::nth(n),
            bounds,
        })
        .collect())
}

/// A value and the share of the rows that are above the value before it and not above this one.
#[derive(Debug, Clone, PartialEq)]
struct Weight {
    value: String,
    share: f64,
}

/// What ANALYZE found, in the column's order: the bounds of its histogram and the values that are most common.
async fn statistics(
    session: &Session,
    relation: &Relation,
    described: &Described,
    column: &SourceColumn,
) -> Result<Vec<Weight>> {
    let Relation::Table { schema, name } = relation else {
        return Ok(Vec::new());
    };
    if described.kind == Kind::Derived {
        return Ok(Vec::new());
    }
    // The values come as an array of the column's own type; text is the only way through `anyarray`.
    let array = match quote::bound("", &column.source_type.declared).rsplit_once("''::") {
        Some((_, bare)) => format!("{bare}[]"),
        None => return Ok(Vec::new()),
    };
    let sql = format!(
        "WITH s AS (
           SELECT histogram_bounds::pg_catalog.text::{array} AS bounds, most_common_vals::pg_catalog.text::{array} AS vals,
                  most_common_freqs AS freqs
             FROM pg_catalog.pg_stats
            WHERE schemaname = {schema} AND tablename = {table} AND attname = {attribute}
            ORDER BY inherited DESC LIMIT 1)
         SELECT v.value::pg_catalog.text, v.share::pg_catalog.text FROM (
           SELECT b.value, CASE WHEN b.nth = 1 THEN 0 ELSE
                    (1 - coalesce((SELECT pg_catalog.sum(f) FROM pg_catalog.unnest(s.freqs) f), 0))
                    / (pg_catalog.array_length(s.bounds, 1) - 1) END AS share
             FROM s, pg_catalog.unnest(s.bounds) WITH ORDINALITY b(value, nth)
           UNION ALL
           SELECT m.value, m.share FROM s, ROWS FROM (pg_catalog.unnest(s.vals), pg_catalog.unnest(s.freqs)) m(value, share)
         ) v ORDER BY v.value",
        schema = quote::text(schema.as_deref().unwrap_or("public")),
        table = quote::text(name),
        attribute = quote::text(&column.name),
    );
    let rows = session.rows(&sql, "read the statistics of the slice key").await?;
    Ok(rows
        .iter()
        .map(|row| Weight {
            value: cell(row, 0).to_owned(),
            share: cell(row, 1).parse().unwrap_or(0.0),
        })
        .collect())
}

/// Without statistics: the least and the greatest, where an index answers and what lies between can be computed.
async fn ends(session: &Session, job: &Job, column: &SourceColumn) -> Result<Vec<Weight>> {
    let is_query = matches!(job.relation, Relation::Query(_));
    if is_query || !can_be_divided(&column.source_type.builtin) {
        return Ok(Vec::new());
    }
    // uuid has no least and greatest before PostgreSQL 18.
    let key = quote::name(&column.name);
    let table = quote::relation(&job.relation);
    let end = |order: &str| {
        format!("(SELECT {key}::pg_catalog.text FROM {table} WHERE {key} IS NOT NULL ORDER BY {key} {order} LIMIT 1)")
    };
    let row = session
        .row(
            &format!("SELECT {}, {}", end("ASC"), end("DESC")),
            "read the ends of the slice key",
        )
        .await?;
    Ok(match (row.get(0), row.get(1)) {
        (Some(least), Some(greatest)) => vec![
            Weight {
                value: least.to_owned(),
                share: 0.0,
            },
            Weight {
                value: greatest.to_owned(),
                share: 1.0,
            },
        ],
        _ => Vec::new(),
    })
}

fn can_be_divided(builtin: &str) -> bool {
    matches!(builtin, "int2" | "int4" | "int8" | "numeric" | "uuid")
}

/// At most `wanted − 1` values, ascending, each the last of its slice, so that slices hold about as much.
fn cuts(weights: &[Weight], wanted: usize, builtin: &str) -> Vec<String> {
    let total: f64 = weights.iter().map(|w| w.share).sum();
    let mut cuts: Vec<String> = Vec::new();
    if total <= 0.0 {
        return cuts;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
    let per_slice = total / wanted as f64;
    let mut filled = 0.0;
    let mut before: Option<&str> = None;
    for weight in weights {
        // A wide bucket holds several cuts, if there are values between its ends that can be computed.
        let inner = before.map(|b| between(b, &weight.value, weight.share, filled, per_slice, builtin));
        let (inner, left) = inner.unwrap_or((Vec::new(), filled + weight.share));
        cuts.extend(inner);
        filled = left;
        if filled >= per_slice {
            cuts.push(weight.value.clone());
            filled = 0.0;
        }
        before = Some(&weight.value);
    }
    cuts.dedup();
    // Above the greatest value that was seen there is the open end, not another cut.
    if cuts.last().is_some() && cuts.last() == weights.last().map(|w| &w.value) {
        cuts.pop();
    }
    cuts.truncate(wanted - 1);
    cuts
}

/// Cuts inside a bucket, and what is left for the slice that its end belongs to.
fn between(after: &str, until: &str, share: f64, filled: f64, per_slice: f64, builtin: &str) -> (Vec<String>, f64) {
    let whole = (Vec::new(), filled + share);
    if filled + share < 2.0 * per_slice || !can_be_divided(builtin) {
        return whole;
    }
    let (Some(low), Some(high)) = (ordinal(after, builtin), ordinal(until, builtin)) else {
        return whole;
    };
    let mut cuts = Vec::new();
    let mut at = per_slice - filled;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a cut may lie anywhere"
    )]
    while at < share {
        let value = low.saturating_add(((high.saturating_sub(low)) as f64 * (at / share)) as i128);
        if value > low && value < high {
            cuts.push(value);
        }
        at += per_slice;
    }
    cuts.dedup();
    let left = share - (at - per_slice);
    (
        cuts.into_iter().map(|value| from_ordinal(value, builtin)).collect(),
        left,
    )
}

/// A uuid's place among all uuids, moved down so that it fits; an integer is its own.
fn ordinal(text: &str, builtin: &str) -> Option<i128> {
    if builtin != "uuid" {
        return text.parse().ok();
    }
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&digits, 16).ok().map(|n| (n >> 1).cast_signed())
}

fn from_ordinal(value: i128, builtin: &str) -> String {
    if builtin != "uuid" {
        return value.to_string();
    }
    let digits = format!("{:032x}", value.cast_unsigned() << 1);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(values: &[(&str, f64)]) -> Vec<Weight> {
        values
            .iter()
            .map(|(value, share)| Weight {
                value: (*value).to_owned(),
                share: *share,
            })
            .collect()
    }

    fn usable(builtin: &str, modifier: i32, deterministic: bool) -> bool {
        is_usable(&SourceColumn {
            name: "k".into(),
            source_type: SourceType {
                declared: builtin.into(),
                builtin: builtin.into(),
                modifier,
                shape: Shape::Plain,
            },
            not_null: true,
            comment: None,
            deterministic,
        })
    }

    #[test]
    fn values_that_are_equal_to_the_server_alone_are_no_key() {
        for text in ["text", "varchar"] {
            assert!(usable(text, -1, true));
            assert!(
                !usable(text, -1, false),
                "{text} by a collation that is not deterministic, or of a query"
            );
        }
        // character(8), and blanks that nobody pads.
        assert!(usable("bpchar", 12, true));
        assert!(!usable("bpchar", 12, false));
        assert!(!usable("bpchar", -1, true));
        // numeric(9,0), numeric(9,2), and one whose 1 and 1.0 are equal.
        assert!(usable("numeric", (9 << 16) + 4, false));
        assert!(!usable("numeric", ((9 << 16) | 2) + 4, false));
        assert!(!usable("numeric", -1, false));
        assert!(usable("int8", -1, false));
        assert!(!usable("float8", -1, false));
    }

    #[test]
    fn cuts_follow_the_weights() {
        let even = weights(&[("0", 0.0), ("10", 0.25), ("20", 0.25), ("30", 0.25), ("40", 0.25)]);
        assert_eq!(cuts(&even, 4, "text"), ["10", "20", "30"]);
        assert_eq!(cuts(&even, 2, "text"), ["20"]);
        // More slices than buckets: only numbers can be computed.
        assert_eq!(cuts(&even, 8, "text"), ["10", "20", "30"]);
        assert_eq!(cuts(&even, 8, "int4"), ["5", "10", "15", "20", "25", "30", "35"]);
    }

    #[test]
    fn a_value_that_most_rows_share_is_one_slice() {
        let skewed = weights(&[("0", 0.0), ("1", 0.05), ("7", 0.9), ("9", 0.05)]);
        let cuts = cuts(&skewed, 10, "text");
        assert!(cuts.contains(&"7".to_owned()), "{cuts:?}");
        assert!(cuts.len() <= 2, "{cuts:?}");
    }

    #[test]
    fn the_two_ends_alone_are_divided_evenly() {
        assert_eq!(
            cuts(&weights(&[("0", 0.0), ("100", 1.0)]), 4, "int8"),
            ["25", "50", "75"]
        );
        assert_eq!(
            cuts(&weights(&[("5", 0.0), ("5", 1.0)]), 4, "int8"),
            Vec::<String>::new()
        );
        let uuids = weights(&[
            ("00000000-0000-0000-0000-000000000000", 0.0),
            ("ffffffff-ffff-ffff-ffff-fffffffffffe", 1.0),
        ]);
        let cuts = cuts(&uuids, 2, "uuid");
        assert_eq!(cuts.len(), 1);
        assert!(
            cuts[0].starts_with("7fffffff-") || cuts[0].starts_with("80000000-"),
            "{cuts:?}"
        );
    }

    proptest::proptest! {
        #[test]
        fn cuts_ascend_and_are_few(shares in proptest::collection::vec(0.0f64..1.0, 2..50), wanted in 2usize..999) {
            let weights: Vec<Weight> = shares.iter().enumerate()
                .map(|(n, share)| Weight { value: (n * 10).to_string(), share: *share }).collect();
            let cuts: Vec<i128> = cuts(&weights, wanted, "int8").iter().map(|c| c.parse().unwrap()).collect();
            proptest::prop_assert!(cuts.len() < wanted);
            proptest::prop_assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
