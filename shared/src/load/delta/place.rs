//! Where a table lives and what things in it are called.
//!
//! It refuses names that a store would have to spell differently in a path than in a URL: the kernel speaks URLs, the
//! store speaks paths, and the log must name the same object to both.

use object_store::path::Path;
use url::Url;

use crate::error::{Error, ErrorKind, OrError, Result};
use crate::load::claims::CLAIM;
use crate::model::job::JobName;
use crate::model::table::TableName;
use crate::model::watermark::{Life, RunId};

/// Of all tables: the kernel only ever sees the path behind it. A host that contains `--x-s3` makes the kernel's engine
/// sort listings itself (its rule for stores without an order); the local file system lists in no order, and a log
/// read out of order is a wrong table.
const BASE: &str = "lakeward://tables--x-s3/";

/// The folder in a table's own folder under which all data files of ours lie.
pub(super) const DATA: &str = "lakeward";

/// How the names of files begin that the loader wrote itself: rows of many runs, put together.
pub(super) const REWRITTEN: &str = "apply-";

/// One table in the store.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The table as users call it.
    pub name: String,
    /// Its folder in the store.
    pub folder: Path,
    /// The same for the kernel; ends with a slash.
    pub url: Url,
}

impl Place {
    /// The place of `target` below `root`.
    pub fn new(root: &Path, target: &TableName) -> Result<Self> {
        let refuse = |folder: &str| {
            Error::new(
                ErrorKind::Config,
                format!(
                    "cannot keep table {target} in folder '{folder}': use letters, digits, '_', '-' and spaces in its name and in the destination's path"
                ),
            )
        };
        // Taken as it is: `Path::join` would spell letters beyond ASCII in percents, which a folder on disk does not.
        let mut spelled = root.as_ref().to_owned();
        for part in target.parts() {
            if !spelled.is_empty() {
                spelled.push('/');
            }
            spelled.push_str(part);
        }
        let is_safe = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "_-.+!()=@,;'& /".contains(c);
        if !spelled.chars().all(is_safe) {
            return Err(refuse(&spelled));
        }
        let folder = Path::parse(&spelled).map_err(|e| refuse(&spelled).because(e))?;
        let mut url = Url::parse(BASE).or_error(ErrorKind::Bug, || "cannot parse the base URL".into())?;
        url.path_segments_mut()
            .map_err(|()| Error::bug("the base URL takes no path"))?
            .pop_if_empty()
            .extend(folder.parts().map(|p| p.as_ref().to_owned()))
            .push("");
        Ok(Self {
            name: target.to_string(),
            folder,
            url,
        })
    }

    /// The folder of the log.
    pub fn log(&self) -> Path {
        self.folder.clone().join("_delta_log")
    }

    /// The folder of one run's files.
    pub fn run_folder(&self, run: &RunId) -> Path {
        self.folder
            .clone()
            .join(DATA)
            .join(run.job.as_str())
            .join(run.life.0.as_str())
            .join(run.run.to_string())
    }

    /// How the log spells a file of this table: relative and URL-encoded.
    pub fn spell(&self, file: &Path) -> Result<String> {
        let mut url = self.url.clone();
        let inside = file
            .prefix_match(&self.folder)
            .ok_or_else(|| Error::bug(format!("file {file} is not in the folder of table {}", self.name)))?;
        let inside: Vec<String> = inside.map(|p| p.as_ref().to_owned()).collect();
        url.path_segments_mut()
            .map_err(|()| Error::bug("the table's URL takes no path"))?
            .pop_if_empty()
            .extend(&inside);
        let spelled = url.path().strip_prefix(self.url.path());
        spelled
            .map(str::to_owned)
            .ok_or_else(|| Error::bug(format!("file {file} lost its table's path")))
    }

    /// The object that the log names; `None` for a file outside of this store (a shallow clone's).
    pub fn resolve(&self, spelled: &str) -> Option<Path> {
        let url = self.url.join(spelled).ok()?;
        if url.scheme() != self.url.scheme() || url.host_str() != self.url.host_str() {
            return None;
        }
        Path::from_url_path(url.path()).ok()
    }
}

/// The application id under which a job's runs are counted in the log.
pub(super) fn app_id(job: &JobName, life: &Life) -> String {
    format!("lakeward/{job}/{life}")
}

/// The application id and the number of the run in a row's tag; `None` if it is no tag of ours.
pub(super) fn app_id_of(tag: &str) -> Option<(String, u64)> {
    let (job_and_life, number) = tag.rsplit_once('/')?;
    Some((format!("lakeward/{job_and_life}"), number.parse().ok()?))
}

/// The beginning of the names, as the log spells them, of all files that a run wrote.
pub(super) fn run_prefix(run: &RunId) -> String {
    format!("{DATA}/{run}/")
}

/// The table property that names the life which feeds the table for a job.
pub(super) fn claim_property(job: &JobName) -> String {
    format!("{CLAIM}{job}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_spelled_for_the_log_and_found_again() {
        let place = Place::new(&Path::from("a b"), &TableName::parse("main.räw.orders").unwrap()).unwrap();
        assert_eq!(
            place.url.as_str(),
            "lakeward://tables--x-s3/a%20b/main/r%C3%A4w/orders/"
        );
        let file = place.folder.clone().join("lakeward").join("x y.parquet");
        let spelled = place.spell(&file).unwrap();
        assert_eq!(spelled, "lakeward/x%20y.parquet");
        assert_eq!(place.resolve(&spelled), Some(file));
        assert_eq!(place.resolve("s3://elsewhere/x.parquet"), None);
    }

    #[test]
    fn a_tag_tells_the_application_id_of_its_run() {
        let run = crate::load::delta::tests::run("orders", 42);
        let found = app_id_of(&run.to_string());
        assert_eq!(found, Some((app_id(&run.job, &run.life), 42)));
        assert_eq!((app_id_of("orders"), app_id_of("orders/x")), (None, None));
    }

    #[test]
    fn a_name_that_needs_escapes_is_refused() {
        let error = Place::new(&Path::default(), &TableName::parse("raw.a#b").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
