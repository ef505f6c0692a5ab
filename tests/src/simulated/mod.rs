//! Models of a source and of a warehouse, for the simulation of the run protocol, and for the contract suites, which
//! hold them to the promises of the real ones.
//!
//! Every IO of theirs passes `gate`, where a scheduler may stop it, and throws the dice of `world`, which say that all
//! goes well until a test makes them say something else.

pub mod gate;
pub mod read_back;
pub mod source;
pub mod table;
pub mod warehouse;
pub mod warehouse_loader;
pub mod world;
