//! What the escapes are after: a process outside that holds a secret, answers on every kind of socket,
//! and hands the open secret out on those that can carry it. Started in the folder of the secret.
//!
//! Invariant: it ends with its standard input.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Where the bait can be found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Found {
    pub(crate) pid: u32,
    pub(crate) tcp: u16,
    pub(crate) udp: u16,
    pub(crate) name: String,
}

/// Opens the sockets, tells where they are as one line on standard output, and answers until standard
/// input ends.
pub(crate) fn serve(socket: &Path) -> io::Result<()> {
    let secret = File::open("secret")?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let path = UnixListener::bind(socket)?;
    let name = format!("loki-bait-{}", std::process::id());
    let unnamed = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let found = Found {
        pid: std::process::id(),
        tcp: tcp.local_addr()?.port(),
        udp: udp.local_addr()?.port(),
        name,
    };
    let line = serde_json::to_string(&found)?;
    writeln!(io::stdout(), "{line}")?;
    loop {
        let stdin = io::stdin();
        let mut watched = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(&tcp, PollFlags::IN),
            PollFd::new(&udp, PollFlags::IN),
            PollFd::new(&path, PollFlags::IN),
            PollFd::new(&unnamed, PollFlags::IN),
        ];
        poll(&mut watched, None)?;
        let ready = watched.map(|one| !one.revents().is_empty());
        let [ended, by_tcp, by_udp, by_path, by_name] = ready;
        if ended && io::stdin().read(&mut [0; 1])? == 0 {
            return Ok(());
        }
        if by_tcp {
            answer(tcp.accept()?.0);
        }
        if by_udp {
            let (_, sender) = udp.recv_from(&mut [0; 16])?;
            udp.send_to(ANSWER, sender)?;
        }
        if by_path {
            hand_out(&path.accept()?.0, &secret);
        }
        if by_name {
            hand_out(&unnamed.accept()?.0, &secret);
        }
    }
}

/// One that has gone needs no answer.
fn answer(mut stream: impl Write) {
    match stream.write_all(ANSWER) {
        Ok(()) | Err(_) => (),
    }
}

/// Answers, and gives the open secret away.
fn hand_out(stream: &UnixStream, secret: &File) {
    let descriptors = [secret.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return;
    }
    // Whoever asks by the same open file reads from where the last one stopped.
    let begun = rustix::fs::seek(secret, rustix::fs::SeekFrom::Start(0));
    let slices = [IoSlice::new(ANSWER)];
    match begun.and_then(|_| sendmsg(stream, &slices, &mut control, SendFlags::NOSIGNAL)) {
        Ok(_) | Err(_) => (),
    }
}

const ANSWER: &[u8] = b"hello\n";
