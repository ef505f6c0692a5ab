//! Stands before a server of any kind and can be cut: all connections end, new ones are refused until it is mended.
//!
//! It refuses to understand what it passes on. Neighbour: `counting_proxy`, which never ends a connection.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A proxy; it ends with the test's runtime.
#[derive(Debug)]
pub struct CutProxy {
    address: SocketAddr,
    server: String,
    /// `None` while it is cut.
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl CutProxy {
    /// Before `host:port`.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let serving = tokio::spawn(serve(listener, server.to_owned()));
        Self {
            address,
            server: server.to_owned(),
            serving: Mutex::new(Some(serving)),
        }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends every connection; whoever comes finds that nothing listens.
    pub async fn cut(&self) {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        let serving = serving.expect("it is not cut yet");
        serving.abort();
        // The listener and the connections are gone when the task is.
        let ended = serving.await;
        assert!(ended.is_err_and(|e| e.is_cancelled()), "it served until now");
    }

    /// Lets them in again, at the same port.
    pub async fn mend(&self) {
        let listener = TcpListener::bind(self.address).await.expect("its port is still free");
        let serving = tokio::spawn(serve(listener, self.server.clone()));
        let before = self
            .serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(serving);
        assert!(before.is_none(), "it was cut");
    }
}

async fn serve(listener: TcpListener, server: String) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let mut server = TcpStream::connect(&server).await.expect("the server is up");
        connections.spawn(async move { copy_bidirectional(&mut client, &mut server).await });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_ends_what_is_open_and_refuses_what_comes_until_it_is_mended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut server, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = server.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let proxy = CutProxy::before(&address.to_string()).await;
        let echoed = async |client: &mut TcpStream| {
            client.write_all(b"echo").await?;
            let mut back = [0; 4];
            client.read_exact(&mut back).await.map(|_| back)
        };
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert_eq!(&echoed(&mut client).await.unwrap(), b"echo");
        proxy.cut().await;
        assert!(echoed(&mut client).await.is_err());
        let refused = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        proxy.mend().await;
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert_eq!(&echoed(&mut client).await.unwrap(), b"echo");
    }
}
