//! An HTTP/1.1 client that sends exactly what it is told, over TCP, TLS or a Unix socket.
//!
//! Written here because a proper client refuses to send half of what an attacker sends: two
//! `Authorization` fields, forged hop-by-hop fields, a bare line feed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::certificate::Certificate;
use crate::poll;

mod pinned;
mod response;

pub use response::Response;

/// Where to send requests, and the token that goes with them.
#[derive(Debug, Clone)]
pub struct Client {
    place: Place,
    token: Option<String>,
}

#[derive(Debug, Clone)]
enum Place {
    Plain(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
    Unix(PathBuf),
}

impl Client {
    /// Speaks plain HTTP.
    #[must_use]
    pub const fn plain(address: SocketAddr) -> Self {
        Self {
            place: Place::Plain(address),
            token: None,
        }
    }

    /// Speaks TLS, and accepts exactly the certificate with this SHA-256.
    #[must_use]
    pub fn pinned(address: SocketAddr, fingerprint: [u8; 32]) -> Self {
        Self {
            place: Place::Tls(address, pinned::configuration(fingerprint)),
            token: None,
        }
    }

    /// Returns the same client, which offers HTTP/2 alone; its connections carry bytes, for nothing
    /// here knows frames.
    ///
    /// # Panics
    /// When it speaks no TLS.
    #[must_use]
    pub fn offering_http2(&self) -> Self {
        let Place::Tls(address, configuration) = &self.place else {
            panic!("HTTP/2 is offered over TLS alone");
        };
        let mut configuration = ClientConfig::clone(configuration);
        configuration.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            place: Place::Tls(*address, Arc::new(configuration)),
            token: self.token.clone(),
        }
    }

    /// Returns the same client, which shows a certificate of its own.
    ///
    /// # Panics
    /// When it speaks no TLS, or the pair cannot be read.
    #[must_use]
    pub fn presenting(&self, pair: &Certificate) -> Self {
        let Place::Tls(address, configuration) = &self.place else {
            panic!("a certificate is shown over TLS alone");
        };
        let configuration = pinned::presenting(configuration, pair);
        Self {
            place: Place::Tls(*address, Arc::new(configuration)),
            token: self.token.clone(),
        }
    }

    /// Speaks plain HTTP over a Unix socket.
    #[must_use]
    pub const fn unix(socket: PathBuf) -> Self {
        Self {
            place: Place::Unix(socket),
            token: None,
        }
    }

    /// Returns the same client with a bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            place: self.place.clone(),
            token: Some(token.to_owned()),
        }
    }

    /// Begins a request.
    #[must_use]
    pub fn request(&self, method: &str, target: &str) -> Request<'_> {
        Request {
            client: self,
            method: method.to_owned(),
            target: target.to_owned(),
            host: match &self.place {
                Place::Plain(address) | Place::Tls(address, _) => {
                    format!("localhost:{}", address.port())
                }
                Place::Unix(_) => "runtime".to_owned(),
            },
            fields: self
                .token
                .iter()
                .map(|token| ("Authorization".to_owned(), format!("Bearer {token}")))
                .collect(),
            body: None,
        }
    }

    /// Asks for `target`.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target).send()
    }

    /// Sends JSON to `target`.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn post(&self, target: &str, body: &Value) -> Response {
        self.request("POST", target).json(body).send()
    }

    /// Opens a connection that stays open over several requests.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection(BufReader::new(self.stream().expect("somebody listens")))
    }

    /// Sends bytes as they are and returns all that comes back until the other side closes.
    ///
    /// # Panics
    /// When nobody listens, or the other side neither answers nor closes.
    #[must_use]
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream().expect("somebody listens");
        // The other side may close before it has read everything.
        drop(stream.write_all(bytes).and_then(|()| stream.flush()));
        let mut answer = Vec::new();
        read_to_close(&mut stream, &mut answer);
        answer
    }

    /// Returns whether a connection can be made at all.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.stream().is_ok()
    }

    fn stream(&self) -> io::Result<Box<dyn Stream>> {
        match &self.place {
            Place::Plain(address) => Ok(Box::new(tcp(*address)?)),
            Place::Tls(address, configuration) => {
                let stream = tcp(*address)?;
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session = ClientConnection::new(Arc::clone(configuration), name)
                    .map_err(io::Error::other)?;
                Ok(Box::new(StreamOwned::new(session, stream)))
            }
            Place::Unix(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(poll::PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(poll::PATIENCE))?;
    stream.set_write_timeout(Some(poll::PATIENCE))?;
    Ok(stream)
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A request on its way out.
#[derive(Debug, Clone)]
pub struct Request<'client> {
    client: &'client Client,
    method: String,
    target: String,
    host: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request<'_> {
    /// Adds a header field, also if it is there already.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names another host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sends JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        let mut request = self.field("Content-Type", "application/json");
        request.body = Some(body.to_string().into_bytes());
        request
    }

    /// Sends bytes.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    /// Sends it on a connection of its own and returns the answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn send(self) -> Response {
        let last = self.clone().field("Connection", "close");
        let mut connection = self.client.connect();
        connection.send(&last)
    }

    /// Sends it on a connection of its own; none if there is no whole answer.
    #[must_use]
    pub fn try_send(self) -> Option<Response> {
        let last = self.clone().field("Connection", "close");
        let mut stream = BufReader::new(self.client.stream().ok()?);
        stream.get_mut().write_all(&last.to_bytes()).ok()?;
        stream.get_mut().flush().ok()?;
        Response::read(&mut stream, &last.method).ok()
    }

    /// Returns the bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.target, self.host
        );
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        } else if self.method == "POST" {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// A connection that stays open.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connection")
    }
}

