//! Rules of single words: what the library must not call.
//!
//! It refuses to look at tests: there a failed assumption should stop the test where it stands.
//! Neighbours: `source_file` blanks comments and literals, so that a word in a text is no finding.

use super::source_file::{SourceFile, item_end, words};

/// Files that may hold `unsafe`, each with the measurement and the proof that its own comment has in full.
const UNSAFE_ALLOWED: &[(&str, &str)] = &[];
/// Shorter than this is no sentence that says why it cannot happen.
const INVARIANT_WORDS_MIN: usize = 3;

/// Nothing in the library that panics, prints or is not finished.
pub fn library_does_not_panic_or_print(file: &SourceFile) -> Vec<String> {
    if !file.is_library() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for name in ["todo", "unimplemented", "dbg", "print", "println", "eprint", "eprintln"] {
        let calls = words(&file.library, name).filter(|at| file.library[at + name.len()..].starts_with('!'));
        findings.extend(calls.map(|at| file.finding(at, &format!("{name}! in the library"))));
    }
    for at in words(&file.library, "unwrap").filter(|&at| is_method(&file.library, at)) {
        findings.push(file.finding(
            at,
            "unwrap in the library: `?`, or expect with the invariant as its text",
        ));
    }
    for at in words(&file.library, "expect").filter(|&at| is_method(&file.library, at)) {
        let argument = &file.text[at..item_end(&file.code, at)];
        if !says_why(argument) {
            findings.push(file.finding(
                at,
                "expect without an invariant as its text: say in a sentence why it holds",
            ));
        }
    }
    findings
}

fn is_method(code: &str, at: usize) -> bool {
    code[..at].trim_end().ends_with('.')
}

fn says_why(call: &str) -> bool {
    let argument = call
        .trim_start_matches("expect")
        .trim_start()
        .trim_start_matches('(')
        .trim_start();
    let literal = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
    literal.is_some_and(|text| text.split_whitespace().count() >= INVARIANT_WORDS_MIN)
}

/// The environment is the host's: it is read in functions/ and passed on.
pub fn library_does_not_read_the_environment(file: &SourceFile) -> Vec<String> {
    if !file.is_library() {
        return Vec::new();
    }
    let reads = words(&file.library, "env").filter(|&at| {
        let before = file.library[..at].trim_end();
        let call = ["::var", "::vars", "::args", "::current_dir", "::temp_dir"];
        before.ends_with("std::") || call.iter().any(|call| file.library[at + 3..].starts_with(call))
    });
    reads
        .map(|at| file.finding(at, "std::env in the library: the host reads it and passes the value"))
        .collect()
}

/// `unsafe` stands only in files of the list.
pub fn nothing_is_unsafe(file: &SourceFile) -> Vec<String> {
    if UNSAFE_ALLOWED.iter().any(|(path, _)| *path == file.path) {
        return Vec::new();
    }
    words(&file.code, "unsafe")
        .map(|at| file.finding(at, "unsafe outside the allow-list of tests/tidy"))
        .collect()
}

#[test]
fn panics_and_prints_in_the_library_are_found_but_not_in_tests_and_texts() {
    let check = |path: &str, text: &str| library_does_not_panic_or_print(&SourceFile::new(path, text)).len();
    for bad in [
        "fn a() { b.unwrap() }",
        "fn a() { b\n    .unwrap() }",
        "fn a() { b.expect(\"b\") }",
        "fn a() { b.expect(TEXT) }",
        "fn a() { todo!() }",
        "fn a() { dbg!(1); }",
        "fn a() { println!(\"x\"); }",
        "fn a() { eprintln!(\"x\"); }",
    ] {
        assert_eq!(check("shared/src/a.rs", bad), 1, "{bad}");
        assert_eq!(check("tests/tests/a.rs", bad), 0, "{bad}");
        assert_eq!(
            check("shared/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {bad} }}")),
            0,
            "{bad}"
        );
    }
    for good in [
        "fn a() { b.expect(\"a date of the calendar\") }",
        "// b.unwrap()",
        "fn a() { \"dbg!(1)\"; b.unwrap_or(1) }",
    ] {
        assert_eq!(check("shared/src/a.rs", good), 0, "{good}");
    }
}

#[test]
fn the_environment_is_found_in_the_library_only() {
    let check = |path: &str, text: &str| library_does_not_read_the_environment(&SourceFile::new(path, text)).len();
    for bad in [
        "use std::env;",
        "fn a() { std::env::var(\"A\"); }",
        "fn a() { env::var(\"A\"); }",
    ] {
        assert_eq!(check("shared/src/a.rs", bad), 1, "{bad}");
        assert_eq!(check("functions/local/src/main.rs", bad), 0, "{bad}");
    }
    assert_eq!(
        check(
            "shared/src/secrets/mod.rs",
            "pub mod env; use env::EnvSecrets; const A: &str = env!(\"X\");"
        ),
        0
    );
}

#[test]
fn unsafe_is_found_anywhere() {
    let check = |text: &str| nothing_is_unsafe(&SourceFile::new("functions/local/src/a.rs", text)).len();
    assert_eq!(check("fn a() { unsafe { b() } }"), 1);
    assert_eq!(check("#[cfg(test)]\nmod tests { unsafe fn a() {} }"), 1);
    assert_eq!(
        check("// unsafe\n#![deny(unsafe_code)]\nconst A: &str = \"unsafe\";"),
        0
    );
}
