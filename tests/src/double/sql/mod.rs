//! As much of Databricks' SQL as it takes to tell statements apart, to refuse what a warehouse refuses, and to cut out what Spark
//! does not parse. It refuses to evaluate anything: that is Spark's.
//!
//! `cursor` walks over tokens, `names` are objects' names, `column_definitions` a CREATE TABLE's, `copy_into` that
//! statement, `parameters` the markers, `refusals` what no statement may hold.

pub mod column_definitions;
pub mod copy_into;
pub mod cursor;
pub mod names;
pub mod parameters;
pub mod refusals;

use super::sql_error::SqlError;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keyword or bare identifier.
    Word,
    /// A quoted identifier; a backtick inside is doubled.
    Backticked,
    /// `'…'`, `"…"`, `r'…'`
    Literal,
    /// Digits, with their point and exponent.
    Number,
    /// `:name`
    Marker,
    /// One character of anything else.
    Symbol,
}

/// A token: where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub from: usize,
    /// Behind its last byte.
    pub to: usize,
}

impl Token {
    /// Its text.
    pub fn of<'a>(&self, sql: &'a str) -> &'a str {
        &sql[self.from..self.to]
    }
}

/// Tokens of a statement, comments left out. A literal, a name or a comment that does not end is a syntax error.
pub fn tokens(sql: &str) -> Result<Vec<Token>, SqlError> {
    let bytes = sql.as_bytes();
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest[0].is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with(b"--") {
            at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            let end = sql[at..].find("*/").ok_or_else(|| SqlError::syntax(sql, at))?;
            at += end + 2;
        } else {
            let (kind, length) = token_at(bytes, at, tokens.last()).ok_or_else(|| SqlError::syntax(sql, at))?;
            let to = at + length;
            tokens.push(Token { kind, from: at, to });
            at = to;
        }
    }
    Ok(tokens)
}

fn token_at(bytes: &[u8], at: usize, before: Option<&Token>) -> Option<(Kind, usize)> {
    let rest = &bytes[at..];
    let quoted_raw = matches!(rest[0], b'r' | b'R') && matches!(rest.get(1), Some(b'\'' | b'"'));
    match rest[0] {
        _ if quoted_raw => Some((Kind::Literal, 1 + raw_length(&rest[1..])?)),
        b'\'' | b'"' => Some((Kind::Literal, literal_length(rest)?)),
        b'`' => Some((Kind::Backticked, backticked_length(rest)?)),
        b'0'..=b'9' => Some((Kind::Number, number_length(rest))),
        b':' if is_marker(bytes, at, before) => Some((Kind::Marker, 1 + word_length(&rest[1..]))),
        b if is_word(b) => Some((Kind::Word, word_length(rest))),
        _ => Some((Kind::Symbol, 1)),
    }
}

/// `a:b` is a path into a VARIANT, `a::INT` a cast; a marker stands where an expression begins.
fn is_marker(bytes: &[u8], at: usize, before: Option<&Token>) -> bool {
    let begins_name = bytes.get(at + 1).is_some_and(|&b| is_word(b));
    let touches = before.is_some_and(|token| {
        token.to == at && (token.kind != Kind::Symbol || matches!(bytes[at - 1], b')' | b']' | b':'))
    });
    begins_name && !touches
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn word_length(rest: &[u8]) -> usize {
    rest.iter().take_while(|&&b| is_word(b)).count()
}

fn number_length(rest: &[u8]) -> usize {
    let digits = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut length = digits(0);
    if rest.get(length) == Some(&b'.') {
        length += 1 + digits(length + 1);
    }
    // 1e6, and 10L: what sticks to a number belongs to it.
    length + word_length(&rest[length..])
}

fn literal_length(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == rest[0] => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

fn raw_length(rest: &[u8]) -> Option<usize> {
    Some(rest[1..].iter().position(|&b| b == rest[0])? + 2)
}

fn backticked_length(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest[at..].iter().position(|&b| b == b'`')?;
        if rest.get(at + 1) != Some(&b'`') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Literals side by side as one. Spark joins them in some clauses, and takes `''` for a quote in others (`COMMENT`).
pub fn joined(sql: &str) -> String {
    let tokens = tokens(sql).unwrap_or_default();
    let is_quoted = |token: &Token| token.kind == Kind::Literal && token.of(sql).starts_with('\'');
    let (mut joined, mut from) = (String::new(), 0);
    for pair in tokens.windows(2).filter(|pair| pair.iter().all(is_quoted)) {
        joined.push_str(&sql[from..pair[0].to - 1]);
        from = pair[1].from + 1;
    }
    joined + &sql[from..]
}

/// A text as a literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The value of one literal: backslash escapes are on. Spark keeps the backslash before `%` and `_`, which are for LIKE.
pub fn literal_value(token: &str) -> String {
    if let Some(raw) = token.strip_prefix(['r', 'R']) {
        return raw[1..raw.len() - 1].into();
    }
    let inner = &token[1..token.len() - 1];
    let mut value = String::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => value.push('\n'),
            Some('t') => value.push('\t'),
            Some('r') => value.push('\r'),
            Some('b') => value.push('\u{8}'),
            Some('0') => value.push('\0'),
            Some('Z') => value.push('\u{1a}'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                value.push(code.unwrap_or('\u{fffd}'));
            }
            Some(kept @ ('%' | '_')) => value.extend(['\\', kept]),
            Some(other) => value.push(other),
            None => {}
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql).unwrap().iter().map(|token| token.of(sql)).collect()
    }

    #[test]
    fn names_literals_comments_and_markers_are_told_apart() {
        for (sql, expected) in [
            (
                "SELECT :a, b:c, d::INT",
                vec!["SELECT", ":a", ",", "b", ":", "c", ",", "d", ":", ":", "INT"],
            ),
            (
                "'it\\'s' -- :x\n /* :y */ `a``b`.c",
                vec!["'it\\'s'", "`a``b`", ".", "c"],
            ),
            ("r'\\' \"d\" 1.5e3", vec!["r'\\'", "\"d\"", "1.5e3"]),
        ] {
            assert_eq!(texts(sql), expected, "{sql}");
        }
        for open in ["'a", "`a", "/* a", "'a\\'"] {
            assert!(tokens(open).is_err(), "{open}");
        }
    }

    #[test]
    fn literals_side_by_side_become_one() {
        let sql = r"COMMENT 'it''s' , 'a' 'b' 'c\'' AS `d''e` -- 'f''g'";
        assert_eq!(joined(sql), r"COMMENT 'its' , 'abc\'' AS `d''e` -- 'f''g'");
    }

    #[test]
    fn backslashes_escape_and_doubled_quotes_do_not() {
        assert_eq!(literal_value(r"'it\'s \\ \n \u00e9 \%'"), "it's \\ \n é \\%");
        assert_eq!(literal_value(r"r'\n'"), r"\n");
        assert_eq!(texts("'it''s'").len(), 2);
    }
}
