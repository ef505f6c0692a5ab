//! Tokens of Microsoft Entra, by the credentials of `azure_identity`: one way to them for the storage and the workspace.
//!
//! Each token is asked for by a credential of its own. The library's keep their secret and their token, and here neither
//! a secret that was rotated nor a token that the workspace refused may be kept. (One that a storage refused is kept until
//! it ends: `object_store` does not tell.) It refuses to leave repetitions to the library, which would do some for more
//! than a minute and wait as long as it is asked to, and to show the library's texts of an answer, which repeat it: `Line`
//! sees what is answered, and says it in the words of everybody else.

mod line;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, HttpClient, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use object_store::CredentialProvider;
use object_store::azure::{AzureConfigKey, AzureCredential, MicrosoftAzureBuilder};

use line::Line;

use super::{AccessToken, Kept, Refused};
use crate::config::EntraIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, Patience};
use crate::secrets::{Providers, Secret, resolve};

/// What a token is for: Azure storage.
pub(crate) const STORAGE: &str = "https://storage.azure.com/.default";
/// What a token is for: the Databricks application, whose id is the same in every cloud of Entra.
pub(crate) const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default";

/// The metadata service of an Azure machine; plain HTTP, from the same machine only.
const METADATA: &str = "169.254.169.254:80";
/// It answers at once, or there is none.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// Entra, unless the configuration says otherwise.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";
/// An issuer answers within this, or is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// An identity that asks Entra for tokens of one kind.
pub(crate) struct Entra {
    identity: EntraIdentity,
    scope: &'static str,
    secrets: Providers,
    patience: Patience,
    /// What it is called when the issuer is away.
    busy: ErrorKind,
    /// The beginning of addresses that is replaced: the library insists on an encrypted authority, an emulator has none.
    instead: Option<(String, String)>,
    kept: Kept,
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entra({})", self.scope)
    }
}

impl Entra {
    /// Nothing is asked yet.
    pub fn new(identity: &EntraIdentity, scope: &'static str, secrets: &Providers, busy: ErrorKind) -> Self {
        let authority = match identity {
            EntraIdentity::ServicePrincipal { authority, .. } => authority.as_deref(),
            EntraIdentity::Ambient | EntraIdentity::ManagedIdentity { .. } => None,
        };
        let plain = authority.and_then(|authority| authority.strip_prefix("http://"));
        Self {
            identity: identity.clone(),
            scope,
            secrets: secrets.clone(),
            patience: Patience::default(),
            busy,
            instead: plain.map(|host| (format!("https://{host}"), format!("http://{host}"))),
            kept: Kept::default(),
        }
    }

    /// With other pauses between questions.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// A new token.
    pub async fn ask(&self) -> Result<AccessToken> {
        super::ask(self.patience, || self.once()).await
    }

    async fn once(&self) -> Result<AccessToken, Refused> {
        let asking = self.asking().await.map_err(Refused::for_good)?;
        let refused = match self.token_of(&asking).await {
            Err(refused) if asking.who == Who::PerhapsThePlatform => refused,
            known => return known,
        };
        // A machine of Azure (or of somebody else, at the same address) that has no identity: whoever is signed in there.
        let signed_in = self.signed_in().map_err(Refused::for_good)?;
        self.token_of(&signed_in).await.map_err(|_| refused)
    }

    async fn token_of(&self, asking: &Asking) -> Result<AccessToken, Refused> {
        let answered = asking.credential.get_token(&[self.scope], None).await;
        let found = answered.map_err(|e| self.refused(asking, &e))?;
        if found.token.secret().is_empty() {
            return Err(self.no_token(asking));
        }
        let life = found.expires_on.unix_timestamp() - chrono::Utc::now().timestamp();
        let life = Duration::from_secs(u64::try_from(life).unwrap_or_default());
        Ok(AccessToken::that_lives(Secret::new(found.token.secret()), life))
    }

    fn line(&self, way: Way) -> Result<Arc<Line>> {
        let http = match way {
            Way::Network => http::client(ANSWER_TIMEOUT),
            Way::ThisHost => http::without_proxy(ANSWER_TIMEOUT),
        };
        Ok(Arc::new(Line {
            http: http?,
            instead: self.instead.clone(),
            heard: Mutex::default(),
        }))
    }

