//! Staged files in a store in memory, behind an external location called `stage`.
//!
//! It refuses to write anything but what a test says: odd Parquet is the point of many.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use lakeward_tests::double::Double;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;

use super::client::Client;

/// Where the statements say the files are.
pub const STAGE: &str = "abfss://lake@account.dfs.core.windows.net/stage";

/// The table that `light` makes.
pub const TABLE: &str = "main.raw.t";

/// A double without Spark, `run/a.parquet` with these rows, and an empty table that takes them; `properties` end its statement.
pub async fn light(rows: &[(i64, &str)], properties: &str) -> (Double, Stage, Client) {
    let double = Double::light().await;
    let stage = Stage::of(&double);
    stage.put_rows("run/a.parquet", rows).await;
    let client = Client::of(&double);
    client
        .good(&format!("CREATE TABLE {TABLE} (id BIGINT, name STRING) {properties}"))
        .await;
    (double, stage, client)
}

/// A store that the double reads.
pub struct Stage {
    pub store: Arc<dyn ObjectStore>,
}

impl Stage {
    pub fn of(double: &Double) -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        double.add_location("stage", STAGE, Arc::clone(&store), "files");
        Self { store }
    }

    pub async fn put(&self, name: &str, bytes: Vec<u8>) {
        let path = Path::from(format!("files/{name}"));
        self.store
            .put(&path, bytes.into())
            .await
            .expect("memory takes everything");
    }

    pub async fn remove(&self, name: &str) {
        let path = Path::from(format!("files/{name}"));
        self.store.delete(&path).await.expect("the file is there");
    }

    /// `id BIGINT, name STRING`
    pub async fn put_rows(&self, name: &str, rows: &[(i64, &str)]) {
        self.put(name, rows_file(rows)).await;
    }
}

pub fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.expect("columns of one length");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("memory takes everything");
    writer.close().expect("memory takes everything");
    bytes
}

pub fn rows_file(rows: &[(i64, &str)]) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, name)| *name)));
    parquet(vec![("id", ids), ("name", names)])
}

pub fn int32_file(values: &[i32]) -> Vec<u8> {
    parquet(vec![("id", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

/// As the loader renders it, with these files.
pub fn copy(table: &str, folder: &str, files: &[&str]) -> String {
    copy_with(
        table,
        folder,
        files,
        "'ignoreMissingFiles' = 'false', 'datetimeRebaseMode' = 'CORRECTED'",
        "'mergeSchema' = 'false'",
    )
}

pub fn copy_with(table: &str, folder: &str, files: &[&str], format: &str, options: &str) -> String {
    let names: Vec<String> = files.iter().map(|name| format!("'{name}'")).collect();
    let list = if names.is_empty() {
        String::new()
    } else {
        format!(" FILES = ({})", names.join(", "))
    };
    let format = if format.is_empty() {
        String::new()
    } else {
        format!(" FORMAT_OPTIONS ({format})")
    };
    let options = if options.is_empty() {
        String::new()
    } else {
        format!(" COPY_OPTIONS ({options})")
    };
    format!("COPY INTO {table} FROM '{STAGE}/{folder}/' FILEFORMAT = PARQUET{list}{format}{options}")
}
