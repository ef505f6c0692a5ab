//! `[destination] type = "databricks"` and the ways into a workspace.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Unity Catalog tables, loaded by a SQL warehouse. Needs a `[staging]` section whose store the warehouse can read.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub(in super::super) struct DatabricksFile {
    /// The workspace's name, without `https://`.
    #[schemars(extend("examples" = ["adb-1234567890123456.12.azuredatabricks.net"]))]
    pub host: String,
    /// The id of the SQL warehouse. Either this or `http_path`.
    #[schemars(extend("examples" = ["abc123def456"]))]
    pub warehouse: Option<String>,
    /// The warehouse's HTTP path, as its connection details show it. Either this or `warehouse`.
    #[schemars(extend("examples" = ["/sql/1.0/warehouses/abc123def456"]))]
    pub http_path: Option<String>,
    /// The catalog of targets that name none.
    #[schemars(extend("examples" = ["main"]))]
    pub catalog: String,
    /// The schema of targets that name none.
    #[schemars(extend("examples" = ["raw"]))]
    pub schema: String,
    /// The schema, in the target's catalog, in which staging tables are made. Without it they stand beside their target.
    #[schemars(extend("examples" = ["staging"]))]
    pub staging_schema: Option<String>,
    /// How to get in.
    pub auth: DatabricksAuthFile,
    /// Properties of new tables.
    pub table_properties: Option<BTreeMap<String, String>>,
    /// Tags of all targets: what is missing or has another value is set by the next load. Others stay.
    pub table_tags: Option<BTreeMap<String, String>>,
    /// Appends commit in one transaction with a row of the table `_lakeward_runs` beside their target, which shuts out
    /// statements that come after their run was given up. For catalog-managed tables: new targets of append jobs become
    /// such, others stay and are appended to without it. The service's transactions may be a preview.
    #[schemars(extend("default" = false))]
    pub run_ledger: Option<bool>,
    /// What an hour of the warehouse costs, in any currency: results then say what a run cost at most.
    #[schemars(extend("examples" = [5.6]))]
    pub price_per_hour: Option<f64>,
    /// Loads of all jobs begin together, at whole multiples of this, so that the warehouse wakes once for all of them. In
    /// functions; `lakeward run` loads at once.
    #[schemars(extend("x-value" = "duration", "examples" = ["15m"]))]
    pub load_window: Option<String>,
    /// Allows plain http, for emulators: `host` then begins with `http://`.
    #[schemars(extend("default" = false))]
    pub allow_http: Option<bool>,
}

/// How to get into a Databricks workspace.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(in super::super) enum DatabricksAuthFile {
    /// A personal access token.
    Token {
        /// The token.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:DATABRICKS_TOKEN}"]))]
        token: String,
    },
    /// A service principal of Databricks, with a secret of its own.
    OauthM2m {
        /// The application id of the service principal.
        client_id: String,
        /// Its OAuth secret.
        #[schemars(extend("x-value" = "secret", "examples" = ["${env:DATABRICKS_CLIENT_SECRET}"]))]
        client_secret: String,
    },
    /// Azure: an application of Entra that is a service principal of the workspace.
    AzureServicePrincipal {
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
    /// Azure: the identity of the host, of a machine, a function or a container.
    AzureManagedIdentity {
        /// The client id of a user-assigned identity, where the host has several.
        client_id: Option<String>,
    },
    /// Azure: what the platform offers: an application in the environment (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`,
    /// `AZURE_CLIENT_SECRET`), a workload's federated token, the host's managed identity, or who is signed in by `az login`.
    AzureAmbient {},
    /// AWS: the role of the host, of a function, a task or a machine. STS proves it (`sts:GetWebIdentityToken`), and a
    /// federation policy takes that in exchange: no secret at all.
    AwsRole {
        /// The application id of the service principal. Without it the account's policy decides.
        client_id: Option<String>,
        /// Whom the proof is for; the policy must name the same. Without it the address of the workspace's token endpoint,
        /// `https://HOST/oidc/v1/token`.
        audience: Option<String>,
        /// The region whose STS is asked. Without it `AWS_REGION`.
        #[schemars(extend("examples" = ["eu-central-1"]))]
        region: Option<String>,
    },
    /// A token of the platform, exchanged by a federation policy: no secret of Databricks at all.
    Oidc {
        /// The platform's token: a reference to where it is renewed.
        #[schemars(extend("x-value" = "secret", "examples" = ["${file:/var/run/secrets/token}"]))]
        token: String,
        /// The application id of the service principal. Without it the account's policy decides.
        client_id: Option<String>,
    },
}
