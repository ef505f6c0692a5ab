//! `[destination] type = "databricks"` → [`DatabricksConfig`], and the keys of `[staging]` that are about it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::file::{DatabricksAuthFile, DatabricksFile, StagingFile};
use super::problem::Findings;
use super::section::Section;
use super::{EntraIdentity, places, value};
use crate::secrets::SecretText;

/// Before a warehouse's id in its HTTP path.
const HTTP_PATH: &str = "/sql/1.0/warehouses/";

/// Unity Catalog tables behind a SQL warehouse.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabricksConfig {
    /// `https://adb-….azuredatabricks.net`
    pub host: String,
    /// The warehouse's id.
    pub warehouse: String,
    /// Of targets that name none.
    pub catalog: String,
    /// Of targets that name none.
    pub schema: String,
    /// Where staging tables are made; `None`: beside their target.
    pub staging_schema: Option<String>,
    /// How to get in.
    pub auth: DatabricksAuth,
    /// Of new tables.
    pub table_properties: BTreeMap<String, String>,
    /// Of all targets.
    pub table_tags: BTreeMap<String, String>,
    /// The staging place as the warehouse spells it, where that does not follow from its URL: a volume's path.
    pub copy_from: Option<String>,
    /// Whether appends commit together with a row of the run ledger, where the target can.
    pub run_ledger: bool,
    /// What an hour of the warehouse costs.
    pub price_per_hour: Option<f64>,
    /// Loads begin at whole multiples of this.
    pub load_window: Option<Duration>,
    /// By which right COPY INTO reads the staged files.
    pub copy_credential: CopyCredential,
}

/// By which right COPY INTO reads staged files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CopyCredential {
    /// An external location or a volume covers the place: the statement says nothing of it.
    #[default]
    ExternalLocation,
    /// The statement names a storage credential of the catalog.
    Named(String),
    /// The statement carries a signature for the run's folder.
    Sas,
}

/// How to get into a workspace.
#[derive(Debug, Clone, PartialEq)]
pub enum DatabricksAuth {
    /// A personal access token.
    Token(SecretText),
    /// OAuth client credentials of a service principal.
    OauthM2m {
        /// Application id.
        client_id: String,
        /// Its secret.
        client_secret: SecretText,
    },
    /// Whom Entra knows.
    Entra(EntraIdentity),
    /// The role of an AWS host, proved by STS and exchanged.
    AwsRole {
        /// Application id of the service principal.
        client_id: Option<String>,
        /// The workspace's token endpoint unless said.
        audience: Option<String>,
        /// `AWS_REGION` unless said.
        region: Option<String>,
    },
    /// A token of the platform, exchanged.
    Oidc {
        /// The platform's token.
        token: SecretText,
        /// Application id of the service principal.
        client_id: Option<String>,
    },
}

impl DatabricksAuth {
    /// Every text that may hold references, by its key.
    pub(super) fn secrets(&self) -> Vec<(String, &SecretText)> {
        let key = |key: &str| format!("destination.auth.{key}");
        match self {
            Self::Token(token) | Self::Oidc { token, .. } => vec![(key("token"), token)],
            Self::OauthM2m { client_secret, .. } => vec![(key("client_secret"), client_secret)],
            Self::Entra(identity) => identity
                .secret()
                .map(|text| (key("client_secret"), text))
                .into_iter()
                .collect(),
            Self::AwsRole { .. } => vec![],
        }
    }
}

/// How COPY INTO reads what was staged; keys of `[staging]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CopyAccess {
    pub copy_from: Option<String>,
    pub copy_credential: CopyCredential,
}

