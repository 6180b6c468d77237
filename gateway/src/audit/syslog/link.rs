//! The connection to a syslog receiver: datagrams, a stream with counted octets (RFC 6587), or the
//! same inside TLS (RFC 5425).
//!
//! Invariant: nothing waits longer than its bound, and a receiver that has closed is noticed before
//! the next batch. The system holds few of our bytes, so that little is lost with a connection.

use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use config::gateway::audit::{Syslog, SyslogProtocol};
use rustix::net::RecvFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longest wait for a connection, and for the receiver to take bytes.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What the system may hold of our bytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How much is gathered before it is handed to the system.
const GATHER_BYTES: usize = 32 * 1024;

/// Makes connections.
pub(super) struct Dialler {
    receiver: Syslog,
    name: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection.
pub(super) enum Link {
    Udp(UdpSocket),
    Tcp(BufWriter<TcpStream>),
    Tls(Box<BufWriter<StreamOwned<ClientConnection, TcpStream>>>),
}

impl Dialler {
    /// Reads the certificate authorities, if there are any to be read.
    pub(super) fn new(receiver: &Syslog) -> io::Result<Self> {
        let tls = match &receiver.ca {
            Some(path) if receiver.protocol == SyslogProtocol::Tls => {
                let malformed = |error: &dyn std::fmt::Display| {
                    io::Error::new(ErrorKind::InvalidData, error.to_string())
                };
                let mut roots = RootCertStore::empty();
                for certificate in
                    CertificateDer::pem_file_iter(path).map_err(|error| malformed(&error))?
                {
                    let certificate = certificate.map_err(|error| malformed(&error))?;
                    roots.add(certificate).map_err(|error| malformed(&error))?;
                }
                if roots.is_empty() {
                    return Err(malformed(&"holds no certificate"));
                }
                let config = ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                Some(Arc::new(config))
            }
            Some(_) | None => None,
        };
        Ok(Self {
            name: format!(
                "{}://{}:{}",
                receiver.protocol, receiver.host, receiver.port
            ),
            receiver: receiver.clone(),
            tls,
        })
    }

    /// Returns the receiver's name for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connects.
    pub(super) fn dial(&self) -> io::Result<Link> {
        let host = self.receiver.host.as_str();
        let addresses = (host, self.receiver.port).to_socket_addrs()?;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match self.dial_one(address) {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn dial_one(&self, address: SocketAddr) -> io::Result<Link> {
        if self.receiver.protocol == SyslogProtocol::Udp {
            let from: SocketAddr = if address.is_ipv4() {
                ([0, 0, 0, 0], 0).into()
            } else {
                ([0_u16; 8], 0).into()
            };
            let socket = UdpSocket::bind(from)?;
            socket.connect(address)?;
            return Ok(Link::Udp(socket));
        }
        let stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES)?;
        let Some(config) = &self.tls else {
            return Ok(Link::Tcp(BufWriter::with_capacity(GATHER_BYTES, stream)));
        };
        let name = ServerName::try_from(self.receiver.host.clone()).map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Link::Tls(Box::new(BufWriter::with_capacity(
            GATHER_BYTES,
            stream,
        ))))
    }
}

impl Link {
    /// Hands a message over; what a stream takes may wait for [`Self::flush`].
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => match socket.send(message) {
                // Nobody listens just now; a datagram promises nothing.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
                other => other.map(|_| ()),
            },
            Self::Tcp(stream) => counted(stream, message),
            Self::Tls(stream) => counted(stream, message),
        }
    }

    /// Hands everything to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Udp(_) => Ok(()),
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }

    /// Returns an error if the receiver has closed. A receiver says nothing else.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self {
            Self::Udp(_) => Ok(()),
            Self::Tcp(stream) => has_news(stream.get_ref()).map(|_| ()),
            Self::Tls(stream) => {
                let stream = stream.get_mut();
                while has_news(&stream.sock)? {
                    stream.conn.read_tls(&mut stream.sock)?;
                    let state = stream.conn.process_new_packets();
                    let state = state.map_err(io::Error::other)?;
                    if state.peer_has_closed() {
                        return Err(ErrorKind::ConnectionReset.into());
                    }
                    let mut said = vec![0; state.plaintext_bytes_to_read()];
                    stream.conn.reader().read_exact(&mut said)?;
                }
                Ok(())
            }
        }
    }
}

fn counted(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    write!(stream, "{} ", message.len())?;
    stream.write_all(message)
}

/// Returns whether the peer sent something; that it has closed is an error.
fn has_news(stream: &TcpStream) -> io::Result<bool> {
    let mut byte = [0_u8];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::net::recv(stream, &mut byte, flags) {
        Ok((0, _)) => Err(ErrorKind::ConnectionReset.into()),
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