impl Connection {
    /// Sends a request and returns the answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn send(&mut self, request: &Request<'_>) -> Response {
        let line = format!("{} {}", request.method, request.target);
        // An answer may come, and the connection close, before a long body was read.
        drop(self.0.get_mut().write_all(&request.to_bytes()));
        drop(self.0.get_mut().flush());
        Response::read(&mut self.0, &request.method)
            .unwrap_or_else(|error| panic!("no answer to {line}: {error}"))
    }
}

impl Connection {
    /// Sends a request and returns the head of its answer; the body is read by [`Self::read`].
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn open(&mut self, request: &Request<'_>) -> Response {
        self.write(&request.to_bytes());
        Response::read(&mut self.0, "HEAD").expect("an answer")
    }

    /// Sends bytes as they are; the other side may be gone.
    pub fn write(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        drop(stream.write_all(bytes).and_then(|()| stream.flush()));
    }

    /// Sends bytes as they are; returns whether the other side still takes them.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        let stream = self.0.get_mut();
        stream
            .write_all(bytes)
            .and_then(|()| stream.flush())
            .is_ok()
    }

    /// Returns the next bytes that come; none at the end.
    ///
    /// # Panics
    /// When neither bytes nor the end come.
    #[must_use]
    pub fn read(&mut self) -> Vec<u8> {
        let found = match self.0.fill_buf() {
            Ok(found) => found.to_owned(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("neither bytes nor the end came")
            }
            Err(_) => Vec::new(),
        };
        self.0.consume(found.len());
        found
    }

    /// Returns all that comes until `wanted` has come.
    ///
    /// # Panics
    /// When the end comes before.
    pub fn read_until(&mut self, wanted: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !bytes.windows(wanted.len()).any(|window| window == wanted) {
            let found = self.read();
            assert!(
                !found.is_empty(),
                "ended before {:?}: {:?}",
                String::from_utf8_lossy(wanted),
                String::from_utf8_lossy(&bytes)
            );
            bytes.extend(found);
        }
        bytes
    }

    /// Returns all that comes until the other side closes.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let found = self.read();
            if found.is_empty() {
                return bytes;
            }
            bytes.extend(found);
        }
    }
}

/// Reads all there is; a connection that was cut ends as well as one that was closed.
fn read_to_close(stream: &mut impl Read, bytes: &mut Vec<u8>) {
    let mut reader = BufReader::new(stream);
    loop {
        let found = match reader.fill_buf() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!(
                    "neither answered nor closed: {}",
                    String::from_utf8_lossy(bytes)
                )
            }
            Err(_) => return,
        };
        if found.is_empty() {
            return;
        }
        bytes.extend(found);
        let length = found.len();
        reader.consume(length);
    }
}
