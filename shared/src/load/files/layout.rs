//! Where a published file goes: `{table}/{YYYY}/{MM}/{DD}/{run}-{part}.parquet`.
//!
//! Names follow from run and part alone, so that whoever sends a step again hits the same ones; `{run}` is job, life
//! and number, so that two jobs, or two lives of one, never meet. It refuses layouts that would lose that.

use std::fmt;

use chrono::{DateTime, Utc};
use object_store::path::{Path, PathPart};

use crate::error::{Error, ErrorKind, Result};
use crate::model::table::TableName;
use crate::model::watermark::{RunId, RunNumber};

const PLACEHOLDERS: [&str; 7] = ["table", "run", "part", "YYYY", "MM", "DD", "hh"];

/// A checked layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout(String);

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Layout {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot use layout '{text}': {why}; a good one is {}",
                    super::DEFAULT_LAYOUT
                ),
            ))
        };
        let Some(below) = text.strip_prefix("{table}/") else {
            return refused("it must begin with {table}/");
        };
        let (_, name) = text.rsplit_once('/').unwrap_or(("", text));
        if text.matches("{part}").count() != 1 || !name.contains("{part}") {
            return refused("the file's name must hold {part}, once");
        }
        if !text.contains("{run}") {
            return refused("it must hold {run}, or files of two runs have one name");
        }
        if !text.ends_with(".parquet") {
            return refused("it must end in .parquet");
        }
        if below
            .split('/')
            .any(|part| part.is_empty() || part.starts_with(['_', '.']))
        {
            return refused("no folder may be empty or begin with '_' or '.': readers pass over such names");
        }
        let mut rest = text;
        while let Some((literal, from)) = rest.split_once('{') {
            let placeholder = from.split_once('}').filter(|(name, _)| PLACEHOLDERS.contains(name));
            match placeholder {
                Some((_, after)) if !literal.contains('}') => rest = after,
                _ => return refused("it may hold {table} {run} {part} {YYYY} {MM} {DD} {hh}"),
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The file of one part.
    pub(super) fn file(&self, root: &Path, run: &RunFiles<'_>, part: usize) -> Path {
        self.expand(root, run, &format!("{part:04}"))
    }

    /// The folder of a run's files and what their names begin and end with.
    pub(super) fn files_of(&self, root: &Path, run: &RunFiles<'_>) -> (Path, String, String) {
        // No name holds a NUL: where it is, the part's number stands.
        let pattern = self.0.replace("{part}", "\u{1}");
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
        let name = run.fill(name);
        let (begin, end) = name.split_once('\u{1}').unwrap_or((&name, ""));
        (
            join(root, run, folder),
            PathPart::from(begin).as_ref().to_owned(),
            PathPart::from(end).as_ref().to_owned(),
        )
    }

    fn expand(&self, root: &Path, run: &RunFiles<'_>, part: &str) -> Path {
        join(root, run, &self.0.replace("{part}", part))
    }
}

fn join(root: &Path, run: &RunFiles<'_>, layout: &str) -> Path {
    let filled: Vec<String> = layout
        .split('/')
        .flat_map(|segment| match segment {
            "{table}" => run.target.parts().to_vec(),
            segment => vec![run.fill(segment)],
        })
        .collect();
    root.parts()
        .chain(filled.iter().map(|s| PathPart::from(s.as_str())))
        .collect()
}

/// What names a run's files.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunFiles<'a> {
    pub(super) run: &'a RunId,
    pub(super) target: &'a TableName,
    /// Of the plan, not of the call: the same for whoever sends the step.
    pub(super) planned_at: DateTime<Utc>,
}

impl RunFiles<'_> {
    fn fill(&self, segment: &str) -> String {
        segment
            .replace("{table}", &self.target.to_string())
            .replace("{run}", &token(self.run))
            .replace("{YYYY}", &self.planned_at.format("%Y").to_string())
            .replace("{MM}", &self.planned_at.format("%m").to_string())
            .replace("{DD}", &self.planned_at.format("%d").to_string())
            .replace("{hh}", &self.planned_at.format("%H").to_string())
    }
}

/// `{run}` in a file's name.
fn token(run: &RunId) -> String {
    format!("{}-{}-{}", run.job, run.life, run.run)
}

/// The run number in the path of a file that a life of a job published, if it is one of theirs.
pub(super) fn number_in(path: &Path, job_and_life: &str) -> Option<RunNumber> {
    let begin = format!("{job_and_life}-");
    let (_, after) = path.as_ref().split_once(&begin)?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(RunNumber)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::JobName;
    use crate::model::watermark::Life;

    fn run() -> RunId {
        RunId {
            job: JobName::parse("orders").unwrap(),
            life: Life("k3f9".into()),
            run: RunNumber(42),
        }
    }

    #[test]
    fn a_file_is_named_by_run_and_part() {
        let (run, target) = (run(), TableName::parse("main.raw.or ders").unwrap());
        let files = RunFiles {
            run: &run,
            target: &target,
            planned_at: "2024-05-01T23:59:59Z".parse().unwrap(),
        };
        let layout = Layout::parse(super::super::DEFAULT_LAYOUT).unwrap();
        let file = layout.file(&Path::from("lake"), &files, 7);
        assert_eq!(
            file.as_ref(),
            "lake/main/raw/or ders/2024/05/01/orders-k3f9-000042-0007.parquet"
        );
        assert_eq!(number_in(&file, "orders-k3f9"), Some(RunNumber(42)));
        assert_eq!(number_in(&file, "orders-zzzz"), None);
        let (folder, begin, end) = layout.files_of(&Path::from("lake"), &files);
        assert_eq!(folder.as_ref(), "lake/main/raw/or ders/2024/05/01");
        assert_eq!((begin.as_str(), end.as_str()), ("orders-k3f9-000042-", ".parquet"));
    }

    #[test]
    fn a_layout_that_would_mix_runs_or_hide_files_is_refused() {
        for bad in [
            "{YYYY}/{run}-{part}.parquet",
            "{table}/{run}.parquet",
            "{table}/{part}/{run}.parquet",
            "{table}/{part}.parquet",
            "{table}/{run}-{part}.csv",
            "{table}/_x/{run}-{part}.parquet",
            "{table}//{run}-{part}.parquet",
            "{table}/{day}/{run}-{part}.parquet",
            "{table}/{run}-{part}}.parquet{",
        ] {
            let e = Layout::parse(bad).expect_err(bad);
            assert!(e.to_string().contains("a good one is"), "{e}");
        }
        Layout::parse("{table}/hour={YYYY}{MM}{DD}T{hh}/{run}/{part}.parquet").unwrap();
    }
}