/// Reads the section.
pub(super) fn destination(
    file: DatabricksFile,
    section: &Section<'_>,
    findings: &mut Findings<'_>,
) -> Option<DatabricksConfig> {
    for (key, name) in [
        ("catalog", Some(&file.catalog)),
        ("schema", Some(&file.schema)),
        ("staging_schema", file.staging_schema.as_ref()),
    ] {
        if name
            .is_some_and(|n| n.is_empty() || n.contains(['.', ' ', '/', '`', '\\']) || n.chars().any(char::is_control))
        {
            let text = format!("'{key}' is no name of one part");
            findings.error(
                section.at(key),
                text,
                "write the name alone, without quotes, dots and spaces",
            );
        }
    }
    if file
        .price_per_hour
        .is_some_and(|price| price < 0.0 || !price.is_finite())
    {
        findings.error(
            section.at("price_per_hour"),
            "this is no price",
            "write what an hour of the warehouse costs, such as 5.6",
        );
    }
    if let DatabricksAuthFile::AzureServicePrincipal { authority, .. } = &file.auth {
        places::check_authority(authority.as_deref(), file.allow_http, section, findings);
    }
    let host = host(&file, section, findings);
    let warehouse = warehouse(&file, section, findings);
    Some(DatabricksConfig {
        host: host?,
        warehouse: warehouse?,
        catalog: file.catalog,
        schema: file.schema,
        staging_schema: file.staging_schema,
        auth: auth(file.auth),
        table_properties: file.table_properties.unwrap_or_default(),
        table_tags: file.table_tags.unwrap_or_default(),
        run_ledger: file.run_ledger.unwrap_or(false),
        price_per_hour: file.price_per_hour,
        load_window: file.load_window.and_then(|text| value::duration(&text).ok()),
        copy_from: None,
        copy_credential: CopyCredential::default(),
    })
}

fn host(file: &DatabricksFile, section: &Section<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let host = file.host.trim_end_matches('/');
    let (scheme, name) = host.split_once("://").unwrap_or(("https", host));
    if scheme == "http" && file.allow_http != Some(true) {
        findings.error(
            section.at("host"),
            "the host is not encrypted",
            "remove 'http://', or add allow_http = true if it is an emulator",
        );
        return None;
    }
    if !matches!(scheme, "http" | "https") || name.is_empty() || name.contains(['/', ' ', '@', '?']) {
        findings.error(
            section.at("host"),
            "this is no workspace",
            "write its name alone, such as adb-1234567890123456.12.azuredatabricks.net",
        );
        return None;
    }
    Some(format!("{scheme}://{name}"))
}

fn warehouse(file: &DatabricksFile, section: &Section<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let id = match (&file.warehouse, &file.http_path) {
        (Some(id), None) => Some(id.as_str()),
        (None, Some(path)) => path.strip_prefix(HTTP_PATH),
        (Some(_), Some(_)) => {
            let text = "both 'warehouse' and 'http_path' say which warehouse it is";
            findings.error(section.at("http_path"), text, "remove one of them");
            return None;
        }
        (None, None) => {
            let text = "neither 'warehouse' nor 'http_path' says which warehouse it is";
            findings.missing(
                section.at(""),
                text,
                "add warehouse = \"…\": the id in its connection details",
            );
            return None;
        }
    };
    let key = if file.warehouse.is_some() {
        "warehouse"
    } else {
        "http_path"
    };
    if !id.is_some_and(is_id) {
        let remedy = format!("write the id alone as warehouse, or http_path = \"{HTTP_PATH}…\"");
        findings.error(section.at(key), "this is no SQL warehouse", remedy);
        return None;
    }
    id.map(str::to_owned)
}

fn auth(file: DatabricksAuthFile) -> DatabricksAuth {
    match file {
        DatabricksAuthFile::Token { token } => DatabricksAuth::Token(SecretText(token)),
        DatabricksAuthFile::OauthM2m {
            client_id,
            client_secret,
        } => DatabricksAuth::OauthM2m {
            client_id,
            client_secret: SecretText(client_secret),
        },
        DatabricksAuthFile::AzureServicePrincipal {
            tenant,
            client_id,
            client_secret,
            authority,
        } => DatabricksAuth::Entra(EntraIdentity::ServicePrincipal {
            tenant,
            client_id,
            client_secret: SecretText(client_secret),
            authority,
        }),
        DatabricksAuthFile::AzureManagedIdentity { client_id } => {
            DatabricksAuth::Entra(EntraIdentity::ManagedIdentity { client_id })
        }
        DatabricksAuthFile::AzureAmbient {} => DatabricksAuth::Entra(EntraIdentity::Ambient),
        DatabricksAuthFile::AwsRole {
            client_id,
            audience,
            region,
        } => DatabricksAuth::AwsRole {
            client_id,
            audience,
            region,
        },
        DatabricksAuthFile::Oidc { token, client_id } => DatabricksAuth::Oidc {
            token: SecretText(token),
            client_id,
        },
    }
}

