//! HTTP: accepts, lets faults act, checks who comes, and hands on to the endpoints.
//!
//! It refuses to answer where a fault says so: then the connection is closed, and the client knows nothing. `statements`,
//! `tokens`, `sts`, `warehouses`, `unity`, `history` and `files` are the endpoints, `shapes` their JSON.

mod files;
mod history;
mod shapes;
mod statements;
mod sts;
mod tokens;
mod unity;
mod warehouses;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use axum::routing::{get, post, put};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::access::Verdict;
use super::faults::{Misbehaviour, On};
use super::lock;
use super::statement::Statement;
use super::switches::Switches;
use super::world::World;

type Shared = State<Arc<World>>;
type Answer = Response<Body>;

/// Larger bodies than any statement or part of a test.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Listens on a free port until the runtime ends.
pub async fn serve(world: Arc<World>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    let router = router(Arc::clone(&world));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (world, router) = (Arc::clone(&world), router.clone());
            let service = service_fn(move |request| handle(Arc::clone(&world), router.clone(), request));
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            });
        }
    });
    url
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/api/2.0/sql/statements", post(statements::submit))
        .route("/api/2.0/sql/statements/", post(statements::submit))
        .route(
            "/api/2.0/sql/statements/{id}",
            get(statements::poll).delete(statements::close),
        )
        .route("/api/2.0/sql/statements/{id}/cancel", post(statements::cancel))
        .route(
            "/api/2.0/sql/statements/{id}/result/chunks/{index}",
            get(statements::chunk),
        )
        .route("/external/{id}/{index}/{until}", get(statements::external))
        .route("/api/2.0/sql/history/queries", get(history::queries))
        .route("/api/2.0/sql/warehouses/{id}", get(warehouses::look))
        .route("/api/2.0/sql/warehouses/{id}/start", post(warehouses::start))
        .route("/oidc/v1/token", post(tokens::workspace))
        .route("/oidc/.well-known/oauth-authorization-server", get(tokens::discovery))
        .route("/aad/auth", get(tokens::tenant))
        .route("/{tenant}/oauth2/v2.0/token", post(tokens::entra))
        .route("/metadata/identity/oauth2/token", get(tokens::imds))
        .route("/msi/token", get(tokens::app_service))
        .route("/sts", post(sts::proof))
        .route("/api/2.0/preview/scim/v2/Me", get(unity::me))
        .route(
            "/api/2.0/permissions/warehouses/{id}",
            get(unity::warehouse_permissions),
        )
        .route(
            "/api/2.1/unity-catalog/effective-permissions/{kind}/{name}",
            get(unity::effective),
        )
        .route(
            "/api/2.1/unity-catalog/permissions/{kind}/{name}",
            get(unity::effective),
        )
        .route("/api/2.1/unity-catalog/{kind}/{name}", get(unity::look))
        .route(
            "/api/2.0/unity-catalog/temporary-path-credentials",
            post(unity::path_credentials),
        )
        .route(
            "/api/2.0/fs/files/{*path}",
            put(files::put).get(files::get).delete(files::delete),
        )
        .fallback(async || shapes::refused(404, &json!("ENDPOINT_NOT_FOUND"), "No API found for this path."))
        // A statement may have 16 MiB and a file more: `BODY_BYTES_MAX` is the only limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(world)
}

fn kind_of(method: &Method, path: &str) -> On {
    let statement = path
        .strip_prefix("/api/2.0/sql/statements")
        .map(|rest| rest.trim_matches('/'));
    match statement {
        Some("") if method == Method::POST => On::Submit,
        Some(rest) if rest.ends_with("/cancel") => On::Cancel,
        Some(rest) if rest.contains("/result/chunks/") => On::Chunk,
        Some(_) if method == Method::GET => On::Poll,
        _ if path.ends_with("/token") => On::Token,
        _ => On::Other,
    }
}

/// The statement that a path names.
fn statement_of(world: &World, path: &str) -> Option<Arc<Statement>> {
    let id = path.strip_prefix("/api/2.0/sql/statements/")?.split('/').next()?;
    world.statements().into_iter().find(|statement| statement.id == id)
}

async fn handle(world: Arc<World>, router: Router, request: Request<hyper::body::Incoming>) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), BODY_BYTES_MAX)
        .await
        .map_err(io::Error::other)?;
    let path = parts.uri.path().to_owned();
    let on = kind_of(&parts.method, &path);
    let agent = text_of(&parts.headers, header::USER_AGENT.as_str()).unwrap_or_default();
    let line = format!("{} {path}", parts.method);
    let index = world.journal.comes(on, &line, agent);
    // A GET is about a statement, and a fault knows that by its text.
    let asked = statement_of(&world, &path);
    let text = asked.as_ref().map_or_else(
        || String::from_utf8_lossy(&body).into_owned(),
        |statement| statement.request.sql.clone(),
    );
    let fault = world.faults.take_http(on, &text);
    let mutation = *lock(&world.mutation);
    let mut request = Request::from_parts(parts, body);
    if let Some(mutation) = mutation {
        request = mutation.said(&world, request);
    }
    if let Some(Misbehaviour::ComesLate { by, once_ended }) = fault {
        if let Some(statement) = asked.filter(|_| once_ended) {
            statement.ended().await;
        }
        world.advance(by);
    }
    let answer = behave(&world, router, request, on, fault).await?;
    let answer = loosened(&world, on, answer).await;
    world.journal.answered(index, answer.status().as_u16());
    Ok(match mutation {
        Some(mutation) => mutation.heard(&world, answer).await,
        None => answer,
    })
}

