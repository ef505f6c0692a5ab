//! Tables of which another writer has made more than we write: loaded into rightly or refused, never read past.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;

const MODES: [WriteMode; 3] = [WriteMode::Append, WriteMode::Merge, WriteMode::Replace];

/// A table with rows 1 and 2 in one file.
async fn loaded() -> World {
    let world = World::new();
    let first = [rows(&[(1, "a"), (2, "b")])];
    world
        .load(&run("orders", 1), &plan(WriteMode::Merge), &first)
        .await
        .unwrap();
    world
}

async fn version(world: &World) -> u64 {
    world.view(&plan(WriteMode::Merge)).await.version()
}

fn commit_path(world: &World, version: u64) -> Path {
    let table = world.loader.table(&plan(WriteMode::Merge).target).unwrap();
    table.place.log().join(format!("{version:020}.json"))
}

/// Writes the next commit as another writer would.
async fn commit_by_hand(world: &World, actions: &[Value]) {
    let next = version(world).await + 1;
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    let path = commit_path(world, next);
    world.store.put(&path, lines.join("\n").into()).await.unwrap();
    assert_eq!(version(world).await, next, "the log takes it");
}

/// The protocol action with one more feature in these lists.
fn protocol_with(view: &View, feature: &str, lists: &[&str]) -> Value {
    let mut action = view.protocol_action().unwrap();
    assert_eq!(action["protocol"]["minWriterVersion"], 7, "{action}");
    for list in lists {
        match action["protocol"][*list].as_array_mut() {
            Some(features) => features.push(feature.into()),
            None => action["protocol"][*list] = json!([feature]),
        }
    }
    action
}

const READERS_AND_WRITERS: &[&str] = &["readerFeatures", "writerFeatures"];

async fn each_mode_is_refused(world: &World, texts: &[&str]) {
    for mode in MODES {
        let before = version(world).await;
        let rows = [rows(&[(2, "B"), (3, "c")])];
        let error = world.load(&run("orders", 2), &plan(mode), &rows).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{mode:?}: {error:?}");
        for text in texts {
            assert!(error.chain().contains(text), "{mode:?}: {}", error.chain());
        }
        assert_eq!(version(world).await, before, "{mode:?} writes nothing");
    }
}

#[tokio::test]
async fn a_partitioned_table_is_refused() {
    let world = loaded().await;
    let mut action = world.view(&plan(WriteMode::Merge)).await.metadata_action();
    action["metaData"]["partitionColumns"] = json!(["v"]);
    commit_by_hand(&world, &[action]).await;
    let texts = ["it is partitioned", "load into a table of its own"];
    each_mode_is_refused(&world, &texts).await;
}

#[tokio::test]
async fn a_table_that_maps_column_names_is_refused() {
    let world = loaded().await;
    let view = world.view(&plan(WriteMode::Merge)).await;
    let mut action = view.metadata_action();
    let metadata = &mut action["metaData"];
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    for (at, field) in fields.iter_mut().enumerate() {
        field["metadata"]["delta.columnMapping.id"] = json!(at + 1);
        field["metadata"]["delta.columnMapping.physicalName"] = json!(format!("col-{at}"));
    }
    let columns = fields.len();
    metadata["schemaString"] = schema.to_string().into();
    metadata["configuration"]["delta.columnMapping.mode"] = "name".into();
    metadata["configuration"]["delta.columnMapping.maxColumnId"] = columns.to_string().into();
    let protocol = protocol_with(&view, "columnMapping", READERS_AND_WRITERS);
    commit_by_hand(&world, &[protocol, action]).await;
    let texts = ["it maps column names", "load into a table of its own"];
    each_mode_is_refused(&world, &texts).await;
}

#[tokio::test]
async fn a_feature_that_nobody_here_knows_is_refused() {
    let world = loaded().await;
    let view = world.view(&plan(WriteMode::Merge)).await;
    let protocol = protocol_with(&view, "madeUpTomorrow", &["writerFeatures"]);
    commit_by_hand(&world, &[protocol]).await;
    let texts = [
        "'madeUpTomorrow' is not supported",
        "a table feature that this loader does not write",
    ];
    each_mode_is_refused(&world, &texts).await;
}

