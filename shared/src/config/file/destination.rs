//! `[destination]`, `[staging]` and the ways into an object store.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{DEFAULT_AUTH, DEFAULT_LAYOUT};
use super::databricks::DatabricksFile;

/// Where tables go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in super::super) enum DestinationFile {
    /// A folder of Delta tables: the target `raw.orders` becomes the table `<folder>/raw/orders`.
    Delta(DeltaFile),
    /// Plain Parquet files in folders. Only for jobs that append or replace. Whoever globs them also sees files of a run
    /// that is not complete; the ledger in `_lakeward`, beside them, says which runs are (docs/quickstart.md has a
    /// query).
    Files(FilesFile),
    /// Unity Catalog tables of Databricks: the target `orders` becomes `<catalog>.<schema>.orders`.
    Databricks(DatabricksFile),
}

/// A folder of Delta tables.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub(in super::super) struct DeltaFile {
    #[serde(flatten)]
    pub place: PlaceFile,
}

/// Plain Parquet files.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub(in super::super) struct FilesFile {
    #[serde(flatten)]
    pub place: PlaceFile,
    /// The name of each file below the folder: first `{table}/`, the target with `/` between its parts; `{run}` is the
    /// number of the run, `{part}` (in the file's own name) unique in the run; `{YYYY}`, `{MM}`, `{DD}` and `{hh}` are
    /// the time (UTC) at which the run was planned.
    #[schemars(extend("default" = DEFAULT_LAYOUT))]
    pub layout: Option<String>,
}

/// Where the state of the jobs is kept: small JSON documents, and the Parquet files of destinations that load from
/// files. Never delete it while jobs exist: the target then belongs to a state that is lost, and Lakeward asks before
/// it takes the target over.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct StagingFile {
    #[serde(flatten)]
    pub place: PlaceFile,
    /// Databricks: this place as the warehouse spells it, where that does not follow from the URL: the path of an
    /// external volume over the same folder. Never change it while runs are open: the warehouse remembers loaded files
    /// by their path.
    #[schemars(extend("examples" = ["/Volumes/main/raw/staging"]))]
    pub copy_from: Option<String>,
    /// Databricks: by which right COPY INTO reads this place. `external_location`: an external location or a volume covers
    /// it; `named:…`: a storage credential of the catalog; `sas`: a signature in the statement, which reads the run's folder
    /// for ten minutes, and a minute more for each GiB of the statement's files (at most an hour). The statement is in the
    /// query history for those who may see it: use it where nothing else is allowed.
    /// For ADLS Gen2 (a hierarchical namespace), and an identity or account key under `auth`.
    #[schemars(extend("default" = "external_location"))]
    pub copy_credential: Option<String>,
}

/// An object store or a local folder.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct PlaceFile {
    /// A local folder, relative to this file. Either this or `url`.
    #[schemars(extend("examples" = ["lake"]))]
    pub path: Option<String>,
    /// A folder in an object store: `s3://bucket/folder`, `az://container/folder`,
    /// `abfss://container@account.dfs.core.windows.net/folder` or `file:///folder`. Either this or `path`.
    #[schemars(extend("examples" = ["s3://bucket/lake"]))]
    pub url: Option<String>,
    /// How to get in. Not for local folders.
    #[schemars(extend("default" = serde_json::json!({ "type": DEFAULT_AUTH })))]
    pub auth: Option<AuthFile>,
    /// The address of a private endpoint or an emulator, instead of the provider's own.
    #[schemars(extend("examples" = ["http://127.0.0.1:10000/devstoreaccount1"]))]
    pub endpoint: Option<String>,
    /// The storage account of an `az://` URL.
    pub account: Option<String>,
    /// The region of an `s3://` URL.
    #[schemars(extend("examples" = ["eu-central-1"]))]
    pub region: Option<String>,
    /// Allows plain http, for emulators.
    #[schemars(extend("default" = false))]
    pub allow_http: Option<bool>,
}

/// How to get into an object store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(extend("x-later" = ["profile", "oidc"]))]
pub(in super::super) enum AuthFile {
    /// What the platform offers. Azure: an application, key or signature in the environment (`AZURE_…`), a workload's
    /// federated token, the host's managed identity, or who is signed in by `az login`. AWS: the environment, the role of
    /// the host.
    Ambient {},
    /// Azure: the key of the storage account.
    AccountKey {
        /// The key.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:STORAGE_KEY}"]))]
        key: String,
    },
    /// Azure: a shared access signature.
    Sas {
        /// The signature: what follows the question mark of a signed URL.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:STORAGE_SAS}"]))]
        token: String,
    },
    /// Azure: an application of Entra.
    ServicePrincipal {
        /// The directory (tenant) id.
        tenant: String,
        /// The application (client) id.
        client_id: String,
        /// A secret of the application.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:CLIENT_SECRET}"]))]
        client_secret: String,
        /// Where Entra is, for other clouds than the public one.
        #[schemars(extend("examples" = ["https://login.microsoftonline.us"]))]
        authority: Option<String>,
    },
    /// Azure: the identity of the host.
    ManagedIdentity {
        /// The client id of a user-assigned identity, where the host has several.
        client_id: Option<String>,
    },
    /// S3: a key pair.
    AccessKey {
        /// The id of the key.
        #[schemars(extend("x-value" = "reference", "examples" = ["${env:AWS_ACCESS_KEY_ID}"]))]
        id: String,
        /// The secret key.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:AWS_SECRET_ACCESS_KEY}"]))]
        secret: String,
        /// A session token, for temporary keys.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:AWS_SESSION_TOKEN}"]))]
        token: Option<String>,
    },
}