/// `external_location`, `named:<credential>` or `sas`; what it is about is the place at `url`.
pub(super) fn copy_credential(
    file: &StagingFile,
    section: &Section<'_>,
    findings: &mut Findings<'_>,
) -> CopyCredential {
    let Some(text) = file.copy_credential.as_deref() else {
        return CopyCredential::default();
    };
    let mut refuse = |found: &str, remedy: &str| {
        findings.error(section.at("copy_credential"), found, remedy);
        CopyCredential::default()
    };
    match (text, text.strip_prefix("named:").map(str::trim)) {
        ("external_location", _) => CopyCredential::ExternalLocation,
        ("sas", _) if file.copy_from.is_some() => refuse(
            "a signature is for the storage account itself, and copy_from says another place",
            "remove copy_from, or use \"external_location\": a volume needs no signature",
        ),
        ("sas", _) if !file.place.url.as_deref().is_some_and(is_azure) => refuse(
            "only folders of Azure storage are opened by a signature",
            "use \"external_location\", or \"named:…\" with a storage credential of the catalog",
        ),
        ("sas", _) => CopyCredential::Sas,
        (_, Some(name)) if !name.is_empty() => CopyCredential::Named(name.to_owned()),
        _ => refuse(
            "this is no way for COPY INTO to read staged files",
            "use \"external_location\", \"named:…\" with a storage credential of the catalog, or \"sas\"",
        ),
    }
}