/// Refusals and tokens hold fields that nobody knows, too.
async fn loosened(world: &World, on: On, answer: Answer) -> Answer {
    if on != On::Token && answer.status().as_u16() < 400 {
        return answer;
    }
    let switches = Switches {
        omit_zeros: false,
        ..world.switches()
    };
    let (mut parts, body) = answer.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let bytes = match serde_json::from_slice::<Value>(&bytes) {
        Ok(body) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            shapes::loosen(body, &switches).to_string().into()
        }
        Err(_) => bytes,
    };
    Answer::from_parts(parts, Body::from(bytes))
}

async fn behave(
    world: &Arc<World>,
    router: Router,
    request: Request<Bytes>,
    on: On,
    fault: Option<Misbehaviour>,
) -> io::Result<Answer> {
    let closed = || io::Error::new(io::ErrorKind::ConnectionAborted, "the test wants it so");
    match fault {
        Some(Misbehaviour::Drop) => return Err(closed()),
        Some(Misbehaviour::Refuse { status, retry_after }) => return Ok(busy(world, on, status, retry_after)),
        Some(Misbehaviour::RefuseSaying { status, text }) => {
            return Ok(shapes::refused(status, &json!("BAD_REQUEST"), text));
        }
        _ => {}
    }
    // Who is to lose the answer loses it at once, however long it would have waited for it.
    let request = match fault {
        Some(Misbehaviour::AnswerAtOnce | Misbehaviour::AcceptThenDrop) if on == On::Submit => {
            request.map(|body| without_waiting(&body))
        }
        _ => request,
    };
    let answer = enter(world, router, request).await;
    match fault {
        Some(Misbehaviour::RunThenDrop) => {
            run_to_end(world, answer).await;
            Err(closed())
        }
        Some(Misbehaviour::RunThenHang) => {
            run_to_end(world, answer).await;
            // Until the client's own time is up, and it goes.
            std::future::pending().await
        }
        Some(Misbehaviour::AcceptThenDrop) => Err(closed()),
        Some(Misbehaviour::Delay(by)) => {
            tokio::time::sleep(by).await;
            Ok(answer)
        }
        Some(Misbehaviour::RunThenAnswer { status }) => {
            run_to_end(world, answer).await;
            Ok(busy(world, on, status, None))
        }
        _ => Ok(answer),
    }
}

/// A submission of somebody who does not wait.
fn without_waiting(body: &Bytes) -> Bytes {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["wait_timeout"] = json!("0s");
    body.to_string().into()
}

/// Nothing of the answer reaches the client, but what it asked for is done.
async fn run_to_end(world: &World, answer: Answer) {
    let bytes = to_bytes(answer.into_body(), BODY_BYTES_MAX).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(statement) = world.find(body["statement_id"].as_str().unwrap_or_default()).await {
        statement.ended().await;
    }
}

fn busy(world: &World, on: On, status: u16, retry_after: Option<u64>) -> Answer {
    let code = match status {
        429 => "REQUEST_LIMIT_EXCEEDED",
        503 => "TEMPORARILY_UNAVAILABLE",
        _ => "INTERNAL_ERROR",
    };
    let mut answer = shapes::refused(status, &json!(code), "The service is busy; please try again.");
    if let Some(seconds) = retry_after {
        world.journal.told_to_wait(on, std::time::Duration::from_secs(seconds));
        let value = seconds.to_string().parse().expect("digits are a header's value");
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
    answer
}

/// Token endpoints judge for themselves, and external links refuse whoever shows a token.
async fn enter(world: &Arc<World>, router: Router, request: Request<Bytes>) -> Answer {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        match world
            .access
            .judge(text_of(request.headers(), "authorization"), world.now())
        {
            Verdict::Good => {}
            Verdict::Missing => return shapes::unauthenticated(),
            Verdict::Wrong => return shapes::refused(403, &json!(403), "Invalid access token."),
        }
    }
    let mut answer = tower_call(router, request.map(Body::from)).await;
    let id = world.new_id("0000").parse().expect("an id is a header's value");
    answer.headers_mut().insert("x-request-id", id);
    answer
        .headers_mut()
        .insert("x-databricks-org-id", "1234567890123456".parse().expect("digits"));
    answer
}

async fn tower_call(router: Router, request: Request<Body>) -> Answer {
    use hyper::service::Service;
    let service = hyper_util::service::TowerToHyperService::new(router);
    match service.call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("tests use statuses that exist")
}
