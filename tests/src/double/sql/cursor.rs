//! Walks over the tokens of one statement: words are accepted or expected, parentheses taken whole.
//!
//! It refuses to know grammar; `copy_into` and its neighbours do.

use super::{Kind, Token, literal_value};
use crate::double::sql_error::SqlError;

/// A place in a statement.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    sql: &'a str,
    tokens: &'a [Token],
    at: usize,
    adjacent: Adjacent,
}

/// What two literals side by side are. Unknown for the service of today, so tests try both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adjacent {
    /// `'it''s'` is `its`.
    #[default]
    Concatenate,
    /// `'it''s'` is `it's`.
    EscapeQuote,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    pub fn new(sql: &'a str, tokens: &'a [Token], adjacent: Adjacent) -> Self {
        Self {
            sql,
            tokens,
            at: 0,
            adjacent,
        }
    }

    /// The text that it walks over.
    pub fn sql(&self) -> &'a str {
        self.sql
    }

    /// The next token, if there is one.
    pub fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    /// Where the next token begins, or the end of the text.
    pub fn offset(&self) -> usize {
        self.peek().map_or(self.sql.len(), |token| token.from)
    }

    /// Where the last token ended.
    pub fn offset_behind(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |last| self.tokens[last].to)
    }

    /// Steps over one token.
    pub fn skip(&mut self) -> Option<Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    /// Whether nothing but `;` is left.
    pub fn is_at_end(&self) -> bool {
        self.tokens[self.at..].iter().all(|token| token.of(self.sql) == ";")
    }

    /// Whether these words come next.
    pub fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| {
            self.tokens
                .get(self.at + ahead)
                .is_some_and(|token| token.kind != Kind::Backticked && token.of(self.sql).eq_ignore_ascii_case(word))
        })
    }

    /// Steps over these words if they come next.
    pub fn accept(&mut self, words: &[&str]) -> bool {
        let sees = self.sees(words);
        self.at += if sees { words.len() } else { 0 };
        sees
    }

    /// Steps over these words; a syntax error where they are not.
    pub fn expect(&mut self, words: &[&str]) -> Result<(), SqlError> {
        if self.accept(words) { Ok(()) } else { Err(self.error()) }
    }

    /// A syntax error here.
    pub fn error(&self) -> SqlError {
        SqlError::syntax(self.sql, self.offset())
    }

    /// A string; literals side by side become one.
    pub fn string(&mut self) -> Result<String, SqlError> {
        let mut value: Option<String> = None;
        let mut before: Option<Token> = None;
        while let Some(token) = self.peek().filter(|token| token.kind == Kind::Literal) {
            let quote = |token: Token| token.of(self.sql).chars().next().filter(|first| *first != 'r');
            // Only a quote that follows its like at once is one of the text's own.
            let touches = before.is_some_and(|last| last.to == token.from && quote(last) == quote(token));
            let text = value.get_or_insert_default();
            if touches && self.adjacent == Adjacent::EscapeQuote {
                text.extend(quote(token));
            }
            text.push_str(&literal_value(token.of(self.sql)));
            before = Some(token);
            self.at += 1;
        }
        value.ok_or_else(|| self.error())
    }

    /// One identifier, unquoted. A bare one holds letters, digits and underscores, and not digits alone.
    pub fn identifier(&mut self) -> Result<String, SqlError> {
        let token = self.peek().ok_or_else(|| self.error())?;
        let text = token.of(self.sql);
        let name = match token.kind {
            Kind::Backticked => text[1..text.len() - 1].replace("``", "`"),
            Kind::Word => text.into(),
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(name)
    }

    /// `a.b.c`
    pub fn name(&mut self) -> Result<Vec<String>, SqlError> {
        let mut parts = vec![self.identifier()?];
        while self.accept(&["."]) {
            parts.push(self.identifier()?);
        }
        Ok(parts)
    }

    /// Over `( … )`; what comes back walks over the inside.
    pub fn parenthesised(&mut self) -> Result<Cursor<'a>, SqlError> {
        self.expect(&["("])?;
        let from = self.at;
        let mut depth = 1;
        while depth > 0 {
            let token = self.skip().ok_or_else(|| self.error())?;
            depth += match token.of(self.sql) {
                "(" => 1,
                ")" => -1,
                _ => 0,
            };
        }
        Ok(Cursor {
            tokens: &self.tokens[from..self.at - 1],
            at: 0,
            ..*self
        })
    }

    /// The rest, cut at commas that stand in no parentheses.
    pub fn items(&self) -> Vec<Cursor<'a>> {
        let (mut depth, mut begin, mut items) = (0_i32, self.at, Vec::new());
        let mut add = |from: usize, to: usize| {
            if to > from {
                let tokens = &self.tokens[from..to];
                items.push(Cursor { tokens, at: 0, ..*self });
            }
        };
        for (at, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token.of(self.sql) {
                "(" | "<" | "[" => depth += 1,
                ")" | ">" | "]" => depth -= 1,
                "," if depth == 0 => {
                    add(begin, at);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        add(begin, self.tokens.len());
        items
    }

    /// The text of what is left.
    pub fn rest(&self) -> &'a str {
        match (self.tokens.get(self.at), self.tokens.last()) {
            (Some(first), Some(last)) => &self.sql[first.from..last.to],
            _ => "",
        }
    }

    /// Forward to the next of these words that stands in no parentheses; false, and at the end, if there is none.
    pub fn seek(&mut self, words: &[&str]) -> bool {
        let mut depth = 0_i32;
        while let Some(token) = self.peek() {
            if depth == 0 && self.sees(words) {
                return true;
            }
            match token.of(self.sql) {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        false
    }
}
