//! Checks of the house style: what a compiler does not look at and a reviewer forgets.
//!
//! One test per rule over every Rust file of the workspace; beside each rule a test that shows it fail.

mod imports;
mod shape;
mod source_file;
mod words;

use source_file::{SourceFile, workspace_files};

fn check(rule: fn(&SourceFile) -> Vec<String>) {
    let files = workspace_files();
    assert!(files.len() > 10, "the workspace's files were not found");
    let findings: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

#[test]
fn files_are_short() {
    check(shape::file_is_short);
}

#[test]
fn functions_are_short() {
    check(shape::functions_are_short);
}

#[test]
fn first_lines_say_what_a_file_is() {
    check(shape::first_line_says_what_it_is);
}

#[test]
fn names_say_something() {
    check(shape::name_says_something);
}

#[test]
fn imports_go_left() {
    check(imports::imports_go_left);
}

#[test]
fn adapters_of_one_trait_are_strangers() {
    check(imports::adapters_are_strangers);
}

#[test]
fn steps_of_run_do_not_import_each_other() {
    check(imports::steps_are_strangers);
}

#[test]
fn the_library_does_not_panic_or_print() {
    check(words::library_does_not_panic_or_print);
}

#[test]
fn the_library_does_not_read_the_environment() {
    check(words::library_does_not_read_the_environment);
}

#[test]
fn nothing_is_unsafe() {
    check(words::nothing_is_unsafe);
}
