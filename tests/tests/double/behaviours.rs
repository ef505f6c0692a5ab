//! The 46 behaviours of the service that a loader may get wrong, each met by two: a careless client, which falls or is refused by the
//! double, and our loader, which stands.
//!
//! Where ours never asks for what would hurt it, its test shows what it asks for instead. Each of them has a mutant as well:
//! our own loader without the precaution, which falls (`workspace/mutants/`). It refuses a name that no
//! test bears any more: who renames or deletes one puts another in its place.

use std::fs;
use std::path::Path;

const ROOT: &str = "..";

/// number, what the service does, the careless side, ours
const BEHAVIOURS: [(u8, &str, &str, &str); 46] = [
    (
        1,
        "No bearer: 401. A wrong one: 403. One that ends mid-run: 401, once.",
        "b01_without_a_token_401_with_a_wrong_one_403_with_an_expired_one_401_once",
        "tests/tests/workspace/faults.rs::\"it is refused for a while, and was not executed\"",
    ),
    (
        2,
        "A token endpoint takes one way of asking, and tokens last an hour.",
        "b02_token_endpoints_take_one_way_of_asking",
        "tests/tests/workspace/identity.rs::every_way_into_a_workspace_opens_it_and_a_wrong_secret_is_told",
    ),
    (
        3,
        "An error of SQL is HTTP 200 with FAILED inside.",
        "b03_every_error_of_sql_is_http_200",
        "tests/tests/workspace/refusals.rs::a_run_that_was_refused_goes_on_when_it_may",
    ),
    (
        4,
        "PENDING, RUNNING, then the end; no result before it, none of DDL.",
        "b04_pending_then_running_then_the_end_and_nothing_of_the_result_before",
        "tests/tests/workspace/faults.rs::\"a statement is long pending\"",
    ),
    (
        5,
        "wait_timeout is 0s or 5s to 50s; with 0s every answer is PENDING.",
        "b05_wait_timeout_is_0s_or_5s_to_50s",
        "tests/tests/end_to_end.rs::every_mode_into_a_workspace",
    ),
    (
        6,
        "CANCEL at the timeout undoes, or comes too late. Ours says CONTINUE.",
        "b06_cancel_at_the_timeout_commits_nothing_or_has_committed_just_before",
        "tests/tests/workspace/faults.rs::\"a statement is long pending\"",
    ),
    (
        7,
        "It commits, and the answer is lost.",
        "b07_a_commit_whose_answer_is_lost_doubles_rows_only_for_a_loader_that_forces",
        "tests/tests/workspace/faults.rs::\"the answer is lost after the commit\"",
    ),
    (
        8,
        "429 and 503 say when to come again, or nothing; some have run.",
        "b08_who_comes_before_retry_after_is_over_is_put_down",
        "tests/tests/workspace/faults.rs::\"it is refused for a while, and was not executed\"",
    ),
    (
        9,
        "A statement that nobody asks after for a quarter of an hour dies.",
        "b09_a_statement_that_nobody_polls_dies",
        "tests/tests/workspace/traces.rs::a_copy_that_nobody_asked_after_in_time_is_sent_again",
    ),
    (
        10,
        "A result is gone after an hour; that is not zero rows.",
        "b10_b11_a_result_is_gone_after_an_hour_and_closed_is_not_zero_rows",
        "tests/tests/workspace/traces.rs::a_copy_that_nobody_asked_after_in_time_is_sent_again",
    ),
    (
        11,
        "CLOSED with its result is a success, without it nobody knows.",
        "b11_closed_with_manifest_and_result_is_a_success",
        "tests/tests/workspace/faults.rs::\"a good end is told as closed\"",
    ),
    (
        12,
        "A cancel is answered with 200 and may change nothing.",
        "b12_a_cancel_is_answered_with_200_and_may_change_nothing",
        "tests/tests/workspace/faults.rs::a_load_survives_cancels_that_fail",
    ),
    (
        13,
        "INLINE is JSON and small; links take no token. Ours asks inline JSON.",
        "b13_inline_takes_json_only_and_a_large_inline_result_fails",
        "tests/tests/end_to_end.rs::every_mode_into_a_workspace",
    ),
    (
        14,
        "A result comes in chunks, each behind the one before.",
        "b14_a_loader_that_reads_the_first_chunk_only_reads_too_few_rows",
        "tests/tests/workspace/faults.rs::\"results come row by row, and rows fail\"",
    ),
    (
        15,
        "Every cell is text or NULL, and a count may be beyond 2^53.",
        "b15_cells_are_text_or_null_and_type_names_may_be_new",
        "shared/src/load/databricks/client/tests.rs::\
         a_statement_is_asked_after_until_it_has_ended_and_all_its_chunks_are_read",
    ),
    (
        16,
        "The SQLSTATE stands beside the error, or in a message of many lines.",
        "b16_the_sqlstate_is_beside_the_error_or_only_in_the_message",
        "tests/tests/workspace/faults.rs::\"the state is in the message alone\"",
    ),
    (
        17,
        "More than 16 MiB are refused, and two statements in one text.",
        "b17_too_long_is_400_two_statements_are_a_syntax_error",
        "shared/src/load/databricks/render/tests.rs::the_widest_table_and_the_most_files_fit_into_a_statement",
    ),
    (
        18,
        "Nothing survives a call: no USE, no SET, no temporary table.",
        "b18_nothing_survives_a_statement_and_spark_settings_are_not_available",
        "tests/tests/end_to_end.rs::every_mode_into_a_workspace",
    ),
    (
        19,
        "A marker needs its value, a value its marker; COPY INTO takes none.",
        "b19_no_markers_where_copy_into_wants_literals",
        "tests/tests/workspace/faults.rs::\"the answer is lost after the commit\"",
    ),
    (
        20,
        "A warehouse is stopped, deleted, full, or not ours to use.",
        "b20_a_stopped_warehouse_starts_and_a_deleted_one_is_no_endpoint",
        "tests/tests/workspace/refusals.rs::check_names_the_grant_that_is_missing",
    ),
    (
        21,
        "A path that was loaded is skipped: a success of 0 rows.",
        "b21_the_same_path_is_skipped_even_with_other_content",
        "tests/tests/workspace/faults.rs::\"a bad gateway, executed all the same\"",
    ),
    (
        22,
        "Loaded paths outlive TRUNCATE, not DROP. Ours never replaces a table.",
        "b22_create_or_replace_keeps_the_ledger_or_does_not",
        "tests/tests/workspace/losses.rs::a_replaced_table_is_there_all_the_time_and_keeps_its_history",
    ),
    (
        23,
        "force loads again. Ours never says it.",
        "b23_force_loads_again_and_appends",
        "shared/src/load/databricks/render/tests.rs::append_copies_into_the_target_with_the_runs_tag",
    ),
    (
        24,
        "FILES takes 1000 names and no PATTERN beside it.",
        "b24_files_has_at_most_a_thousand_names_and_no_pattern_beside_it",
        "tests/tests/workspace/staging.rs::more_files_than_one_statement_takes_are_loaded_by_several",
    ),
    (
        25,
        "A missing file is passed over unless the statement forbids it.",
        "b25_a_missing_file_is_skipped_by_default_and_fails_if_the_statement_says_so",
        "tests/tests/workspace/mutants/copies.rs::\"passes over files that are gone, and counts no rows\"",
    ),
    (
        26,
        "Names that begin with _ or . are not seen, nor folders below.",
        "b26_hidden_files_and_folders_below_are_not_seen",
        "tests/tests/workspace/faults.rs::a_copy_survives_whatever_the_service_does",
    ),
    (
        27,
        "A broken file fails the load, or is skipped and counted.",
        "b27_broken_files_fail_or_are_counted_and_come_again",
        "tests/tests/workspace/files.rs::parts_that_are_lost_or_broken_before_a_merge_are_read_again",
    ),
    (
        28,
        "A file's type must be the column's own; nothing widens.",
        "b28_a_type_that_is_not_the_tables_own_is_refused_with_and_without_merge_schema",
        "tests/tests/workspace/columns.rs::wider_columns_of_a_workspaces_table_are_kept",
    ),
    (
        29,
        "A column too many is refused; one too few is NULL where it may be.",
        "b29_extra_columns_are_refused_or_added_and_missing_ones_are_null",
        "tests/tests/workspace/columns.rs::columns_come_go_and_widen",
    ),
    (
        30,
        "A number that no annotation calls a time stays a number.",
        "b30_types_are_what_spark_infers_and_some_are_illegal",
        "tests/tests/workspace/columns.rs::every_type_old_date_and_odd_name",
    ),
    (
        31,
        "Old dates need a rebase mode, and only CORRECTED is exact.",
        "spark_b31_old_dates_need_a_rebase_mode_and_only_corrected_is_exact",
        "tests/tests/workspace/columns.rs::every_type_old_date_and_odd_name",
    ),
    (
        32,
        "A value that cannot be cast fails it all; no file counts as loaded.",
        "spark_b32_a_cast_that_fails_writes_nothing_and_loads_nothing",
        "tests/tests/workspace/losses.rs::rows_of_a_load_that_failed_arrive_with_the_next_one",
    ),
    (
        33,
        "Of two COPY INTO over one file one commits.",
        "b33_of_two_copies_over_one_file_one_commits",
        "tests/tests/workspace/faults.rs::\"the second of two COPYs is refused at once\"",
    ),
    (
        34,
        "Without a location, its grant or a whole credential nothing is read.",
        "b34_without_a_location_and_without_its_privilege_nothing_is_read",
        "tests/tests/workspace/staging.rs::a_storage_credential_that_is_named_opens_what_was_staged",
    ),
    (
        35,
        "COPY INTO wants a Delta table that is there.",
        "b35_the_target_is_there_and_a_delta_table",
        "tests/tests/workspace/traces.rs::a_target_that_is_dropped_under_its_first_load_is_made_again",
    ),
    (
        36,
        "Names are lower case, compared without case, and not all are taken.",
        "b36_names_are_lower_case_compared_without_case_and_judged",
        "tests/tests/workspace/columns.rs::every_type_old_date_and_odd_name",
    ),
    (
        37,
        "A doubled quote is no escape, a backslash is one.",
        "b37_a_loader_that_doubles_quotes_writes_another_path",
        "tests/tests/workspace/columns.rs::every_type_old_date_and_odd_name",
    ),
    (
        38,
        "Some columns need a feature first; any ALTER fails open writes.",
        "spark_b38_features_are_switched_on_by_hand_and_types_widen_only_along_their_line",
        "tests/tests/workspace/columns.rs::columns_come_go_and_widen",
    ),
    (
        39,
        "MERGE refuses two rows for a key, and may lose to another one.",
        "spark_b39_merge_counts_and_refuses_two_rows_for_one_key",
        "tests/tests/workspace/files.rs::of_several_rows_for_a_key_the_newest_is_merged",
    ),
    (
        40,
        "REPLACE WHERE takes no row outside, and nothing replaces by nothing.",
        "spark_b40_replace_where_replaces_only_what_it_says",
        "tests/tests/end_to_end.rs::every_mode_into_a_workspace",
    ),
    (
        41,
        "A transaction is all or nothing, or is switched off: then ours does without.",
        "b41_what_may_not_stand_in_a_transaction_is_refused",
        "tests/tests/workspace/faults.rs::a_ledgered_append_survives_what_happens_to_a_transaction",
    ),
    (
        42,
        "NOT NULL is enforced, a primary key never.",
        "spark_b36_b42_a_target_as_the_loader_makes_it_and_a_key_that_nothing_enforces",
        "tests/tests/workspace/refusals.rs::a_key_that_may_hold_null_now_lets_go_of_the_targets_key",
    ),
    (
        43,
        "A statement outlives its client and commits when another has begun.",
        "b43_a_statement_outlives_its_client_and_commits_when_another_has_begun",
        "tests/tests/workspace/traces.rs::a_copy_that_commits_late_doubles_nothing",
    ),
    (
        44,
        "The query history comes late, or never. Ours never asks it.",
        "b44_the_history_shows_tags_after_its_lag_and_no_sooner",
        "tests/tests/workspace/faults.rs::a_copy_survives_whatever_the_service_does",
    ),
    (
        45,
        "Who deletes staged files before the commit takes them from it.",
        "b45_who_deletes_a_staged_file_before_the_commit_is_put_down",
        "tests/tests/workspace/staging.rs::cleaning_beside_a_load_leaves_it_its_files",
    ),
    (
        46,
        "Unknown fields are everywhere, and zeros are left out.",
        "b46_unknown_fields_are_everywhere_and_zeros_are_left_out",
        "tests/tests/workspace/faults.rs::\"no field is left out, and none is new\"",
    ),
];

