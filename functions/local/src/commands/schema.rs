//! `lakeward schema`: for editors that complete and check TOML by a JSON Schema.

use crate::failure::Exit;
use crate::print;

pub fn schema() -> Exit {
    print::json(&lakeward::config::json_schema());
    Exit::Done
}
