//! What each way in asks of whom: the token requests of the vendor's own SDK, word for word.
//!
//! It refuses to send a secret anywhere but to the endpoint that issues the token.

use std::fmt;

use reqwest::header::HeaderValue;
use url::form_urlencoded::Serializer;

use super::{Refused, Tokens};
use crate::config::DatabricksAuth;
use crate::error::Error;
#[cfg(not(feature = "aws"))]
use crate::error::ErrorKind;
use crate::secrets::Secret;

/// The Databricks application in every Entra cloud (public, government, China).
const DATABRICKS_APPLICATION: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
/// Entra of the public cloud.
const ENTRA: &str = "https://login.microsoftonline.com";
/// The instance metadata service of an Azure machine; plain HTTP, from the same machine only.
const IMDS: &str = "http://169.254.169.254";
/// What says where the workspace is.
const HOST: &str = "host under [destination]";
/// RFC 8693.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What the platform tells a process about its own identity. The host reads it; the library does not look around.
#[derive(Clone)]
pub struct HostIdentity {
    /// Where Azure Functions and Container Apps issue tokens (`IDENTITY_ENDPOINT`), with what their header must say
    /// (`IDENTITY_HEADER`). The metadata service of machines does not exist there.
    pub endpoint: Option<(String, Secret)>,
    /// The metadata service of a machine.
    pub metadata: String,
    /// The AWS region it is in (`AWS_REGION`).
    pub region: Option<String>,
    /// Where STS is, if not at its own address (`AWS_ENDPOINT_URL_STS`).
    pub sts: Option<String>,
}

impl Default for HostIdentity {
    fn default() -> Self {
        Self {
            endpoint: None,
            metadata: IMDS.to_owned(),
            region: None,
            sts: None,
        }
    }
}

impl fmt::Debug for HostIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map(|(url, _)| url);
        write!(f, "HostIdentity({endpoint:?}, {})", self.metadata)
    }
}

impl HostIdentity {
    /// From the variables of the platform.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let endpoint = variable("IDENTITY_ENDPOINT").zip(variable("IDENTITY_HEADER"));
        Self {
            endpoint: endpoint.map(|(url, header)| (url, Secret::new(header))),
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            sts: variable("AWS_ENDPOINT_URL_STS"),
            ..Self::default()
        }
    }
}

/// One request for a token.
pub(super) struct TokenRequest {
    /// `of Entra tenant …`
    pub from: String,
    /// What to do if it is refused.
    pub remedy: &'static str,
    /// What says where it goes, should nobody be there.
    pub place: &'static str,
    url: String,
    how: How,
}

enum How {
    /// A form; with basic authentication where the client proves itself in the header.
    Post {
        basic: Option<(String, Secret)>,
        form: Secret,
    },
    /// With one header.
    Get { header: (&'static str, Secret) },
}

impl TokenRequest {
    /// Whether it goes to an endpoint that the platform keeps for this host alone.
    pub fn asks_this_host(&self) -> bool {
        matches!(self.how, How::Get { .. })
    }

    /// The request, ready to go.
    pub fn sending(&self, http: &reqwest::Client) -> reqwest::RequestBuilder {
        match &self.how {
            How::Get { header: (name, value) } => {
                let request = http.get(&self.url);
                match HeaderValue::from_str(value.reveal()) {
                    Ok(mut value) => {
                        // Not printed by whoever prints the request.
                        value.set_sensitive(true);
                        request.header(*name, value)
                    }
                    // Refused when it is sent, by the library's own words.
                    Err(_) => request.header(*name, value.reveal()),
                }
            }
            How::Post { basic, form } => {
                let request = http
                    .post(&self.url)
                    .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.reveal().to_owned());
                match basic {
                    Some((user, password)) => request.basic_auth(user, Some(password.reveal())),
                    None => request,
                }
            }
        }
    }
}

/// The word of the configuration.
pub(super) fn name(auth: &DatabricksAuth) -> &'static str {
    match auth {
        DatabricksAuth::Token(_) => "token",
        DatabricksAuth::OauthM2m { .. } => "oauth_m2m",
        DatabricksAuth::AzureServicePrincipal { .. } => "azure_service_principal",
        DatabricksAuth::AzureManagedIdentity { .. } => "azure_managed_identity",
        DatabricksAuth::AwsRole { .. } => "aws_role",
        DatabricksAuth::Oidc { .. } => "oidc",
    }
}

