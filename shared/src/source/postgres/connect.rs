//! From a configuration to a session: name, socket, TLS, login, and a permit that bounds how many there are.
//!
//! It refuses to try again (the caller's message is delivered again), to keep sessions for later (a function that
//! sleeps must hold nothing in the source), and to keep a password: one that is a token lives for minutes, and a run
//! for hours. Every failure here names its remedy.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{OnceCell, Semaphore};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::gate::{Gate, GatedTls};
use super::session::Session;
use super::sqlstate::failed;
use super::tls;
use crate::config::{PostgresConnection, TlsMode};
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::secrets::{Providers, Secret, SecretText, resolve};

/// Load balancers of the clouds forget a silent connection after four minutes; a sort on the server is longer silent.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// With five unanswered probes a dead server is noticed within two minutes and a half.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 5;

type Connect = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect;

/// What it takes to open sessions of one connection.
pub(super) struct Connector {
    /// The connection's name in the configuration, for texts.
    pub(super) name: String,
    pub(super) config: PostgresConnection,
    secrets: Providers,
    tls: OnceCell<Option<MakeRustlsConnect>>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(name: &str, config: &PostgresConnection, secrets: Providers) -> Self {
        Self {
            name: name.to_owned(),
            config: config.clone(),
            secrets,
            tls: OnceCell::new(),
            permits: Arc::new(Semaphore::new(config.max_connections.max(1))),
        }
    }

