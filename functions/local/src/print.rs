//! What people read: tables, sizes, durations, errors with their remedy.
//!
//! A reader that goes away (`| head`) ends the output, not the program with a panic.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lakeward::error::ErrorKind;
use serde::Serialize;

/// Writes a text and a line end to standard output.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if written.is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// Writes a value as JSON, readable.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => out(&text),
        Err(error) => tracing::error!("cannot print as JSON: {error}"),
    }
}

/// Writes a value as one line of JSON.
pub fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => out(&text),
        Err(error) => tracing::error!("cannot print as JSON: {error}"),
    }
}

/// Rows of cells below a header, columns as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Numbers to the right, everything else to the left, nothing at the ends of lines.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let is_right = self.is_number(column);
                if is_right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let header: Vec<String> = self.header.iter().map(|h| (*h).to_owned()).collect();
        let lines = std::iter::once(line(&header)).chain(self.rows.iter().map(|row| line(row)));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn is_number(&self, column: usize) -> bool {
        let cells: Vec<&String> = self
            .rows
            .iter()
            .filter_map(|row| row.get(column))
            .filter(|c| !c.is_empty())
            .collect();
        let begins = |cell: &&String| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        let is_plain = |cell: &&String| !cell.contains([':', '/', '.']) || cell.contains(' ');
        !cells.is_empty()
            && cells
                .iter()
                .all(|c| *c == "-" || (begins(c) && is_plain(c) && !c.contains('–')))
    }
}

/// `1 234 567`: thin enough to read, plain enough to copy.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `2024-05-01 10:00:00`, UTC.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// What to do about an error of a kind, where its text may not say it.
pub fn remedy(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Config => Some("correct the configuration or the command line; lakeward check looks at all of it"),
        ErrorKind::Access => Some("grant what is missing; lakeward check tells when it is there"),
        ErrorKind::SourceBusy | ErrorKind::StorageBusy | ErrorKind::WarehouseBusy => {
            Some("it stayed busy or away for all attempts; the same command goes on where this one stopped")
        }
        ErrorKind::DataRejected => {
            Some("the run was given up and its rows taken out; the next run reads the same window again")
        }
        ErrorKind::Conflict => Some("somebody else works on the same job; run the command again"),
        ErrorKind::Bug => Some("this is a defect of lakeward: please report it with the log (--log-level debug)"),
        ErrorKind::Unsupported | ErrorKind::SourceRejected | ErrorKind::WarehouseRejected | ErrorKind::Interrupted => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [count(0), count(999), count(1000), count(1_234_567)].join("|"),
            "0|999|1 000|1 234 567"
        );
        assert_eq!(
            [bytes(0), bytes(999), bytes(1000), bytes(9_949_999), bytes(12_345_678)].join("|"),
            "0 B|999 B|1.0 kB|9.9 MB|12 MB"
        );
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(u64::MAX), "18446744 TB");
        let times = [0, 9_960, 59_999, 200_000, 7_500_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(times.join("|"), "0.0 s|10.0 s|59 s|3 min 20 s|2 h 5 min");
    }

    #[test]
    fn a_table_aligns_numbers_right_and_texts_left() {
        let mut table = Table::new(&["job", "rows", "state"]);
        table.row(["orders".into(), count(1_234), "done".into()]);
        table.row(["a".into(), "7".into(), String::new()]);
        insta::assert_snapshot!(table.render(), @r"
        job      rows  state
        orders  1 234  done
        a           7
        ");
    }
}
