//! The double of Databricks enforces what it says: one test, or more, for each of the 46 behaviours in `behaviours`.
//!
//! `client` speaks raw HTTP, so that nothing of the loader's own client stands between; `staged` writes Parquet. Tests named `spark_…` need
//! the side-car.

mod access;
mod ambiguity;
mod atomic;
mod behaviours;
mod client;
mod copy_files;
mod copy_ledger;
mod copy_types;
mod late_commits;
mod lifecycle;
mod results;
mod spark_copy;
mod spark_loads;
mod spark_statements;
mod spark_tables;
mod staged;
mod text;
mod volumes;
