//! What the run protocol needs of a loader (`load/mod.rs`): one named test a promise and destination.
//!
//! `destinations` says where to load to, `story` is a job there, the other files are the promises. The model warehouse
//! of the simulation is held to those that it models, so that what the simulation proves is proved of something alike.
//! What becomes of a statement that is still under way is told by `warehouse_traces` and the simulation.

#[path = "../delta_support/mod.rs"]
mod delta_support;
mod destinations;
mod story;

mod claims;
mod cleaning;
mod description;
mod keyed_modes;
mod modes;
mod repeating;
mod withdrawal;

/// In brackets stands who has what a promise is about.
macro_rules! contract {
    ($($promises:ident $who:tt { $($promise:ident),* $(,)? })*) => {
        $($(mod $promise {
            contract!(@each $promises $promise $who);
        })*)*
    };
    (@each $promises:ident $promise:ident [$($who:ident)*]) => {
        $(contract!(@$who $promises $promise);)*
    };
    (@delta $promises:ident $promise:ident) => {
        use crate::destinations::DeltaLake;

        contract!(@one $promises $promise, delta_in_a_folder, DeltaLake::folder());
        contract!(@one $promises $promise, delta_on_azurite, DeltaLake::azurite().await,
            ignore = "needs LAKEWARD_TEST_AZURITE_URL: make test");
        contract!(@one $promises $promise, delta_on_s3, DeltaLake::versitygw().await,
            ignore = "needs LAKEWARD_TEST_S3_URL: make test");
    };
    (@databricks $promises:ident $promise:ident) => {
        contract!(@one $promises $promise, databricks, crate::destinations::Workspace::double().await,
            ignore = "needs LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test");
    };
    (@files $promises:ident $promise:ident) => {
        contract!(@one $promises $promise, files, crate::destinations::FilesFolder::folder());
    };
    (@model $promises:ident $promise:ident) => {
        contract!(@one $promises $promise, model, crate::destinations::Model::warehouse());
    };
    (@one $promises:ident $promise:ident, $name:ident, $place:expr $(, ignore = $reason:literal)?) => {
        #[tokio::test(flavor = "multi_thread")]
        $(#[ignore = $reason])?
        async fn $name() {
            crate::$promises::$promise(&$place).await;
        }
    };
}

contract! {
    claims [delta databricks files model] {
        prepare_puts_down_which_life_feeds_the_target,
        another_life_is_refused_until_it_takes_over,
        a_run_that_continues_refuses_a_target_that_is_gone,
        a_run_that_continues_refuses_a_target_that_forgot_its_job,
        a_job_whose_rows_another_one_replaced_is_refused,
    }
    claims [files] {
        a_mode_that_is_refused_leaves_no_target,
    }
    cleaning [delta databricks files] {
        cleaning_takes_what_ended_runs_left_and_nothing_else,
    }
    cleaning [delta databricks files model] {
        cleaning_leaves_what_is_young,
    }
    description [delta databricks files model] {
        nothing_is_there_before_the_first_prepare,
        a_statement_that_nobody_sent_is_not_done,
    }
    description [delta databricks files] {
        a_target_has_the_columns_of_its_plan,
        a_new_column_is_added_and_rows_stay,
    }
    description [delta databricks] {
        the_version_grows_with_every_load,
    }
    modes [delta databricks files model] {
        an_append_adds,
        a_replace_leaves_what_was_read,
        every_row_carries_the_tag_of_its_run,
        a_run_without_files_is_a_run,
    }
    modes [delta databricks model] {
        a_range_is_replaced_and_the_rest_stays,
    }
    keyed_modes [delta databricks model] {
        a_merge_changes_and_adds_by_key,
        a_merge_never_goes_back_to_an_earlier_run,
        jobs_that_merge_into_one_target_change_each_others_rows,
        insert_only_adds_by_key,
        scd2_ends_a_version_and_begins_another,
        delete_sync_takes_away_what_was_there_and_is_gone,
        delete_sync_takes_away_what_a_merge_has_written_again,
    }
    keyed_modes [delta databricks] {
        a_full_reload_of_a_keyed_job_leaves_the_newest_of_a_keys_rows,
        a_merge_takes_the_newest_of_a_keys_rows,
        a_null_in_a_key_is_refused_before_anything_is_loaded,
        a_row_that_comes_back_as_it_was_is_not_taken_for_gone,
        a_target_with_history_takes_no_other_keyed_mode,
        a_version_begins_when_the_one_before_has_ended,
        delete_sync_leaves_what_another_job_brought_since,
        delete_sync_marks_and_unmarks,
        scd2_takes_rows_of_other_modes_for_current,
    }
    repeating [delta databricks files model] {
        a_step_that_is_sent_twice_counts_once,
        sends_at_the_same_moment_count_once,
        a_send_after_the_end_of_its_run_changes_nothing,
        preparing_again_changes_nothing,
    }
    withdrawal [delta databricks files model] {
        a_run_that_was_shut_out_takes_no_effect,
        a_run_that_was_shut_out_before_its_target_was_made_takes_no_effect,
        what_an_appended_run_brought_is_taken_out_again,
        shutting_out_an_old_run_leaves_later_ones_alone,
        rows_are_counted_by_run,
        dropping_and_fencing_hurt_nobody,
    }
}
