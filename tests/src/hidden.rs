//! Where a secret must not be: in the wordiest log of a run, the text of any statement, and any document of the state.
//!
//! What commands print is searched by `command` each time. It refuses to look where secrets belong: the environment, and
//! headers of requests.

use futures::TryStreamExt;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use crate::project::Project;

/// Runs a job by the wordiest log, then looks everywhere. The project loads into a workspace.
pub async fn no_secret_is_anywhere(project: &Project, job: &str) {
    let finished = project.run(&["--log-level", "trace", "run", job]).done();
    assert!(finished.err.lines().count() > 100, "the log is wordy: {}", finished.err);
    let double = project.workspace().expect("it loads into one");
    let mut texts: Vec<String> = double.statements().iter().map(|s| format!("{:?}", s.request)).collect();
    assert!(texts.len() > 5, "{} statements", texts.len());
    let opened = project.open(&project.state_root()).await;
    let folder = opened.root.join("state");
    let documents: Vec<_> = opened.store.list(Some(&folder)).try_collect().await.expect("the state");
    assert!(documents.len() > 2, "{documents:?}");
    for document in documents {
        let read = opened.store.get(&document.location).await.expect("a document");
        texts.push(String::from_utf8_lossy(&read.bytes().await.expect("a document")).into_owned());
    }
    let given = project
        .variables()
        .into_iter()
        .filter(|(name, _)| !name.contains("ENDPOINT"));
    let tokens = double
        .world()
        .access
        .tokens()
        .into_iter()
        .map(|token| ("a token".to_owned(), token));
    for (name, secret) in given.chain(tokens) {
        let found = texts.iter().find(|text| text.contains(&secret));
        assert_eq!(found, None, "{name} is told");
    }
}
