//! The load-bearing rules, each with a switch that only tests can turn.

/// A rule whose absence the model checker punishes with lost or doubled rows (`docs/protocol.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Rule 1: the plan of a run is saved once; who comes second works on the first one's. Asked by the tests' store.
    PlanOnce,
    /// Rule 1: starting again from a position raises the number.
    NumbersNeverGoBack,
    /// Rule 3: a staging table's name is used by one CREATE only.
    StagingNonce,
    /// Rule 4: a slice is sealed once; who comes second has written files that nobody names. Asked by the tests' store.
    SealOnce,
    /// Rule 6: each send is counted by a compare-and-set of its own.
    CountedIntents,
    /// Rule 7: a set operation whose fate is unknown is shut out before it is sent again.
    OneLiveSend,
    /// Rule 7: what is heard of an older send, but that it is done, says nothing of the one that somebody else has sent
    /// since.
    HearTheNewest,
    /// Rule 9: the staging table goes before the watermark moves.
    DropBeforeWatermark,
    /// Rule 9: a set operation that was sent more than once is fenced before the watermark moves.
    FenceAtCommit,
    /// Rule 11: `abandoning` is written before anything is taken away.
    MarkFirst,
    /// Rules 10, 11: an abandoned run is shut out of its target.
    ShutOut,
    /// Rule 10: shutting out takes the run's source away, files and staging table, before it fences. Asked by
    /// the tests' loader.
    TakeSourceAway,
    /// Rule 11: an abandoned append run's rows are taken out before the number is raised.
    RetractBeforeRaise,
    /// Rule 5: finish looks at the watermark after it has read the run.
    LookAtWatermark,
    /// Rule 12: a tick takes up runs that are marked but not raised.
    SweepMarked,
}

/// Which rules hold. In production all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    off: [Option<Rule>; 2],
}

impl Rules {
    /// All of them.
    pub const fn all() -> Self {
        Self { off: [None, None] }
    }

    /// All but one, to see a schedule fail without it.
    #[cfg(feature = "rule-switches")]
    pub const fn without(rule: Rule) -> Self {
        Self {
            off: [Some(rule), None],
        }
    }

    /// All but two, each of which is enough where the other one is missing.
    #[cfg(feature = "rule-switches")]
    pub const fn without_both(one: Rule, other: Rule) -> Self {
        Self {
            off: [Some(one), Some(other)],
        }
    }

    /// Whether a rule holds.
    pub fn hold(self, rule: Rule) -> bool {
        !self.off.contains(&Some(rule))
    }
}
