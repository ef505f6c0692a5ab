//! What each way in asks of the workspace: the token requests of the vendor's own SDK, word for word.
//!
//! It refuses to send a secret anywhere but to the endpoint that issues the token.

use url::form_urlencoded::Serializer;

use super::Tokens;
use crate::config::{DatabricksAuth, EntraIdentity};
use crate::error::Error;
#[cfg(not(feature = "aws"))]
use crate::error::ErrorKind;
use crate::secrets::Secret;
use crate::tokens::Refused;

/// RFC 8693.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What the platform tells a process about where it runs. The host reads it; the library does not look around, but for
/// what the libraries of Azure and AWS look for themselves.
#[derive(Debug, Clone, Default)]
pub struct HostIdentity {
    /// The AWS region it is in (`AWS_REGION`).
    pub region: Option<String>,
    /// Where STS is, if not at its own address (`AWS_ENDPOINT_URL_STS`).
    pub sts: Option<String>,
}

impl HostIdentity {
    /// From the variables of the platform.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            sts: variable("AWS_ENDPOINT_URL_STS"),
        }
    }
}

/// One request for a token: a form to the workspace.
pub(super) struct TokenRequest {
    /// `of service principal …`
    pub from: String,
    /// What to do if it is refused.
    pub remedy: &'static str,
    url: String,
    /// Where the client proves itself in the header.
    basic: Option<(String, Secret)>,
    form: Secret,
}

impl TokenRequest {
    /// The request, ready to go.
    pub fn sending(&self, http: &reqwest::Client) -> reqwest::RequestBuilder {
        let request = http
            .post(&self.url)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form.reveal().to_owned());
        match &self.basic {
            Some((user, password)) => request.basic_auth(user, Some(password.reveal())),
            None => request,
        }
    }
}

/// The word of the configuration.
pub(super) fn name(auth: &DatabricksAuth) -> &'static str {
    match auth {
        DatabricksAuth::Token(_) => "token",
        DatabricksAuth::OauthM2m { .. } => "oauth_m2m",
        DatabricksAuth::Entra(EntraIdentity::Ambient) => "azure_ambient",
        DatabricksAuth::Entra(EntraIdentity::ServicePrincipal { .. }) => "azure_service_principal",
        DatabricksAuth::Entra(EntraIdentity::ManagedIdentity { .. }) => "azure_managed_identity",
        DatabricksAuth::AwsRole { .. } => "aws_role",
        DatabricksAuth::Oidc { .. } => "oidc",
    }
}

/// The request of a way in, its secrets resolved.
pub(super) async fn build(tokens: &Tokens) -> Result<TokenRequest, Refused> {
    let secret = async |key, text| tokens.secret(key, text).await.map_err(Refused::for_good);
    let workspace = format!("{}/oidc/v1/token", tokens.base);
    Ok(match &tokens.auth {
        DatabricksAuth::Token(_) | DatabricksAuth::Entra(_) => {
            return Err(Refused::for_good(Error::bug(
                "the workspace is not asked for this token",
            )));
        }
        DatabricksAuth::OauthM2m {
            client_id,
            client_secret,
        } => TokenRequest {
            from: format!("of service principal {client_id}"),
            remedy: "look at client_id and client_secret under [destination] auth, and whether the secret has ended",
            url: workspace,
            basic: Some((client_id.clone(), secret("client_secret", client_secret).await?)),
            form: form(&[("grant_type", "client_credentials"), ("scope", "all-apis")]),
        },
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
        url: workspace,
        basic: None,
        form: form(&fields),
    }
}

fn form(fields: &[(&str, &str)]) -> Secret {
    Secret::new(Serializer::new(String::new()).extend_pairs(fields).finish())
}
