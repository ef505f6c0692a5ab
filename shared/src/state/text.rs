//! How a document is laid out: JSON with a line for each of its entries and for each object of a list (a column, a
//! slice, a file, a step), and no blank that only widens it.
//!
//! It refuses to choose what is in a document. Lines are what people and `diff` compare; an indented key a line would
//! more than double a job's document, which every run reads and writes.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Objects that stand no deeper have a line for each of their keys: the document itself and its parts.
const SPREAD_DEPTH_MAX: usize = 1;
/// Objects in a list that stand no deeper have a line each. What is inside of one never has.
const LISTED_DEPTH_MAX: usize = 3;

/// The text of a document.
pub(super) fn of<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut text, Lines { open: Vec::new() }))?;
    text.push(b'\n');
    Ok(text)
}

/// What is begun and not ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A line for each key.
    Spread,
    /// Without an end of line.
    Flat,
    /// A list; no object in it has got a line.
    List,
    /// A list of lines.
    ListOfLines,
}

struct Lines {
    open: Vec<Open>,
}

impl Lines {
    fn line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        self.open.iter().try_for_each(|_| writer.write_all(b" "))
    }
}

impl Formatter for Lines {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let depth = self.open.len();
        let is_listed = matches!(self.open.last(), Some(Open::List | Open::ListOfLines));
        if is_listed && depth <= LISTED_DEPTH_MAX {
            self.line(writer)?;
            self.open.pop();
            self.open.push(Open::ListOfLines);
        }
        let is_spread = !is_listed && depth <= SPREAD_DEPTH_MAX;
        self.open.push(if is_spread { Open::Spread } else { Open::Flat });
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        match self.open.last() {
            Some(Open::Spread) => self.line(writer),
            _ => Ok(()),
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let is_spread = self.open.last() == Some(&Open::Spread);
        writer.write_all(if is_spread { b": " } else { b":" })
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.open.pop() == Some(Open::Spread) {
            self.line(writer)?;
        }
        writer.write_all(b"}")
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.push(Open::List);
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.open.pop() == Some(Open::ListOfLines) {
            self.line(writer)?;
        }
        writer.write_all(b"]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(value: &Value) -> String {
        String::from_utf8(of(value).unwrap()).unwrap()
    }

    #[test]
    fn entries_and_listed_objects_have_lines_of_their_own() {
        let value = json!({
            "a": { "columns": [{ "n": "x", "t": { "decimal": [18, 4] } }, { "n": "y", "t": [["f", { "d": [1, 2] }]] }] },
            "b": [1, 2],
            "c": [],
            "d": { "e": { "f": null } },
        });
        let expected = r#"{
 "a": {
  "columns": [
   {"n":"x","t":{"decimal":[18,4]}},
   {"n":"y","t":[["f",{"d":[1,2]}]]}
  ]
 },
 "b": [1,2],
 "c": [],
 "d": {
  "e": {"f":null}
 }
}
"#;
        assert_eq!(text(&value), expected);
        assert_eq!(serde_json::from_str::<Value>(expected).unwrap(), value);
    }
}