    /// Opens a session; waits while the connection's limit is reached. `label` shows in the server's list of sessions.
    pub(super) async fn open(&self, label: &str) -> Result<Session> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .or_error(ErrorKind::Bug, || "cannot wait for a connection".to_owned())?;
        // After the wait: what was resolved before it may have expired meanwhile.
        let login = self.login(label).await?;
        let stream = self.socket().await?;
        let entered = self.enter(&login, stream);
        // Between the socket and the login a server can fall silent too.
        let (client, gate, task) = tokio::time::timeout(self.config.connect_timeout, entered)
            .await
            .map_err(|_| self.unreachable("the server does not answer within connect_timeout"))??;
        Ok(Session::new(client, gate, task, permit, self.name.clone()))
    }

    /// Who comes in, and with which word: as its references stand now.
    async fn login(&self, label: &str) -> Result<tokio_postgres::Config> {
        let mut login = tokio_postgres::Config::new();
        let username = self.secret("username", &self.config.username).await?;
        if username.reveal().is_empty() {
            let text = format!("cannot connect to {}: its username is empty: check username", self.name);
            return Err(Error::new(ErrorKind::Config, text));
        }
        login.user(username.reveal()).dbname(&self.config.database);
        if let Some(password) = &self.config.password {
            login.password(self.secret("password", password).await?.reveal());
        }
        login.application_name(label).ssl_mode(match self.config.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::VerifyFull | TlsMode::VerifyCa | TlsMode::Require => SslMode::Require,
        });
        Ok(login)
    }

    async fn secret(&self, key: &str, text: &SecretText) -> Result<Secret> {
        let resolved = resolve(text, &self.secrets).await;
        resolved.map_err(|e| e.while_doing(format!("cannot read the {key} of [connections.{}]", self.name)))
    }

    async fn enter(
        &self,
        login: &tokio_postgres::Config,
        stream: TcpStream,
    ) -> Result<(Client, Gate, tokio::task::JoinHandle<()>)> {
        let explain = |e| self.explain(e);
        if let Some(make) = self.tls().await? {
            let connect = self.named(make);
            let made = Arc::new(Mutex::new(None));
            let gated = GatedTls {
                connect,
                made: Arc::clone(&made),
            };
            let (client, connection) = login.connect_raw(stream, gated).await.map_err(explain)?;
            let gate = made.lock().unwrap_or_else(PoisonError::into_inner).take();
            let gate = gate.ok_or_else(|| Error::bug("the driver went on without TLS"))?;
            Ok((client, gate, tokio::spawn(drive(connection))))
        } else {
            let gate =
                Gate::plain(stream).or_error(ErrorKind::SourceBusy, || format!("cannot connect to {}", self.name))?;
            let (client, connection) = login.connect_raw(gate.clone(), NoTls).await.map_err(explain)?;
            Ok((client, gate, tokio::spawn(drive(connection))))
        }
    }

    async fn tls(&self) -> Result<Option<&MakeRustlsConnect>> {
        let made = self.tls.get_or_try_init(|| async {
            tls::prepare(self.config.tls, self.config.tls_ca_file.as_deref())
                .map_err(|e| e.while_doing(format!("cannot connect to {}", self.name)))
        });
        Ok(made.await?.as_ref())
    }

    fn named(&self, make: &MakeRustlsConnect) -> Connect {
        let Ok(connect) = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut make.clone(), &self.config.host);
        connect
    }

    async fn socket(&self) -> Result<TcpStream> {
        let host = &self.config.host;
        let addresses: Vec<SocketAddr> = lookup_host((host.as_str(), self.config.port))
            .await
            .map_err(|e| {
                self.unreachable("the host's name is not known here: check host, DNS and the private network")
                    .because(e)
            })?
            .collect();
        let mut last = self.unreachable("the host's name has no address");
        for address in addresses {
            match tokio::time::timeout(self.config.connect_timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return self.tuned(stream),
                Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                    let text = "nothing listens there: check host and port, and that the server is up";
                    last = self.unreachable(text).because(e);
                }
                Ok(Err(e)) => last = self.unreachable("the network refused").because(e),
                Err(_) => {
                    last =
                        self.unreachable("no answer within connect_timeout: check firewalls and the private network");
                }
            }
        }
        Err(last)
    }

    fn tuned(&self, stream: TcpStream) -> Result<TcpStream> {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        stream
            .set_nodelay(true)
            .and_then(|()| socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive))
            .or_error(ErrorKind::SourceBusy, || format!("cannot connect to {}", self.name))?;
        Ok(stream)
    }

    fn unreachable(&self, why: &str) -> Error {
        let PostgresConnection { host, port, .. } = &self.config;
        Error::new(
            ErrorKind::Access,
            format!("cannot connect to {} at {host}:{port}: {why}", self.name),
        )
    }

    /// What a failed login means.
    fn explain(&self, error: tokio_postgres::Error) -> Error {
        let PostgresConnection {
            host, port, database, ..
        } = &self.config;
        let doing = format!("cannot connect to {} at {host}:{port}", self.name);
        if let Some(text) = tls::explain(&error, host) {
            return Error::new(ErrorKind::Access, format!("{doing}: {text}")).because(error);
        }
        let text = match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("28P01") => "the server refused the password: check username and password",
            Some("28000") => "the server refused the login: check username and tls, and the server's pg_hba.conf",
            Some("3D000") => {
                let text = format!("{doing}: there is no database '{database}': check database");
                return Error::new(ErrorKind::Access, text).because(error);
            }
            // The driver itself: the server wants a password and none is configured, or a method nobody knows.
            None if error.to_string().contains("authentication") || error.to_string().contains("configuration") => {
                "the login did not succeed: check username and password"
            }
            Some(_) | None => return failed(error, &doing),
        };
        Error::new(ErrorKind::Access, format!("{doing}: {text}")).because(error)
    }

    /// Asks the server to end what the session is doing. Best effort: the socket is closed all the same.
    pub(super) async fn cancel(&self, token: CancelToken) {
        let cancelled = async {
            let stream = self.socket().await?;
            let sent = match self.tls().await? {
                Some(make) => token.cancel_query_raw(stream, self.named(make)).await,
                None => token.cancel_query_raw(stream, NoTls).await,
            };
            sent.map_err(|e| failed(e, "cannot cancel a read"))
        };
        if let Err(e) = cancelled.await {
            tracing::debug!(connection = self.name, error = %e.chain(), "a read that nobody wants was not cancelled");
        }
    }
}

/// Runs the driver's half of a session until the client is dropped.
async fn drive<F>(connection: F)
where
    F: Future<Output = Result<(), tokio_postgres::Error>>,
{
    if let Err(e) = connection.await {
        // Whoever waits for an answer is told as well; this is for the session that nobody was using.
        tracing::debug!(error = %e, "a session with the server ended");
    }
}
