//! What the run protocol needs of a source (`source/mod.rs`): one named test a promise and source.
//!
//! `origins` are the sources, each with one table that tests may change; the other files are the promises. The model
//! source of the simulation is held to those that it models. What only PostgreSQL has is in `postgres_*`.

mod origins;

mod plans;
mod reads;

macro_rules! contract {
    ($($promises:ident { $($promise:ident),* $(,)? })*) => {
        $($(mod $promise {
            use crate::origins::{ModelTable, PostgresTable};

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
            async fn postgres() {
                crate::$promises::$promise(&PostgresTable::new(stringify!($promise)).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn model() {
                crate::$promises::$promise(&ModelTable::new()).await;
            }
        })*)*
    };
}

contract! {
    plans {
        a_plan_tells_columns_and_key,
        windows_touch_and_hold_every_change_once,
        what_is_still_open_is_in_a_later_window,
        a_range_is_read_again_and_no_more,
        a_full_reload_begins_at_the_beginning,
        an_empty_table_is_planned_and_read,
        what_is_not_there_is_the_users_to_mend,
    }
    reads {
        slices_are_disjoint_and_together_complete,
        a_slice_that_is_read_again_gives_its_rows_again,
        a_rest_goes_on_behind_its_key,
        a_read_in_order_can_be_stopped_between_keys,
        batches_are_as_small_as_was_asked_for,
        a_read_of_what_changed_since_its_plan_is_lost,
    }
}
