//! Which user holds the other end of a connection on this machine.
//!
//! Read from `/proc/net/tcp` and `/proc/net/tcp6` (Linux, `Documentation/networking/proc_net_tcp.rst`):
//! the peer's socket is the row whose local address is the connection's remote one.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

/// Returns the user id of the peer's socket, or none if it is not on this machine.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) fn of(peer: SocketAddr, local: SocketAddr) -> io::Result<Option<u32>> {
    let wanted = (encode(peer), encode(local));
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let file = match File::open(table) {
            Ok(file) => file,
            // Without IPv6 there is no second table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            if let Some(user) = user_of_row(&line?, &wanted) {
                return Ok(Some(user));
            }
        }
    }
    Ok(None)
}

/// An address in every way in which the tables may write it.
type Written = Vec<String>;

/// A row counts only while a process holds the socket: the kernel shows user 0 for one that was
/// closed already, so whoever sends and hangs up at once would pass for root.
fn user_of_row(line: &str, wanted: &(Written, Written)) -> Option<u32> {
    const ESTABLISHED: &str = "01";
    const NO_INODE: &str = "0";
    let mut columns = line.split_ascii_whitespace();
    let local = columns.nth(1)?;
    let remote = columns.next()?;
    let state = columns.next()?;
    let user = columns.nth(3)?;
    let inode = columns.nth(1)?;
    let fits =
        wanted.0.iter().any(|text| text == local) && wanted.1.iter().any(|text| text == remote);
    if fits && state == ESTABLISHED && inode != NO_INODE {
        user.parse().ok()
    } else {
        None
    }
}

/// Writes an address as the tables do: 32-bit words in the machine's byte order, as hexadecimal.
fn encode(address: SocketAddr) -> Written {
    let words = |octets: &[u8]| -> String {
        octets
            .chunks_exact(4)
            .map(|chunk| {
                let word = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
                format!("{word:08X}")
            })
            .collect()
    };
    let port = address.port();
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => vec![
            format!("{}:{port:04X}", words(&ip.octets())),
            format!("{}:{port:04X}", words(&ip.to_ipv6_mapped().octets())),
        ],
        IpAddr::V6(ip) => vec![format!("{}:{port:04X}", words(&ip.octets()))],
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::of;

    #[test]
    fn an_address_without_a_connection_has_no_user() {
        let peer: SocketAddr = "127.0.0.1:1".parse().expect("address");
        let local: SocketAddr = "127.0.0.1:2".parse().expect("address");
        assert_eq!(of(peer, local).expect("tables"), None);
    }

    #[test]
    fn a_peer_that_hung_up_has_no_user() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("client");
        let (server, peer) = listener.accept().expect("server");
        drop(client);
        let user = of(peer, server.local_addr().expect("address")).expect("tables");
        assert_eq!(user, None);
    }

    #[test]
    fn our_own_connection_is_ours() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else {
                continue;
            };
            let client =
                TcpStream::connect(listener.local_addr().expect("address")).expect("client");
            let (server, peer) = listener.accept().expect("server");
            let user = of(peer, server.local_addr().expect("address")).expect("tables");
            assert_eq!(user, Some(rustix::process::getuid().as_raw()), "{host}");
            drop(client);
        }
    }
}
