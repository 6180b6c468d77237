//! Which sockets the program may reach.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use jail::LayerName;

use crate::arena::Arena;

#[test]
fn an_unlisted_port_is_refused() {
    let Some(mut arena) = Arena::enforcing(LayerName::NetworkTcp) else {
        return;
    };
    let (_listed, listed_port) = listen();
    let (_unlisted, unlisted_port) = listen();
    arena.policy.connect_ports = Some([listed_port].into());
    arena.refused(&format!("exec 3<> /dev/tcp/127.0.0.1/{unlisted_port}"));
}

#[test]
fn a_listed_port_is_reached() {
    let (_listener, port) = listen();
    let mut arena = Arena::new();
    arena.policy.connect_ports = Some([port].into());
    let end = arena.run(&format!("exec 3<> /dev/tcp/127.0.0.1/{port}"));
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
}

#[test]
fn without_a_list_every_port_is_reached() {
    let (_listener, port) = listen();
    let mut arena = Arena::new();
    arena.policy.connect_ports = None;
    let end = arena.run(&format!("exec 3<> /dev/tcp/127.0.0.1/{port}"));
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    assert_eq!(arena.layers().unwrap().network_tcp, jail::Layer::NotAsked);
}

#[test]
fn an_abstract_socket_outside_is_refused() {
    let Some(arena) = Arena::enforcing(LayerName::AbstractSockets) else {
        return;
    };
    let name = format!("loki-jail-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    arena.refused(&format!(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or die; \
         connect(S, pack(\"Sa*\", AF_UNIX, \"\\0{name}\")) or die \"$!\\n\"'"
    ));
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn the_ways_around_the_port_list_are_closed() {
    let Some(mut arena) = Arena::enforcing(LayerName::NetworkTcp) else {
        return;
    };
    let (_listener, port) = listen();
    arena.policy.connect_ports = Some([443].into());
    let to = format!("pack_sockaddr_in({port}, INADDR_LOOPBACK)");
    if Path::new("/proc/sys/net/mptcp/enabled").exists() {
        arena.refused(&format!(
            "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 262) or die \"$!\\n\"; \
             connect(S, {to}) or die \"$!\\n\"'"
        ));
    }
    // MSG_FASTOPEN opens the connection with the first data.
    arena.refused(&format!(
        "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) or die; \
         defined send(S, \"x\", 0x20000000, {to}) or die \"$!\\n\"'"
    ));
    // TCP_FASTOPEN_CONNECT does so with an ordinary write.
    arena.refused(
        "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) or die; \
         setsockopt(S, 6, 30, 1) or die \"$!\\n\"'",
    );
    // io_uring_setup with no entries: the kernel finds fault with the number, the filter with the call.
    let end = arena.run("perl -e 'syscall(425, 0, 0); print $!+0'");
    assert_eq!(end.stdout, "13", "{end:?}");
    assert_eq!(arena.layers().unwrap().network_tcp, jail::Layer::Enforced);
}

#[test]
fn ordinary_sockets_still_work() {
    let (_listener, port) = listen();
    let mut arena = Arena::new();
    arena.policy.connect_ports = Some([port].into());
    let end = arena.run(&format!(
        "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 6) or die \"$!\\n\"; \
         connect(S, pack_sockaddr_in({port}, INADDR_LOOPBACK)) or die \"$!\\n\"; \
         defined send(S, \"x\", 0) or die \"$!\\n\"; \
         socketpair(A, B, AF_UNIX, SOCK_STREAM, 0) or die \"$!\\n\"; \
         socket(U, AF_INET6, SOCK_DGRAM, 17) or die \"$!\\n\"'"
    ));
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
}