    async fn asking(&self) -> Result<Asking> {
        match &self.identity {
            EntraIdentity::ServicePrincipal {
                tenant,
                client_id,
                client_secret,
                authority,
            } => {
                let secret = resolve(client_secret, &self.secrets).await;
                let secret = secret.map_err(|e| e.while_doing("cannot read the client_secret of auth"))?;
                let line = self.line(Way::Network)?;
                let options = ClientSecretCredentialOptions {
                    // Said in any case: the environment's is for whom the environment names.
                    client_options: options(&line, Some(authority.as_deref().unwrap_or(PUBLIC_CLOUD))),
                };
                let secret = secret.reveal().to_owned().into();
                let asked = ClientSecretCredential::new(tenant, client_id.clone(), secret, Some(options));
                let from = format!("of application {client_id} in tenant {tenant}");
                Asking::of(
                    from,
                    "look at tenant, client_id and client_secret of its auth",
                    line,
                    asked,
                )
            }
            EntraIdentity::ManagedIdentity { client_id } => self.managed(client_id.as_deref()),
            EntraIdentity::Ambient => self.ambient().await,
        }
    }

    /// The identity of the host: a function's or container's own endpoint where there is one, else the machine's. They
    /// answer this machine only: a proxy would read the token, and get that of its own machine.
    fn managed(&self, client_id: Option<&str>) -> Result<Asking> {
        let line = self.line(Way::ThisHost)?;
        let asked = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.map(|id| UserAssignedId::ClientId(id.to_owned())),
            client_options: options(&line, None),
        }));
        let remedy = "give the host an identity, and name its client_id in auth if it has several";
        Ok(Asking {
            who: Who::Platform,
            ..Asking::of("of this host's managed identity".to_owned(), remedy, line, asked)?
        })
    }

    /// What the platform offers, in the order of Microsoft's own clients: an application in the environment, a workload's
    /// federated token, the host's managed identity, and on a developer's machine whoever is signed in.
    async fn ambient(&self) -> Result<Asking> {
        // It reads the environment's names of Azure; its store is not used.
        let environment = MicrosoftAzureBuilder::from_env();
        let told = |key| environment.get_config_value(&key).filter(|value| !value.is_empty());
        let [tenant, client_id] = [told(AzureConfigKey::AuthorityId), told(AzureConfigKey::ClientId)];
        let remedy = "look at AZURE_TENANT_ID, AZURE_CLIENT_ID and what else the environment says of Azure";
        let secret = told(AzureConfigKey::ClientSecret);
        if let (Some(tenant), Some(client_id), Some(secret)) = (&tenant, &client_id, secret) {
            let line = self.line(Way::Network)?;
            let options = ClientSecretCredentialOptions {
                client_options: options(&line, None),
            };
            let asked = ClientSecretCredential::new(tenant, client_id.clone(), secret.into(), Some(options));
            let from = format!("of application {client_id} of the environment");
            return Asking::of(from, remedy, line, asked);
        }
        if told(AzureConfigKey::FederatedTokenFile).is_some() {
            let line = self.line(Way::Network)?;
            let asked = WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions {
                    client_options: options(&line, None),
                },
                ..WorkloadIdentityCredentialOptions::default()
            }));
            return Asking::of("of this workload's identity".to_owned(), remedy, line, asked);
        }
        if told(AzureConfigKey::MsiEndpoint).is_some() {
            return self.managed(client_id.as_deref());
        }
        match is_a_cloud_machine().await {
            true => Ok(Asking {
                who: Who::PerhapsThePlatform,
                ..self.managed(client_id.as_deref())?
            }),
            false => self.signed_in(),
        }
    }

    fn signed_in(&self) -> Result<Asking> {
        let remedy = "sign in by `az login`, or say in auth who asks";
        let asked = AzureCliCredential::new(None);
        let from = "of who is signed in on this machine".to_owned();
        Ok(Asking {
            who: Who::Tool,
            ..Asking::of(from, remedy, self.line(Way::Network)?, asked)?
        })
    }

    /// What was answered is none, or not all of it: others may get one.
    fn no_token(&self, asking: &Asking) -> Refused {
        Refused {
            is_transient: true,
            retry_after: None,
            error: Error::new(self.busy, asking.context()).because("the answer holds no token"),
        }
    }

    fn refused(&self, asking: &Asking, error: &azure_core::Error) -> Refused {
        let context = || asking.context();
        let Some(heard) = asking.line.heard() else {
            return match asking.who {
                // Nobody was asked over the line: the tool says why.
                Who::Tool => {
                    let error = Error::new(ErrorKind::Access, context()).because(http::short(&error.to_string()));
                    Refused::for_good(error)
                }
                Who::Issuer | Who::Platform | Who::PerhapsThePlatform => self.no_token(asking),
            };
        };
        // A platform's endpoint is away while it starts or is updated; any other that is not there is the wrong one.
        let is_absent = matches!(heard.status, Some(404 | 410));
        let is_transient = heard.is_transient || (is_absent && asking.who == Who::Platform);
        let text = match asking.who {
            Who::Issuer if is_absent => {
                "cannot find who gives access tokens: look at authority and tenant of its auth".to_owned()
            }
            _ => context(),
        };
        let kind = match is_transient {
            true => self.busy,
            false => ErrorKind::Access,
        };
        Refused {
            is_transient,
            retry_after: heard.retry_after,
            error: Error::new(kind, text).because(heard.why),
        }
    }
}

