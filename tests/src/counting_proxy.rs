//! Stands before an HTTP server and puts down what is asked of it: one line a request, `PUT /account/container/name`.
//!
//! It passes every byte on as it came and refuses to understand more than where a request begins and ends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A proxy; it ends with the test's runtime.
#[derive(Debug)]
pub struct CountingProxy {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl CountingProxy {
    /// Before `http://host:port`.
    pub async fn before(server: &str) -> Self {
        let address = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.expect("the server is up");
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                tokio::spawn(requests(from_client, to_server, Arc::clone(&seen)));
            }
        });
        Self { port, lines }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends when one side does.
async fn requests(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, seen: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    // Of the request whose head was passed on, what of its body has not come yet.
    let mut body_left = 0;
    let mut chunk = vec![0; 64 << 10];
    while let Ok(length @ 1..) = client.read(&mut chunk).await {
        if server.write_all(&chunk[..length]).await.is_err() {
            return;
        }
        bytes.extend_from_slice(&chunk[..length]);
        loop {
            let body = body_left.min(bytes.len());
            bytes.drain(..body);
            body_left -= body;
            let Some(end) = bytes
                .windows(4)
                .position(|w| w == b"\r\n\r\n")
                .filter(|_| body_left == 0)
            else {
                break;
            };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
            body_left = body_length(&head);
            let line = head
                .lines()
                .next()
                .unwrap_or_default()
                .trim_end_matches(" HTTP/1.1")
                .to_owned();
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

fn body_length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths
        .next()
        .map_or(0, |(_, length)| length.trim().parse().expect("a length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_told_apart_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drain = tokio::spawn(async move {
            let (mut server, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            all
        });
        let proxy = CountingProxy::before(&format!("http://{address}")).await;
        let text = "PUT /a HTTP/1.1\r\ncontent-LENGTH: 9\r\n\r\nGET /no\r\nGET /b?x=1 HTTP/1.1\r\n\r\nHEAD /c HTTP/1.1\r\n\r\n";
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        for piece in text.as_bytes().chunks(7) {
            client.write_all(piece).await.unwrap();
            client.flush().await.unwrap();
        }
        client.shutdown().await.unwrap();
        assert_eq!(drain.await.unwrap(), text.as_bytes());
        assert_eq!(proxy.take(), ["PUT /a", "GET /b?x=1", "HEAD /c"]);
    }
}
