//! Where tables and state live: paths made absolute, URLs checked, the default place of the state.
//!
//! It refuses to open anything; that is `store`.

use std::path::{Component, Path, PathBuf};

use super::databricks::{self, CopyAccess};
use super::file::{AuthFile, DestinationFile, PlaceFile, StagingFile};
use super::problem::Findings;
use super::section::Section;
use super::{DEFAULT_LAYOUT, Destination, EntraIdentity, StoreAuth, StoreConfig};
use crate::secrets::SecretText;

/// The state of a destination lives beside it under this ending, so that two configurations with two destinations in
/// one folder never share state.
const STATE_SUFFIX: &str = "-state";
/// In a bucket that is a destination as a whole there is no beside.
const STATE_FOLDER: &str = "lakeward-state";

/// What a layout may hold.
const LAYOUT_WORDS: &[&str] = &["table", "YYYY", "MM", "DD", "hh", "run", "part"];
/// Without these two files would overwrite each other.
const LAYOUT_NEEDS: &[&str] = &["run", "part"];

/// `[destination]`.
pub(super) fn destination(section: &Section<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<Destination> {
    match section.read(findings)? {
        DestinationFile::Delta(delta) => Some(Destination::Delta(store(delta.place, section, base, findings)?)),
        DestinationFile::Files(files) => {
            let layout = files.layout.unwrap_or_else(|| DEFAULT_LAYOUT.to_owned());
            check_layout(&layout, section, findings);
            let store = store(files.place, section, base, findings)?;
            Some(Destination::Files { store, layout })
        }
        DestinationFile::Databricks(file) => {
            let config = databricks::destination(file, section, findings)?;
            Some(Destination::Databricks(Box::new(config)))
        }
    }
}

/// `[staging]`, and how a warehouse reads it.
pub(super) fn staging(
    section: &Section<'_>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<(StoreConfig, CopyAccess)> {
    let file: StagingFile = section.read(findings)?;
    let access = CopyAccess {
        copy_credential: databricks::copy_credential(&file, section, findings),
        copy_from: file.copy_from,
    };
    Some((store(file.place, section, base, findings)?, access))
}

/// Where the state lives if the file does not say.
pub(super) fn default_staging(destination: &StoreConfig) -> StoreConfig {
    let url = destination.url.trim_end_matches('/');
    let (root, folder) = match url.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((_, folder)) if !folder.is_empty() => (url.to_owned(), true),
            _ => (format!("{scheme}://{rest}"), false),
        },
        None => (url.to_owned(), !url.is_empty()),
    };
    let url = if folder {
        format!("{root}{STATE_SUFFIX}")
    } else {
        format!("{root}/{STATE_FOLDER}")
    };
    StoreConfig {
        url,
        ..destination.clone()
    }
}

fn check_layout(layout: &str, section: &Section<'_>, findings: &mut Findings<'_>) {
    let words: Vec<&str> = layout
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .collect();
    let known = LAYOUT_WORDS
        .iter()
        .map(|w| format!("{{{w}}}"))
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(unknown) = words.iter().find(|w| !LAYOUT_WORDS.contains(w)) {
        findings.error(
            section.at("layout"),
            format!("unknown placeholder '{{{unknown}}}' in the layout"),
            format!("known are {known}"),
        );
    }
    if let Some(missing) = LAYOUT_NEEDS.iter().find(|w| !words.contains(w)) {
        let text = format!("the layout lacks '{{{missing}}}'");
        findings.error(
            section.at("layout"),
            text,
            "without it files would overwrite each other; add it",
        );
    }
    if !layout.starts_with("{table}/") {
        let text = "the layout does not begin with '{table}/'";
        findings.error(
            section.at("layout"),
            text,
            "a table has a folder of its own; write it first",
        );
    }
    if words.contains(&"part") && !layout.rsplit('/').next().is_some_and(|name| name.contains("{part}")) {
        findings.error(
            section.at("layout"),
            "'{part}' is not in the file's name",
            "write it after the last '/'",
        );
    }
}

