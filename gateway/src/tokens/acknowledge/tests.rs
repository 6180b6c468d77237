use std::fs;

use config::home::Home;
use config::private;
use tempfile::TempDir;

use super::{Acknowledgement, Applied, Awaited, Unconfirmed, running, wait};

fn home() -> (TempDir, Home) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let home = Home::new(directory.path().join(".loki"));
    (directory, home)
}

#[test]
fn a_gateway_that_says_nothing_is_named() {
    let (_directory, home) = home();
    let _silent = Acknowledgement::register(&home).expect("registered");
    match wait(&home, Awaited::Revocation(1)) {
        Err(Unconfirmed::Silent(processes)) => assert_eq!(processes, [std::process::id()]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_gateway_is_not_waited_for_and_its_file_goes() {
    let (_directory, home) = home();
    private::create_closed_directory(&home.dashboard()).expect("directory");
    private::create_closed_directory(&home.gateways()).expect("directory");
    let left = home.gateways().join("4194300.json");
    fs::write(&left, "{\"pid\":4194300,\"revocations\":0,\"tokens\":0}").expect("write");
    wait(&home, Awaited::Revocation(1)).expect("nobody runs");
    assert!(!left.exists());
}

#[test]
fn without_a_gateway_nothing_is_waited_for() {
    let (_directory, home) = home();
    wait(&home, Awaited::Revocation(u64::MAX)).expect("nobody runs");
}

#[test]
fn two_gateways_with_one_process_id_are_told_apart() {
    let (_directory, home) = home();
    let mut first = Acknowledgement::register(&home).expect("registered");
    let mut second = Acknowledgement::register(&home).expect("registered");
    first.say(5, 6).expect("said");
    second.say(3, 3).expect("said");
    let mut found = running(&home).expect("listed");
    found.sort_by_key(|applied| applied.revocations);
    let pid = std::process::id();
    let expected = [(3, 3), (5, 6)].map(|(revocations, tokens)| Applied {
        pid,
        revocations,
        tokens,
    });
    assert_eq!(found, expected);
    drop(second);
    wait(&home, Awaited::Revocation(5)).expect("the first has applied it");
    wait(&home, Awaited::Addition(6)).expect("the first has applied it");
    drop(first);
    assert_eq!(running(&home).expect("listed"), []);
}
