//! A Rust file as the rules see it: its text, and the same text with comments, literals and test code blanked.
//!
//! It refuses to understand Rust: a lexer that knows comments, literals and braces is enough for every rule, and it
//! reads files that do not compile yet. Offsets and line numbers are the same in both texts.
//! Neighbours: `shape`, `imports` and `words` hold the rules.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct SourceFile {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// As written.
    pub text: String,
    /// Comments, literals blanked; what is left is code.
    pub code: String,
    /// `code` without the items marked `#[cfg(test)]`.
    pub library: String,
    /// Its parent declares it under `#[cfg(test)]`.
    pub is_test: bool,
}

impl SourceFile {
    /// Lexes one file.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_literals(text);
        let library = blank_test_items(&code);
        Self {
            path: path.into(),
            text: text.into(),
            code,
            library,
            is_test: false,
        }
    }

    /// Whether the file is part of the library.
    pub fn is_library(&self) -> bool {
        self.path.starts_with("shared/src/") && !self.is_test
    }

    /// The 1-based line of an offset.
    pub fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// A finding at an offset.
    pub fn finding(&self, offset: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.line(offset))
    }
}

/// Every Rust file of the workspace; sorted, so that findings are.
pub fn workspace_files() -> Vec<SourceFile> {
    // Where cargo runs it. A path that the compiler knew would be that of whatever clone filled the target folder.
    let root = Path::new("..");
    let mut paths = Vec::new();
    for folder in ["shared", "functions", "tests"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path
            .strip_prefix(root)
            .expect("collected below the root")
            .to_str()
            .expect("file names are UTF-8");
        SourceFile::new(name, &fs::read_to_string(path).expect("a file just listed can be read"))
    };
    let mut files: Vec<SourceFile> = paths.iter().map(read).collect();
    mark_test_files(&mut files);
    files
}

/// `#[cfg(test)] mod tests;` makes a whole file, or a folder, test code.
fn mark_test_files(files: &mut [SourceFile]) {
    let declared: Vec<String> = files.iter().flat_map(declared_test_modules).collect();
    for file in files {
        let below =
            |declared: &String| file.path.starts_with(&format!("{declared}/")) || file.path == format!("{declared}.rs");
        file.is_test = declared.iter().any(below);
    }
}

fn declared_test_modules(file: &SourceFile) -> Vec<String> {
    let folder = file
        .path
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .trim_end_matches("/lib");
    let items = file
        .code
        .match_indices("#[cfg(test)]")
        .map(|(at, mark)| file.code[at + mark.len()..].trim_start());
    items
        .filter_map(|item| item.trim_start_matches("pub ").strip_prefix("mod ")?.split_once(';'))
        .filter(|(name, _)| name.bytes().all(is_word))
        .map(|(name, _)| format!("{folder}/{name}"))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the workspace's folders can be listed") {
        let path = entry.expect("the workspace's folders can be listed").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn blank_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment_end(bytes, at);
        if end == at {
            at += 1;
        } else {
            blank(&mut code, at, end);
            at = end;
        }
    }
    String::from_utf8(code).expect("whole characters were replaced by spaces")
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn literal_or_comment_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let begins_word = at == 0 || !is_word(bytes[at - 1]);
    match rest[0] {
        b'/' if rest.starts_with(b"//") => at + find(rest, b"\n").unwrap_or(rest.len()),
        b'/' if rest.starts_with(b"/*") => at + block_comment_length(rest),
        b'"' => at + quoted_length(rest, b'"'),
        b'\'' => at + character_length(rest),
        b'r' | b'b' | b'c' if begins_word => at + prefixed_length(rest),
        _ => at,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// 0 for a lifetime: `'a` is a character only if a quote follows one character later.
fn character_length(rest: &[u8]) -> usize {
    let text = &rest[1..rest.len().min(8)];
    let width = match text.first() {
        Some(b'\\') => return quoted_length(rest, b'\''),
        Some(first) => match first.leading_ones() {
            0 => 1,
            ones => ones as usize,
        },
        None => return 0,
    };
    if text.get(width) == Some(&b'\'') { width + 2 } else { 0 }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `b'…'`, `br#"…"#`, `c"…"`; 0 for everything else, raw identifiers among it.
fn prefixed_length(rest: &[u8]) -> usize {
    let letters = rest
        .iter()
        .take_while(|byte| matches!(byte, b'r' | b'b' | b'c'))
        .count()
        .min(2);
    let hashes = rest[letters..].iter().take_while(|&&byte| byte == b'#').count();
    let open = letters + hashes;
    match rest.get(open) {
        Some(b'"') if rest[..letters].contains(&b'r') => {
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            find(&rest[open + 1..], &close).map_or(rest.len(), |length| open + 1 + length + close.len())
        }
        Some(&quote @ (b'"' | b'\'')) if hashes == 0 => open + quoted_length(&rest[open..], quote),
        _ => 0,
    }
}

fn blank_test_items(code: &str) -> String {
    let mut library = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        blank(&mut library, at, item_end(code, at));
    }
    String::from_utf8(library).expect("whole characters were replaced by spaces")
}

/// Where the item that begins at `at` ends: behind its `;`, or behind the brace that closes its first one.
pub fn item_end(code: &str, at: usize) -> usize {
    let (mut braces, mut others) = (0_i32, 0_i32);
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces <= 0 {
                    return offset + 1;
                }
            }
            b';' if braces == 0 && others == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Offsets at which `word` stands as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        let (before, after) = (at.checked_sub(1).map(|i| bytes[i]), bytes.get(at + word.len()).copied());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether a byte belongs to an identifier.
pub fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn blank(code: &mut [u8], from: usize, to: usize) {
    for byte in &mut code[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    for (text, left) in [
        ("a // b", "a"),
        ("a /* b /* c */ d */ e", "a e"),
        (r#"f("unsafe \" {", x)"#, "f( , x)"),
        (r##"r#"unsafe " {"# + b"{" + br"{" + c"{""##, "+ + +"),
        (
            "let c = '{'; let d = '\\''; let e: &'a str = 'ż'",
            "let c = ; let d = ; let e: &'a str =",
        ),
        ("r#type for b in c", "r#type for b in c"),
    ] {
        let file = SourceFile::new("x.rs", text);
        assert_eq!(
            file.code.split_whitespace().collect::<Vec<_>>().join(" "),
            left,
            "{text}"
        );
        assert_eq!(file.code.len(), text.len());
    }
}

#[test]
fn test_items_are_no_library_code() {
    let file = SourceFile::new(
        "x.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\n#[cfg(test)]\nmod c;\nfn d() {}",
    );
    let left = file.library.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(left, "fn a() {} fn d() {}");
}

#[test]
fn a_file_declared_under_cfg_test_is_no_library_code() {
    let mut files = [
        SourceFile::new("shared/src/secrets/mod.rs", "#[cfg(test)]\npub mod contract;\nmod env;"),
        SourceFile::new("shared/src/secrets/contract.rs", ""),
        SourceFile::new("shared/src/secrets/contract/faults.rs", ""),
        SourceFile::new("shared/src/secrets/env.rs", ""),
    ];
    mark_test_files(&mut files);
    assert_eq!(files.map(|file| file.is_library()), [true, false, false, true]);
}