/// The storage signs its requests with it.
#[async_trait]
impl CredentialProvider for Entra {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let token = self.kept.current(self.ask()).await;
        let token = token.map_err(|e| object_store::Error::Generic {
            store: "MicrosoftAzure",
            source: Box::new(e),
        })?;
        Ok(Arc::new(AzureCredential::BearerToken(token.reveal().to_owned())))
    }
}

/// By which way a request goes.
#[derive(Clone, Copy)]
enum Way {
    /// By the machine's proxy, where it has one.
    Network,
    /// To nobody but this host.
    ThisHost,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Entra.
    Issuer,
    /// The host's own endpoint, which asks Entra.
    Platform,
    /// The same, taken for Azure's because something answers at its address.
    PerhapsThePlatform,
    /// A program of this machine.
    Tool,
}

/// A credential, and how to speak of it.
struct Asking {
    from: String,
    remedy: &'static str,
    who: Who,
    line: Arc<Line>,
    credential: Arc<dyn TokenCredential>,
}

impl Asking {
    fn of<C: TokenCredential + 'static>(
        from: String,
        remedy: &'static str,
        line: Arc<Line>,
        made: azure_core::Result<Arc<C>>,
    ) -> Result<Self> {
        let text = || format!("cannot ask for an access token {from}: {remedy}");
        // What is wrong with its settings; nothing was asked yet.
        let credential =
            made.map_err(|e| Error::new(ErrorKind::Config, text()).because(http::short(&e.to_string())))?;
        Ok(Self {
            from,
            remedy,
            who: Who::Issuer,
            line,
            credential,
        })
    }

    fn context(&self) -> String {
        format!("cannot get an access token {}: {}", self.from, self.remedy)
    }
}

fn options(line: &Arc<Line>, authority: Option<&str>) -> ClientOptions {
    let cloud = authority.map(|authority| {
        let mut custom = CustomConfiguration::default();
        custom.authority_host = match authority.strip_prefix("http://") {
            Some(host) => format!("https://{host}"),
            None => authority.to_owned(),
        };
        Arc::new(CloudConfiguration::from(custom))
    });
    ClientOptions {
        transport: Some(Transport::new(Arc::clone(line) as Arc<dyn HttpClient>)),
        retry: RetryOptions::none(),
        cloud,
        ..ClientOptions::default()
    }
}

/// Azure's machines, and those of others: the address is the same.
async fn is_a_cloud_machine() -> bool {
    let knock = tokio::net::TcpStream::connect(METADATA);
    matches!(tokio::time::timeout(METADATA_TIMEOUT, knock).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests;
