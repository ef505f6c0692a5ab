//! Rules of size and shape: length of files and functions, the first line, names of files.
//!
//! It refuses to count blank lines and comments out: a reader scrolls past them too.
//! Neighbours: `source_file` reads and lexes.

use super::source_file::{SourceFile, is_word, item_end, words};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "common", "helpers", "types", "core", "base", "misc"];

/// At most 400 lines above the tests.
pub fn file_is_short(file: &SourceFile) -> Vec<String> {
    let marks = ["#[cfg(test)]\nmod ", "\n#[test]", "\n#[tokio::test"];
    let end = marks
        .iter()
        .filter_map(|mark| file.code.find(mark))
        .min()
        .unwrap_or(file.code.len());
    let lines = file.code[..end].lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines above the tests, at most {FILE_LINES_MAX}: which second decision is in it?",
        file.path
    )]
}

/// At most 70 lines in a function, from `fn` to its closing brace.
pub fn functions_are_short(file: &SourceFile) -> Vec<String> {
    words(&file.code, "fn")
        .filter(|&at| {
            file.code[at + 2..]
                .trim_start()
                .starts_with(|c: char| c.is_ascii() && is_word(c as u8))
        })
        .filter_map(|at| {
            let lines = file.code[at..item_end(&file.code, at)].lines().count();
            let name = file.code[at + 2..]
                .trim_start()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            (lines > FUNCTION_LINES_MAX).then(|| {
                let what = format!(
                    "fn {} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                    name.unwrap_or_default()
                );
                file.finding(at, &what)
            })
        })
        .collect()
}

/// The first line says what the file is.
pub fn first_line_says_what_it_is(file: &SourceFile) -> Vec<String> {
    let says = file
        .text
        .lines()
        .next()
        .is_some_and(|line| line.starts_with("//! ") && line.len() > 8);
    if says {
        Vec::new()
    } else {
        vec![format!("{}:1: the first line is not `//! <what it is>`", file.path)]
    }
}

/// No file, folder or inline module with a name that says nothing.
pub fn name_says_something(file: &SourceFile) -> Vec<String> {
    let mut findings: Vec<String> = file
        .path
        .split('/')
        .filter(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")))
        .map(|part| {
            format!(
                "{}: '{part}' says nothing: name it for the decision it holds",
                file.path
            )
        })
        .collect();
    for at in words(&file.code, "mod") {
        let name = file.code[at + 3..]
            .trim_start()
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next();
        if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
            findings.push(file.finding(
                at,
                &format!("mod {name} says nothing: name it for the decision it holds"),
            ));
        }
    }
    findings
}

#[test]
fn a_file_with_401_lines_is_found_and_one_with_400_and_tests_is_not() {
    let long = SourceFile::new("a.rs", &"const A: u8 = 1;\n".repeat(401));
    assert_eq!(file_is_short(&long).len(), 1);
    let tested = "const A: u8 = 1;\n".repeat(400) + "#[cfg(test)]\nmod tests {\n" + &"fn a() {}\n".repeat(300) + "}\n";
    assert_eq!(file_is_short(&SourceFile::new("a.rs", &tested)), Vec::<String>::new());
}

#[test]
fn a_function_with_71_lines_is_found_by_name_and_line() {
    let body = |lines: usize| {
        format!(
            "//! x\nimpl A {{\n    async fn long(a: [u8; 2]) -> [u8; 2] {{\n{}    }}\n}}\n",
            "        a;\n".repeat(lines)
        )
    };
    assert_eq!(
        functions_are_short(&SourceFile::new("a.rs", &body(68))),
        Vec::<String>::new()
    );
    let found = functions_are_short(&SourceFile::new("a.rs", &body(69)));
    assert_eq!(found, ["a.rs:3: fn long has 71 lines, at most 70"]);
    let pointer = format!(
        "//! x\ntype F = fn(u8) -> u8;\nstruct A {{\n{}}}\n",
        "    a: u8,\n".repeat(90)
    );
    assert_eq!(
        functions_are_short(&SourceFile::new("a.rs", &pointer)),
        Vec::<String>::new()
    );
}

#[test]
fn a_file_without_a_first_line_is_found() {
    for bad in ["", "use std::fmt;\n", "//!\n", "// a comment\n"] {
        assert_eq!(
            first_line_says_what_it_is(&SourceFile::new("a.rs", bad)).len(),
            1,
            "{bad}"
        );
    }
    assert!(first_line_says_what_it_is(&SourceFile::new("a.rs", "//! Dates on the wire.\n")).is_empty());
}

#[test]
fn names_that_say_nothing_are_found() {
    for (path, text) in [
        ("shared/src/utils.rs", ""),
        ("shared/src/common/mod.rs", ""),
        ("a.rs", "mod helpers { }"),
        ("a.rs", "pub mod types;"),
    ] {
        assert_eq!(
            name_says_something(&SourceFile::new(path, text)).len(),
            1,
            "{path} {text}"
        );
    }
    assert!(name_says_something(&SourceFile::new("shared/src/numeric.rs", "mod type_map;")).is_empty());
}
