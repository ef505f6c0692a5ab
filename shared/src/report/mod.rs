//! What people and machines are told while a job runs.
