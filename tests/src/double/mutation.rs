//! A loader without one of its precautions: what ours says or hears is changed on its way.
//!
//! So the careless side of a behaviour is our own code, and no switch for it stands in that. It refuses to know what a
//! precaution is good for; who puts a mutation in does.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response, header};
use serde_json::Value;

use super::world::World;

/// What is changed, of every request from now on.
#[derive(Clone, Copy)]
pub struct Mutation {
    /// The JSON of a request; `Null` where it has none.
    pub says: fn(&mut Value),
    /// The JSON of its answer.
    pub hears: fn(&mut Value),
    /// What is said by who has looked around: at the clock, the history, the files.
    pub says_seeing: fn(&Arc<World>, &mut Value),
    /// The same for what is heard.
    pub hears_seeing: fn(&Arc<World>, &mut Value),
    /// The headers of both.
    pub headers: fn(&mut HeaderMap),
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutation").finish_non_exhaustive()
    }
}

/// Larger answers than any of a test.
const ANSWER_BYTES_MAX: usize = 64 << 20;

fn json(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

impl Mutation {
    /// Changes nothing.
    pub const NONE: Self = Self {
        says: |_| (),
        hears: |_| (),
        says_seeing: |_, _| (),
        hears_seeing: |_, _| (),
        headers: |_| (),
    };

    /// A request as it arrives.
    pub(super) fn said(&self, world: &Arc<World>, request: Request<Bytes>) -> Request<Bytes> {
        let (mut parts, bytes) = request.into_parts();
        let mut body = json(&bytes);
        (self.headers)(&mut parts.headers);
        (self.says)(&mut body);
        (self.says_seeing)(world, &mut body);
        let bytes = if body.is_null() { bytes } else { body.to_string().into() };
        Request::from_parts(parts, bytes)
    }

    /// An answer as it arrives.
    pub(super) async fn heard(&self, world: &Arc<World>, answer: Response<Body>) -> Response<Body> {
        let (mut parts, body) = answer.into_parts();
        let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let mut body = json(&bytes);
        (self.headers)(&mut parts.headers);
        (self.hears)(&mut body);
        (self.hears_seeing)(world, &mut body);
        parts.headers.remove(header::CONTENT_LENGTH);
        let bytes = if body.is_null() { bytes } else { body.to_string().into() };
        Response::from_parts(parts, bytes.into())
    }
}