/// The only file of the table gets a deletion vector that takes one of its rows away.
async fn delete_a_row_by_vector(world: &World) {
    let view = world.view(&plan(WriteMode::Merge)).await;
    let (path, bytes, stats) = files(world).await.remove(0).0;
    let removed = json!({"remove": {
        "path": path, "dataChange": true, "deletionTimestamp": 1, "extendedFileMetadata": true,
        "partitionValues": {}, "size": bytes,
    }});
    let added = json!({"add": {
        "path": path, "partitionValues": {}, "size": bytes, "modificationTime": 1, "dataChange": true, "stats": stats,
        // Looked at by nobody here: that there is one must be enough.
        "deletionVector": {
            "storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
            "sizeInBytes": 40, "cardinality": 1,
        },
    }});
    let mut metadata = view.metadata_action();
    metadata["metaData"]["configuration"]["delta.enableDeletionVectors"] = "true".into();
    let protocol = protocol_with(&view, "deletionVectors", READERS_AND_WRITERS);
    commit_by_hand(world, &[protocol, metadata, removed, added]).await;
}

/// Path, size and statistics of each live file, and how many of its rows are deleted.
async fn files(world: &World) -> Vec<((String, u64, String), u64)> {
    let view = world.view(&plan(WriteMode::Merge)).await;
    let engine = world.loader.table(&plan(WriteMode::Merge).target).unwrap().engine;
    let listed = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        view.each_file(&engine, |f| {
            assert_eq!(f.has_deletions, f.deleted > 0);
            let stats = f.stats.unwrap_or_default().to_owned();
            found.push(((f.path.to_owned(), f.bytes, stats), f.deleted));
            Ok(())
        })
        .unwrap();
        found
    });
    listed.await.unwrap()
}

async fn deleted(world: &World) -> Vec<u64> {
    let mut all: Vec<u64> = files(world).await.into_iter().map(|(_, deleted)| deleted).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn rows_that_a_deletion_vector_took_do_not_come_back() {
    // Beside such a file others may be written: it stays as it is, vector and all.
    for (mode, new) in [
        (WriteMode::Append, 3),
        (WriteMode::Merge, 100),
        (WriteMode::InsertOnly, 100),
    ] {
        let world = loaded().await;
        delete_a_row_by_vector(&world).await;
        let rows = [rows(&[(new, "c")])];
        world.load(&run("orders", 2), &plan(mode), &rows).await.unwrap();
        assert_eq!(deleted(&world).await, [0, 1], "{mode:?}");
    }
    // What would have to be read is refused.
    for mode in [WriteMode::Merge, WriteMode::InsertOnly] {
        let world = loaded().await;
        delete_a_row_by_vector(&world).await;
        let before = version(&world).await;
        let rows = [rows(&[(2, "B")])];
        let error = world.load(&run("orders", 2), &plan(mode), &rows).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{mode:?}: {error:?}");
        for text in ["deleted rows in it by a deletion vector", "APPLY (PURGE)"] {
            assert!(error.chain().contains(text), "{mode:?}: {}", error.chain());
        }
        assert_eq!(version(&world).await, before, "{mode:?} writes nothing");
        assert_eq!(deleted(&world).await, [1], "{mode:?}");
    }
}

#[tokio::test]
async fn a_replace_takes_a_file_away_together_with_its_deletion_vector() {
    let world = loaded().await;
    delete_a_row_by_vector(&world).await;
    let replace = plan(WriteMode::Replace);
    let rows = [rows(&[(7, "g")])];
    world.load(&run("orders", 2), &replace, &rows).await.unwrap();
    assert_eq!(world.rows(&replace).await, ["7|g"]);
    // Readers tell files apart by path and vector: a removal without it would remove nothing for them.
    let commit = commit_path(&world, version(&world).await);
    let text = world.store.get(&commit).await.unwrap().bytes().await.unwrap();
    let actions = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let actions = actions.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let removed: Vec<Value> = actions.filter_map(|action| action.get("remove").cloned()).collect();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert_eq!(removed[0]["deletionVector"]["storageType"], "i", "{removed:?}");
}
