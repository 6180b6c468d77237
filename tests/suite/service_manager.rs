//! Under systemd: the socket that it holds is used, and it is told what becomes of us.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use rustix::process::Signal;
use tests::deployment::Deployment;
use tests::installation::Installation;
use tests::poll;
use tests::process;
use tests::programs;

fn next(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let count = socket.recv(&mut bytes).expect("news in time");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn the_manager_is_told_of_readiness_reload_and_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(poll::PATIENCE))
        .expect("a timeout");
    let mut deployment = Deployment::builder()
        .with_variable("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))
        .start();
    let ready = next(&socket);
    assert!(
        ready.starts_with("READY=1\nSTATUS=listening on http://"),
        "{ready}"
    );
    process::signal(deployment.gateway_id(), Signal::HUP);
    assert_eq!(next(&socket), "STATUS=state 2 in use");
    deployment.write_settings("gateway.toml", "nonsense = 1\n");
    process::signal(deployment.gateway_id(), Signal::HUP);
    let rejected = next(&socket);
    assert!(rejected.contains("rejected"), "{rejected}");
    assert_eq!(deployment.stop_gateway(), Some(0));
    assert_eq!(next(&socket), "STOPPING=1");
}

/// Opens a socket as the manager does and becomes the gateway.
const ACTIVATE: &str = "
import os, socket, sys
held = socket.socket()
held.bind(('127.0.0.1', 0))
held.listen()
port = str(held.getsockname()[1])
os.dup2(held.fileno(), 3)
os.set_inheritable(3, True)
os.environ['LISTEN_PID'] = str(os.getpid() + int(sys.argv[2]))
os.environ['LISTEN_FDS'] = '1'
print(port, flush=True)
os.execv(sys.argv[1], [sys.argv[1], '--port', sys.argv[3] or port])
";

#[test]
fn the_passed_socket_is_used_if_it_is_ours_and_the_one_that_was_set() {
    let check = |other_process: &str, port: &str, expected: Option<i32>| {
        let installation = Installation::new();
        let log = std::fs::File::create(installation.root().join("log")).expect("a log");
        let mut child = installation
            .foreign_command("python3")
            .args(["-c", ACTIVATE])
            .arg(programs::path("loki-gateway"))
            .args([other_process, port])
            .stdout(log.try_clone().expect("a handle"))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("it starts");
        let said = || std::fs::read_to_string(installation.root().join("log")).expect("the log");
        if let Some(code) = expected {
            let status = poll::until("it ends", || child.try_wait().expect("a status"));
            assert_eq!(status.code(), Some(code), "{}", said());
            return said();
        }
        let endpoint = poll::until("it listens", || {
            let ended = child.try_wait().expect("a status");
            assert!(ended.is_none(), "{}", said());
            installation.endpoint()
        });
        let _served = installation.client().get("/health").with_status(200);
        process::signal(child.id(), Signal::TERM);
        let status = poll::until("it ends", || child.try_wait().expect("a status"));
        assert_eq!(status.code(), Some(0), "{}", said());
        let held = said().lines().next().unwrap_or_default().to_owned();
        assert!(endpoint.url.ends_with(&format!(":{held}")), "{}", said());
        said()
    };
    let other_port = check("0", "1", Some(1));
    assert!(
        other_port.contains("the service manager holds"),
        "{other_port}"
    );
    let not_ours = check("1", "", Some(1));
    assert!(
        not_ours.contains("cannot listen"),
        "taken by its holder: {not_ours}"
    );
    let _used = check("0", "", None);
}
