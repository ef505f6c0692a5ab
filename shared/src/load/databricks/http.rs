//! HTTP as every request of this loader uses it: to the workspace, to the endpoints of tokens, to the staging account.
//!
//! It refuses to follow redirects, and to put an address into an error: tokens and signatures stand in some.

use std::time::Duration;

use crate::error::{ErrorKind, OrError as _, Result};

/// Plain: driver look-alikes change how the server behaves.
pub(super) const USER_AGENT: &str = concat!("lakeward/", env!("CARGO_PKG_VERSION"));
/// A host that is there answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No redirects: none of the APIs has any, and a token must not follow one.
pub(super) fn client(request_max: Duration) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(request_max)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .or_error(ErrorKind::Config, || {
            "cannot set up TLS for the destination: look at the machine's certificates".to_owned()
        })
}

/// The innermost cause: the outer ones repeat the address.
pub(super) fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
