//! Amazon S3 and servers that speak its protocol, by `s3://bucket/prefix`.
//!
//! It refuses to write without conditions: `If-None-Match` and `If-Match` carry the protocol, and `probe` finds the
//! servers that only pretend to honour them.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut, S3CopyIfNotExists};

use super::{OpenStore, authority_and_root, client_options, retry_config};
use crate::config::{StoreAuth, StoreConfig};
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::secrets::{Providers, resolve};

pub(super) async fn open(config: &StoreConfig, rest: &str, secrets: &Providers) -> Result<OpenStore> {
    let (bucket, root) = authority_and_root(config, rest)?;
    let mut builder = match &config.auth {
        // The platform's chain: AWS_… variables, web identity, task or pod role, then the instance profile.
        StoreAuth::Ambient => AmazonS3Builder::from_env(),
        StoreAuth::AccessKey { id, secret, token } => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(resolve(id, secrets).await?.reveal())
                .with_secret_access_key(resolve(secret, secrets).await?.reveal());
            match token {
                Some(token) => builder.with_token(resolve(token, secrets).await?.reveal()),
                None => builder,
            }
        }
        _ => {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot open store '{}': these credentials are for Azure; give access_key_id and \
                     secret_access_key, or none to use the host's role",
                    config.url
                ),
            ));
        }
    };
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    builder = match &config.endpoint {
        // Private servers rarely resolve a host name per bucket: path style, as object_store does it by itself.
        Some(endpoint) => builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false),
        None => builder.with_virtual_hosted_style_request(!bucket.contains('.')),
    };
    let store = builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // S3 ignores If-None-Match on a copy; only the end of a multipart upload honours it.
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
        .with_retry(retry_config())
        .with_client_options(client_options(config))
        .build()
        .or_error(ErrorKind::Config, || {
            format!(
                "cannot open store '{}': the bucket or its credentials are not complete",
                config.url
            )
        })?;
    Ok(OpenStore {
        store: Arc::new(store),
        root,
    })
}
