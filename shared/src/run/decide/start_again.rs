//! Whether a job may start again at another position (rule 1): it takes the next number first, which stays without a run.

use crate::model::run::{LoadRecord, LoadStatus};

/// Why there is a number without a run.
pub const STARTED_AGAIN: &str = "the job started again at another position";

/// The load of a run that was given up before it was planned: whoever plans it now, too, finds it.
pub fn given_up() -> LoadRecord {
    LoadRecord {
        status: LoadStatus::Abandoned,
        reason: Some(STARTED_AGAIN.to_owned()),
        ..LoadRecord::default()
    }
}

/// Whether what stands under the number is somebody's run: that one may have sent what is loaded later.
pub fn is_taken(found: &LoadRecord) -> bool {
    // Else it is of somebody who started again and was killed; no run that was planned is like it.
    *found != given_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_skipped_is_not_taken() {
        assert!(!is_taken(&given_up()));
        assert!(is_taken(&LoadRecord::default()));
        let abandoned = LoadRecord {
            reason: Some("a user said so".into()),
            ..given_up()
        };
        assert!(is_taken(&abandoned));
    }
}