/// All tests of a folder but this one.
fn texts_of(folder: &str) -> String {
    let folder = Path::new(ROOT).join(folder);
    let files = fs::read_dir(folder).expect("the folder of this test");
    let files = files.map(|entry| entry.expect("a file of this folder").path());
    let others = files.filter(|path| path.extension().is_some_and(|e| e == "rs") && !path.ends_with("behaviours.rs"));
    others.map(|path| fs::read_to_string(path).expect("text")).collect()
}

/// `path::function`, or `path::"case"`.
fn is_there(place: &str) -> bool {
    let Some((path, name)) = place.split_once("::") else {
        return false;
    };
    let text = fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default();
    match name.starts_with('"') {
        true => text.contains(name),
        false => text.contains(&format!("fn {name}(")),
    }
}

#[test]
fn every_behaviour_has_a_client_that_falls_and_ours_that_stands() {
    let numbers: Vec<u8> = BEHAVIOURS.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=46).collect::<Vec<u8>>());
    let careless_side = texts_of("tests/tests/double");
    let mutants = texts_of("tests/tests/workspace/mutants");
    let mut missing = Vec::new();
    for (number, what, careless, ours) in BEHAVIOURS {
        if !careless_side.contains(&format!("fn {careless}(")) {
            missing.push(format!("{number} ({what}): no client falls: '{careless}'"));
        }
        if !mutants.contains(&format!("behaviour: {number},")) {
            missing.push(format!("{number} ({what}): it has no mutant"));
        }
        if !is_there(ours) {
            missing.push(format!("{number} ({what}): ours does not stand: '{ours}'"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