/// The request of a way in, its secrets resolved.
pub(super) async fn build(tokens: &Tokens) -> Result<TokenRequest, Refused> {
    let secret = async |key, text| tokens.secret(key, text).await.map_err(Refused::for_good);
    let workspace = format!("{}/oidc/v1/token", tokens.base);
    Ok(match &tokens.auth {
        // Not asked for; resolved where it is used.
        DatabricksAuth::Token(_) => return Err(Refused::for_good(Error::bug("a personal token is not asked for"))),
        DatabricksAuth::OauthM2m {
            client_id,
            client_secret,
        } => TokenRequest {
            from: format!("of service principal {client_id}"),
            remedy: "look at client_id and client_secret under [destination] auth, and whether the secret has ended",
            place: HOST,
            url: workspace,
            how: How::Post {
                basic: Some((client_id.clone(), secret("client_secret", client_secret).await?)),
                form: form(&[("grant_type", "client_credentials"), ("scope", "all-apis")]),
            },
        },
        DatabricksAuth::AzureServicePrincipal {
            tenant,
            client_id,
            client_secret,
            authority,
        } => {
            let authority = authority.as_deref().unwrap_or(ENTRA).trim_end_matches('/');
            let secret = secret("client_secret", client_secret).await?;
            TokenRequest {
                from: format!("of application {client_id} in tenant {tenant}"),
                remedy: "look at tenant, client_id and client_secret under [destination] auth",
                place: "authority and tenant under [destination] auth",
                url: format!("{authority}/{tenant}/oauth2/token"),
                how: How::Post {
                    basic: None,
                    form: form(&[
                        ("grant_type", "client_credentials"),
                        ("client_id", client_id),
                        ("client_secret", secret.reveal()),
                        ("resource", DATABRICKS_APPLICATION),
                    ]),
                },
            }
        }
        DatabricksAuth::AzureManagedIdentity { client_id } => managed(tokens, client_id.as_deref()),
        DatabricksAuth::Oidc { token, client_id } => {
            let subject = secret("token", token).await?;
            exchange(workspace, &subject, client_id.as_deref())
        }
        DatabricksAuth::AwsRole {
            client_id,
            audience,
            region,
        } => {
            let audience = audience.as_deref().unwrap_or(&workspace);
            let subject = of_aws(tokens, audience, region.as_deref()).await?;
            exchange(workspace, &subject, client_id.as_deref())
        }
    })
}

#[cfg(feature = "aws")]
use super::aws::token as of_aws;

#[cfg(not(feature = "aws"))]
async fn of_aws(_: &Tokens, _: &str, _: Option<&str>) -> Result<Secret, Refused> {
    let text = "cannot prove an AWS role: this program was built without the feature aws";
    Err(Refused::for_good(Error::new(ErrorKind::Unsupported, text)))
}

/// RFC 8693: a token of somebody whom the workspace trusts, for one of its own.
fn exchange(workspace: String, subject: &Secret, client_id: Option<&str>) -> TokenRequest {
    let mut fields = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject.reveal().trim()),
        ("subject_token_type", JWT),
        ("scope", "all-apis"),
    ];
    fields.extend(client_id.map(|id| ("client_id", id)));
    TokenRequest {
        from: "in exchange for the platform's".to_owned(),
        remedy: "look at the federation policy of the service principal: issuer, subject and audience must be the token's",
        place: HOST,
        url: workspace,
        how: How::Post {
            basic: None,
            form: form(&fields),
        },
    }
}

/// The identity of the host: a function's or container's own endpoint where there is one, else the machine's.
fn managed(tokens: &Tokens, client_id: Option<&str>) -> TokenRequest {
    let mut query = Serializer::new(String::new());
    let (url, header) = match &tokens.identity.endpoint {
        Some((url, header)) => {
            query.append_pair("api-version", "2019-08-01");
            (url.clone(), ("X-IDENTITY-HEADER", header.clone()))
        }
        None => {
            query.append_pair("api-version", "2018-02-01");
            let url = format!("{}/metadata/identity/oauth2/token", tokens.identity.metadata);
            (url, ("Metadata", Secret::new("true")))
        }
    };
    query.append_pair("resource", DATABRICKS_APPLICATION);
    if let Some(id) = client_id {
        query.append_pair("client_id", id);
    }
    TokenRequest {
        from: "of this host's managed identity".to_owned(),
        remedy: "give the host an identity, and name its client_id under [destination] auth if it has several",
        place: "IDENTITY_ENDPOINT, which the platform sets",
        url: format!("{url}?{}", query.finish()),
        how: How::Get { header },
    }
}

fn form(fields: &[(&str, &str)]) -> Secret {
    Secret::new(Serializer::new(String::new()).extend_pairs(fields).finish())
}
