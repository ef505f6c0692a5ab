//! The loader end to end into the double of a workspace, with Spark behind it. One binary: who waits for a statement lets
//! another story go on.
//!
//! `end_to_end` and `crash` go there as well, beside other destinations; the double itself is tested in `double/`.

mod columns;
mod costs;
mod entra;
mod faults;
mod files;
mod identity;
mod losses;
mod mutants;
mod other_modes;
mod refusals;
mod schedules;
mod signatures;
mod staging;
mod story;
mod switches;
mod traces;
