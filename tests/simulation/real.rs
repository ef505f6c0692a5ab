//! stub
use std::sync::Arc;
use lakeward::load::Loader;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use crate::world::{Row, Sim};
pub fn delta(_s: &Sim, _r: &Arc<InMemory>, _o: &Arc<dyn ObjectStore>) -> Arc<dyn Loader> { unimplemented!() }
pub fn delta_rows(_raw: &InMemory) -> Result<Vec<Row>, String> { unimplemented!() }
