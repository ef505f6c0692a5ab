//! The load-bearing rules, each with a switch that only tests can turn.

/// A rule whose absence the model checker punishes with lost or doubled rows (`docs/protocol.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Rule 3: a staging table's name is used by one CREATE only.
    StagingNonce,
    /// Rule 6: each send is counted by a compare-and-set of its own.
    CountedIntents,
    /// Rule 9: the staging table goes before the watermark moves.
    DropBeforeWatermark,
    /// Rule 9: a set operation that was sent more than once is fenced before the watermark moves.
    FenceAtCommit,
    /// Rule 11: `abandoning` is written before anything is taken away.
    MarkFirst,
    /// Rules 10, 11: an abandoned run is shut out of its target.
    ShutOut,
    /// Rule 11: an abandoned append run's rows are taken out before the number is raised.
    RetractBeforeRaise,
    /// Rule 5: finish looks at the watermark after it has read the run.
    LookAtWatermark,
    /// Rule 12: a tick takes up runs that are marked but not raised.
    SweepMarked,
    /// Rule 1: starting again from a position raises the number.
    NumbersNeverGoBack,
}

/// Which rules hold. In production all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    off: Option<Rule>,
}

impl Rules {
    /// All of them.
    pub const fn all() -> Self {
        Self { off: None }
    }

    /// All but one, to see a schedule fail without it.
    #[cfg(feature = "rule-switches")]
    pub const fn without(rule: Rule) -> Self {
        Self { off: Some(rule) }
    }

    /// Whether a rule holds.
    pub fn hold(self, rule: Rule) -> bool {
        self.off != Some(rule)
    }
}
