//! Which sockets the program may reach.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

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