fn store(place: PlaceFile, section: &Section<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<StoreConfig> {
    let (url, is_local) = match (&place.path, &place.url) {
        (Some(path), None) => (local(path, base), true),
        (None, Some(url)) => (checked_url(url, &place, section, findings)?, url.starts_with("file:")),
        (Some(_), Some(_)) => {
            findings.error(
                section.at("url"),
                "both 'path' and 'url' say where it is",
                "remove one of them",
            );
            return None;
        }
        (None, None) => {
            findings.missing(
                section.at(""),
                "neither 'path' nor 'url' says where it is",
                "add path = \"lake\" for a local folder",
            );
            return None;
        }
    };
    for key in ["auth", "endpoint", "account", "region", "allow_http"] {
        if is_local && section.says(key) {
            findings.error(
                section.at(key),
                format!("'{key}' is not for local folders"),
                "remove it",
            );
        }
    }
    Some(StoreConfig {
        url,
        auth: place.auth.map_or(StoreAuth::Ambient, auth),
        endpoint: place.endpoint,
        account: place.account,
        region: place.region,
        allow_http: place.allow_http.unwrap_or(false),
    })
}

fn auth(file: AuthFile) -> StoreAuth {
    match file {
        AuthFile::Ambient {} => StoreAuth::Ambient,
        AuthFile::AccountKey { key } => StoreAuth::AccountKey(SecretText(key)),
        AuthFile::Sas { token } => StoreAuth::Sas(SecretText(token)),
        AuthFile::ServicePrincipal {
            tenant,
            client_id,
            client_secret,
            authority,
        } => StoreAuth::Entra(EntraIdentity::ServicePrincipal {
            tenant,
            client_id,
            client_secret: SecretText(client_secret),
            authority,
        }),
        AuthFile::ManagedIdentity { client_id } => StoreAuth::Entra(EntraIdentity::ManagedIdentity { client_id }),
        AuthFile::AccessKey { id, secret, token } => StoreAuth::AccessKey {
            id: SecretText(id),
            secret: SecretText(secret),
            token: token.map(SecretText),
        },
    }
}

fn checked_url(url: &str, place: &PlaceFile, section: &Section<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let at = || section.at("url");
    let known = "use s3://bucket/folder, az://container/folder, abfss://container@account.dfs.core.windows.net/folder or path = \"folder\"";
    let Some((scheme, rest)) = url.split_once("://") else {
        findings.error(at(), "this is no URL", known);
        return None;
    };
    let is_azure = matches!(scheme, "az" | "azure" | "abfs" | "abfss");
    let is_s3 = matches!(scheme, "s3" | "s3a");
    if matches!(scheme, "gs" | "gcs") {
        findings.error(at(), format!("'{scheme}://' is not in this version"), known);
        return None;
    }
    if !is_azure && !is_s3 && scheme != "file" {
        findings.error(at(), format!("unknown scheme '{scheme}://'"), known);
        return None;
    }
    let (authority, folder) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() && scheme != "file" {
        findings.error(at(), "the URL names no bucket or container", known);
    }
    if scheme == "file" && (!authority.is_empty() || folder.is_empty()) {
        findings.error(
            at(),
            "this is no local folder",
            "write file:///absolute/folder, or path = \"folder\"",
        );
    }
    let hidden = folder.split('/').find(|part| part.starts_with(['_', '.']));
    if let Some(part) = hidden.filter(|_| scheme != "file") {
        let text = format!("the folder '{part}' begins with '{}'", &part[..1]);
        findings.error(
            at(),
            text,
            "readers such as COPY INTO do not see it; choose another name",
        );
    }
    let names_account = place.account.is_some() || authority.contains('@');
    if is_azure && !names_account {
        findings.error(
            at(),
            "the URL names no storage account",
            "add account = \"…\", or write abfss://container@account.dfs.core.windows.net/folder",
        );
    }
    check_access(place, is_azure, is_s3, section, findings);
    Some(url.trim_end_matches('/').to_owned())
}

fn check_access(place: &PlaceFile, is_azure: bool, is_s3: bool, section: &Section<'_>, findings: &mut Findings<'_>) {
    match &place.auth {
        Some(AuthFile::AccessKey { .. }) if is_azure => {
            findings.error(
                section.at("auth"),
                "'access_key' is for S3",
                "use account_key, sas, service_principal or managed_identity",
            );
        }
        Some(AuthFile::AccessKey { .. } | AuthFile::Ambient {}) | None => {}
        Some(_) if is_s3 => {
            findings.error(
                section.at("auth"),
                "this way in is for Azure",
                "use access_key or ambient",
            );
        }
        Some(_) => {}
    }
    if let Some(AuthFile::ServicePrincipal { authority, .. }) = &place.auth {
        check_authority(authority.as_deref(), place.allow_http, section, findings);
    }
    let is_plain = place.endpoint.as_ref().is_some_and(|e| e.starts_with("http://"));
    if is_plain && place.allow_http != Some(true) {
        findings.error(
            section.at("endpoint"),
            "the endpoint is not encrypted",
            "add allow_http = true if it is an emulator",
        );
    }
}

/// A secret goes there.
pub(super) fn check_authority(
    authority: Option<&str>,
    allow_http: Option<bool>,
    section: &Section<'_>,
    findings: &mut Findings<'_>,
) {
    let Some(authority) = authority else { return };
    let at = || section.at("auth");
    match authority.split_once("://") {
        Some(("https", host)) if !host.is_empty() => {}
        Some(("http", _)) if allow_http == Some(true) => {}
        Some(("http", _)) => findings.error(
            at(),
            "the authority is not encrypted",
            "write https://…, or add allow_http = true if it is an emulator",
        ),
        _ => findings.error(
            at(),
            "the authority is no address",
            "write it in full, such as https://login.microsoftonline.us",
        ),
    }
}

/// A folder relative to `base`, made absolute without asking the disk.
pub(super) fn local(path: &str, base: &Path) -> String {
    absolute(path, base).to_string_lossy().into_owned()
}

/// `..` is taken by name, as a shell does: `lake/../x` is `x` whatever `lake` links to.
pub(super) fn absolute(path: &str, base: &Path) -> PathBuf {
    let joined = base.join(path);
    let mut clean = PathBuf::new();
    for component in std::path::absolute(&joined).unwrap_or(joined).components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging_of(url: &str) -> String {
        let destination = StoreConfig {
            url: url.to_owned(),
            auth: StoreAuth::Ambient,
            endpoint: None,
            account: None,
            region: None,
            allow_http: false,
        };
        default_staging(&destination).url
    }

    #[test]
    fn the_state_lives_beside_its_destination() {
        assert_eq!(staging_of("/data/lake"), "/data/lake-state");
        assert_eq!(staging_of("s3://bucket/a/lake"), "s3://bucket/a/lake-state");
        assert_eq!(staging_of("s3://bucket"), "s3://bucket/lakeward-state");
        assert_eq!(staging_of("file:///data/lake"), "file:///data/lake-state");
    }

    #[test]
    fn a_relative_folder_begins_at_the_file() {
        assert_eq!(local("lake", Path::new("/etc/lakeward")), "/etc/lakeward/lake");
        assert_eq!(local("../lake/./x", Path::new("/etc/lakeward")), "/etc/lake/x");
        assert_eq!(local("/lake", Path::new("/etc/lakeward")), "/lake");
    }
}
