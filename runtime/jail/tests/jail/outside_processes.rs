//! What the program may do to processes outside.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use jail::{Exit, LayerName, StoppedBy};

use crate::arena::{Arena, command};

#[test]
fn a_process_outside_is_not_signalled() {
    let Some(arena) = Arena::enforcing(LayerName::Signals) else {
        return;
    };
    let mut helper = command("/bin/sleep")
        .arg("600")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    arena.refused(&format!("kill -0 {}", helper.id()));
    arena.refused(&format!("kill -USR1 {}", helper.id()));
    // The second script also ran beside the jail: had the first signal come through, it would have been too late.
    assert_eq!(helper.wait().unwrap().signal(), Some(10));
}

#[test]
fn the_supervisor_is_not_signalled() {
    let Some(arena) = Arena::enforcing(LayerName::Signals) else {
        return;
    };
    let end = arena.run("kill -KILL $PPID; kill -KILL 0 2> own-group; echo unreached");
    // `kill 0` reaches the program's own process group, and nobody else.
    assert!(end.stderr.contains("Operation not permitted"), "{end:?}");
    let report = end.report.unwrap();
    assert_eq!(
        (end.code, report.exit),
        (Some(128 + 9), Some(Exit::Signal(9)))
    );
    assert_eq!(
        (end.stdout.as_str(), report.stopped_by),
        ("", StoppedBy::Itself)
    );
}