fn is_azure(url: &str) -> bool {
    ["az://", "azure://", "abfs://", "abfss://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

/// A target's text in full: `catalog.schema.table`.
pub(super) fn full_target(config: &DatabricksConfig, target: String) -> String {
    match target.matches('.').count() {
        0 => format!("{}.{}.{target}", config.catalog, config.schema),
        1 => format!("{}.{target}", config.catalog),
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Destination, parse};
    use crate::model::job::ClusterBy;

    const STAGING: &str = "[staging]\nurl = 'abfss://s@acct.dfs.core.windows.net/lakeward'\n";

    fn file(destination: &str, staging: &str) -> Result<Config, String> {
        let text = format!(
            "version = 1\n[destination]\ntype = 'databricks'\ncatalog = 'main'\nschema = 'raw'\n{destination}\n{staging}\n\
             [connections.shop]\ntype = 'postgres'\nhost = 'h'\ndatabase = 'd'\nusername = 'u'\n\
             [[jobs]]\nname = 'orders'\ntable = 'public.orders'\n[[jobs]]\ntable = 'crm.*'\nname = 'c-{{table}}'\ntarget = 'crm.{{table}}'\n"
        );
        parse(&text, "lakeward.toml", Path::new("/etc")).map_err(|problems| problems.to_string())
    }

    fn workspace(more: &str) -> String {
        format!(
            "host = 'adb-1.azuredatabricks.net'\nwarehouse = 'abc123'\nauth = {{ type = 'azure_managed_identity' }}\n{more}"
        )
    }

    fn refused(destination: &str, staging: &str, text: &str) {
        let problems = file(destination, staging).expect_err(text);
        assert!(problems.contains(text), "{problems}");
    }

    #[test]
    fn no_secret_goes_to_an_authority_that_is_not_encrypted() {
        let auth = "auth = { type = 'azure_service_principal', tenant = 't', client_id = 'c', client_secret = '${env:S}', \
                    authority = 'http://h' }";
        let destination = format!("host = 'h'\nwarehouse = 'x'\n{auth}");
        refused(&destination, STAGING, "the authority is not encrypted");
    }

    #[test]
    fn a_workspace_is_read_and_targets_are_named_in_full() {
        let more = "staging_schema = 'tmp'\nprice_per_hour = 5\nload_window = '15m'\n[destination.table_tags]\nowner = 'sales'\n";
        let config = file(&workspace(more), STAGING).unwrap();
        let Destination::Databricks(databricks) = &config.destination else {
            panic!("{:?}", config.destination)
        };
        assert_eq!(databricks.host, "https://adb-1.azuredatabricks.net");
        assert_eq!(databricks.warehouse, "abc123");
        assert_eq!(
            databricks.auth,
            DatabricksAuth::Entra(EntraIdentity::ManagedIdentity { client_id: None })
        );
        assert_eq!(databricks.table_tags["owner"], "sales");
        assert_eq!(config.jobs[0].target.to_string(), "main.raw.orders");
        assert_eq!(config.wildcards[0].target, "main.crm.{table}");
    }

    #[test]
    fn a_warehouse_may_be_said_by_its_path_and_read_staged_files_by_a_credential() {
        let destination = "host = 'https://dbc-1.cloud.databricks.com/'\nhttp_path = '/sql/1.0/warehouses/abc123'\nauth = { type = 'token', token = '${env:T}' }";
        let staging = format!("{STAGING}copy_from = '/Volumes/main/raw/s'\ncopy_credential = 'named:cred'\n");
        let config = file(destination, &staging).unwrap();
        let Destination::Databricks(databricks) = &config.destination else {
            panic!("{:?}", config.destination)
        };
        assert_eq!(databricks.host, "https://dbc-1.cloud.databricks.com");
        assert_eq!(databricks.warehouse, "abc123");
        assert_eq!(databricks.copy_from.as_deref(), Some("/Volumes/main/raw/s"));
        assert_eq!(databricks.copy_credential, CopyCredential::Named("cred".into()));
        let keys: Vec<String> = config.secrets().into_iter().map(|(key, _)| key).collect();
        assert!(keys.contains(&"destination.auth.token".to_owned()), "{keys:?}");
    }

    #[test]
    fn new_tables_are_clustered_as_the_job_says() {
        let by = |value: &str| {
            let jobs = format!("{STAGING}[defaults]\ncluster_by = {value}\n");
            file(&workspace(""), &jobs).map(|config| config.jobs[0].cluster_by.clone())
        };
        assert_eq!(by("'auto'"), Ok(Some(ClusterBy::Auto)));
        let columns = vec!["region".to_owned(), "At".to_owned()];
        assert_eq!(
            by("{ columns = ['region', 'At'] }"),
            Ok(Some(ClusterBy::Columns(columns)))
        );
        for (value, text) in [
            ("{ columns = [] }", "names no column"),
            ("{ columns = ['a', 'b', 'c', 'd', 'e'] }", "name at most four"),
            ("{ columns = ['a', 'a'] }", "names a column twice"),
            ("'atuo'", "did you mean 'auto'?"),
            ("5", "auto"),
        ] {
            let problems = by(value).expect_err(value);
            assert!(problems.contains(text), "{problems}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_remedy() {
        refused(&workspace(""), "", "add a section [staging]");
        refused(
            &workspace("http_path = '/sql/1.0/warehouses/x'"),
            STAGING,
            "remove one of them",
        );
        refused(&workspace("price_per_hour = -1"), STAGING, "this is no price");
        refused(&workspace("price_per_hour = 'much'"), STAGING, "must be a number");
        refused(&workspace("staging_schema = 'a.b'"), STAGING, "no name of one part");
        refused(&workspace("load_window = '15'"), STAGING, "write 30s");
        refused(
            &workspace(""),
            &format!("{STAGING}copy_from = '/Volumes/x/y/z'\ncopy_credential = 'sas'\n"),
            "a volume needs no signature",
        );
        refused(
            &workspace(""),
            "[staging]\nurl = 's3://bucket/lakeward'\ncopy_credential = 'sas'\n",
            "only folders of Azure storage",
        );
        refused(
            &workspace(""),
            &format!("{STAGING}copy_credential = 'named:'\n"),
            "named:…",
        );
        let auth = "auth = { type = 'azure_managed_identity' }";
        refused(&format!("host = 'h'\n{auth}"), STAGING, "which warehouse it is");
        refused(
            &format!("host = 'http://h'\nwarehouse = 'x'\n{auth}"),
            STAGING,
            "allow_http",
        );
        refused(
            &format!("host = 'https://h/?o=1'\nwarehouse = 'x'\n{auth}"),
            STAGING,
            "this is no workspace",
        );
        refused(
            &format!("host = 'h'\nwarehouse = '/sql/1.0/x'\n{auth}"),
            STAGING,
            "this is no SQL warehouse",
        );
        refused(
            "host = 'h'\nwarehouse = 'x'\nauth = { type = 'oauth_m2m', client_id = 'a' }",
            STAGING,
            "client_secret",
        );
    }

    #[test]
    fn keys_of_a_warehouse_mean_nothing_elsewhere() {
        let text = "version = 1\n[destination]\ntype = 'delta'\npath = 'lake'\n[staging]\npath = 'state'\ncopy_from = '/Volumes/x'\n\
             [connections.shop]\ntype = 'postgres'\nhost = 'h'\ndatabase = 'd'\nusername = 'u'\n";
        let problems = parse(text, "lakeward.toml", Path::new("/etc")).unwrap_err().to_string();
        assert!(
            problems.contains("'copy_from' is about the destination databricks"),
            "{problems}"
        );
    }
}
