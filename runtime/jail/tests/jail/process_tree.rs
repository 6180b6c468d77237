//! How a process tree is held together and ended.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jail::{Exit, Report, Request, StoppedBy};
use rustix::process::{Pid, Signal, kill_process};

use crate::arena::{Arena, Tree, lives, until, written_pid};

/// A process which detaches itself as far as it can, writes its id to `daemon` and waits.
const DAEMON: &str =
    "setsid sh -c '(setsid sh -c \"echo \\$\\$ > daemon; exec sleep 600\" &) & exit 0'; ";

/// Starts a process which starts its own successor, detached, and ends at once, and so on for ever.
const HOPPER: &str = "echo 'echo >> counter; setsid sh hop &' > hop; sh hop; exec sleep 600";

/// Compares a report without the processor time, which varies.
#[track_caller]
fn reported(report: Option<Report>, exit: Exit, stopped_by: StoppedBy, killed_descendants: usize) {
    let report = report.map(|report| Report {
        user_cpu_ms: None,
        system_cpu_ms: None,
        ..report
    });
    let expected = Report {
        exit: Some(exit),
        stopped_by,
        killed_descendants,
        survivors: 0,
        user_cpu_ms: None,
        system_cpu_ms: None,
        memory_peak_bytes: None,
        out_of_memory_kills: None,
    };
    assert_eq!(report, Some(expected));
}

#[test]
fn the_exit_code_is_the_programs() {
    for (script, code, exit) in [
        ("exit 0", 0, Exit::Code(0)),
        ("exit 7", 7, Exit::Code(7)),
        ("kill -KILL $$", 137, Exit::Signal(9)),
        ("kill -TERM $$", 143, Exit::Signal(15)),
    ] {
        let end = Arena::new().run(script);
        assert_eq!(end.code, Some(code), "{script}: {end:?}");
        reported(end.report, exit, StoppedBy::Itself, 0);
    }
}

#[test]
fn a_daemon_ends_with_the_program() {
    let arena = Arena::new();
    let end = arena.run(&format!("{DAEMON} until [ -s daemon ]; do :; done; exit 3"));
    assert_eq!(end.code, Some(3), "{end:?}");
    reported(end.report, Exit::Code(3), StoppedBy::Itself, 1);
    assert!(!lives(written_pid(&arena.inside("daemon"))));
}

#[test]
fn a_crowd_of_daemons_ends_with_the_program() {
    let arena = Arena::new();
    let crowd = "for ((i = 0; i < 200; i++)); do (setsid sleep 600 &); done; echo $$ > main; exec sleep 600";
    let mut tree = arena.start(crowd);
    written_pid(&arena.inside("main"));
    drop(tree.lifeline.take());
    reported(tree.end().report, Exit::Signal(9), StoppedBy::Lifeline, 200);
}

#[test]
fn the_tree_ends_with_the_lifeline() {
    let arena = Arena::new();
    let (mut tree, pids) = tree_with_daemon(&arena);
    drop(tree.lifeline.take());
    let end = tree.end();
    assert_eq!(end.code, Some(137), "{end:?}");
    assert_eq!(pids.map(lives), [false, false]);
    reported(end.report, Exit::Signal(9), StoppedBy::Lifeline, 1);
}

#[test]
fn a_line_that_is_no_request_ends_the_tree() {
    let arena = Arena::new();
    let (mut tree, pids) = tree_with_daemon(&arena);
    tree.say("stop soon\n");
    let end = tree.end();
    assert_eq!(pids.map(lives), [false, false]);
    reported(end.report, Exit::Signal(9), StoppedBy::Lifeline, 1);
}

#[test]
fn kill_ends_the_tree_at_once() {
    let arena = Arena::new();
    let (mut tree, pids) = tree_with_daemon(&arena);
    tree.ask(Request::Kill);
    let end = tree.end();
    assert_eq!(end.code, Some(137), "{end:?}");
    assert_eq!(pids.map(lives), [false, false]);
    reported(end.report, Exit::Signal(9), StoppedBy::Kill, 1);
}

#[test]
fn a_supervisor_that_is_killed_takes_the_program_with_it() {
    let arena = Arena::new();
    let mut tree = arena.start("echo $$ > main; exec sleep 600");
    let main = written_pid(&arena.inside("main"));
    tree.child.kill().unwrap();
    until("the program has ended", || !lives(main));
    // An empty report is how the runtime knows.
    assert_eq!(tree.end().report, None);
}

#[test]
fn stop_lets_handlers_run() {
    let arena = Arena::new();
    let mut tree = arena.start(
        "trap 'echo tidied > tidy; exit 5' TERM; echo $$ > main; while :; do sleep 0.01; done",
    );
    written_pid(&arena.inside("main"));
    tree.ask(Request::Stop {
        grace: Duration::from_secs(60),
    });
    let end = tree.end();
    assert_eq!(
        (
            end.code,
            fs::read_to_string(arena.inside("tidy")).unwrap().as_str()
        ),
        (Some(5), "tidied\n")
    );
    assert_eq!(
        end.report.map(|report| report.stopped_by),
        Some(StoppedBy::Stop)
    );
}

#[test]
fn stop_gives_the_grace_to_descendants_too() {
    let arena = Arena::new();
    let slow = "trap 'until [ -e continue ]; do sleep 0.01; done; echo tidied > tidy; exit' TERM; \
                echo $$ > slow; while :; do sleep 0.01; done";
    let mut tree = arena.start(&format!(
        "setsid bash -c '{}' & echo $$ > main; wait",
        slow.replace('\'', "'\\''")
    ));
    let (main, slow) = (
        written_pid(&arena.inside("main")),
        written_pid(&arena.inside("slow")),
    );
    tree.ask(Request::Stop {
        grace: Duration::from_secs(60),
    });
    until("the program has ended", || !lives(main));
    assert!(lives(slow));
    fs::write(arena.inside("continue"), "").unwrap();
    let end = tree.end();
    assert_eq!(
        fs::read_to_string(arena.inside("tidy")).unwrap(),
        "tidied\n"
    );
    reported(end.report, Exit::Signal(15), StoppedBy::Stop, 0);
}

#[test]
fn stop_kills_after_the_grace() {
    let arena = Arena::new();
    let mut tree = arena.start("trap '' TERM; echo $$ > main; while :; do sleep 600; done");
    let main = written_pid(&arena.inside("main"));
    tree.ask(Request::Stop {
        grace: Duration::from_millis(50),
    });
    let end = tree.end();
    assert_eq!((end.code, lives(main)), (Some(137), false));
    assert_eq!(
        end.report.map(|report| report.stopped_by),
        Some(StoppedBy::Stop)
    );
}

#[test]
fn a_frozen_tree_does_nothing_until_it_is_thawed() {
    let (clock_arena, arena) = (Arena::new(), Arena::new());
    // Each round is a new process, so that the tree changes while it is being frozen.
    let counting = "while :; do (echo >> counter); done";
    let (clock, mut tree) = (
        clock_arena.start(counting),
        arena.start(&format!("({counting}) & {counting}")),
    );
    let (clock_counter, counter) = (clock_arena.inside("counter"), arena.inside("counter"));
    grows(&counter, 1);

    // Each time the tree is caught in another shape.
    for _ in 0..10 {
        tree.ask(Request::Freeze);
        until("the tree is frozen", || {
            jail::tree::is_frozen(tree.child.id()).unwrap()
        });
        let frozen = size(&counter);
        // The other tree, which is not frozen, is the clock.
        grows(&clock_counter, 50);
        assert_eq!(size(&counter), frozen);
        assert!(!jail::tree::is_frozen(clock.child.id()).unwrap());

        tree.ask(Request::Thaw);
        grows(&counter, 10);
    }
    tree.ask(Request::Kill);
    assert_eq!(tree.end().code, Some(137));
    drop(clock.lifeline);
}

#[test]
fn a_program_that_hops_from_process_to_process_is_frozen_and_killed() {
    let arena = Arena::new();
    let mut tree = arena.start(HOPPER);
    let counter = arena.inside("counter");
    let clock_arena = Arena::new();
    let clock = clock_arena.start("while :; do (echo >> counter); done");
    for _ in 0..10 {
        grows(&counter, 10);
        tree.ask(Request::Freeze);
        until("the tree is frozen", || {
            jail::tree::is_frozen(tree.child.id()).unwrap()
        });
        let frozen = size(&counter);
        grows(&clock_arena.inside("counter"), 50);
        assert_eq!(size(&counter), frozen);
        tree.ask(Request::Thaw);
    }
    grows(&counter, 10);
    tree.ask(Request::Kill);
    let end = tree.end();
    assert_eq!(
        end.report
            .map(|report| (report.stopped_by, report.survivors)),
        Some((StoppedBy::Kill, 0))
    );
    drop(clock.lifeline);
}

#[test]
fn a_frozen_tree_can_be_stopped() {
    let arena = Arena::new();
    let mut tree = arena.start("trap 'exit 5' TERM; echo $$ > main; while :; do sleep 0.01; done");
    written_pid(&arena.inside("main"));
    tree.ask(Request::Freeze);
    until("the tree is frozen", || {
        jail::tree::is_frozen(tree.child.id()).unwrap()
    });
    tree.ask(Request::Stop {
        grace: Duration::from_secs(60),
    });
    assert_eq!(tree.end().code, Some(5));
}

#[test]
fn a_frozen_tree_ends_with_the_lifeline() {
    let arena = Arena::new();
    let (mut tree, pids) = tree_with_daemon(&arena);
    tree.ask(Request::Freeze);
    until("the tree is frozen", || {
        jail::tree::is_frozen(tree.child.id()).unwrap()
    });
    drop(tree.lifeline.take());
    tree.end();
    assert_eq!(pids.map(lives), [false, false]);
}

#[test]
fn orphans_that_end_are_reaped_while_the_program_runs() {
    let arena = Arena::new();
    let mut tree = arena.start("(sh -c 'echo $$ > orphan' &); echo $$ > main; exec sleep 600");
    let orphan = written_pid(&arena.inside("orphan"));
    until("the orphan is reaped", || {
        !Path::new(&format!("/proc/{orphan}")).exists()
    });
    tree.ask(Request::Kill);
    reported(tree.end().report, Exit::Signal(9), StoppedBy::Kill, 0);
}

#[test]
fn a_program_that_is_killed_from_outside_is_reported() {
    let arena = Arena::new();
    let tree = arena.start("echo $$ > main; exec sleep 600");
    let main = written_pid(&arena.inside("main"));
    kill_process(Pid::from_raw(main).unwrap(), Signal::USR1).unwrap();
    let end = tree.end();
    assert_eq!(end.code, Some(128 + 10), "{end:?}");
    reported(end.report, Exit::Signal(10), StoppedBy::Itself, 0);
}

#[test]
fn processor_time_is_reported() {
    let end = Arena::new().run("for ((i = 0; i < 300000; i++)); do :; done");
    let report = end.report.unwrap();
    assert!(
        report
            .user_cpu_ms
            .is_some_and(|time| (10..60_000).contains(&time)),
        "{report:?}"
    );
    assert!(report.system_cpu_ms.is_some(), "{report:?}");
}

/// Starts a program with a daemon, and returns the ids of both once they run.
fn tree_with_daemon(arena: &Arena) -> (Tree, [i32; 2]) {
    let tree = arena.start(&format!("{DAEMON} echo $$ > main; exec sleep 600"));
    let pids = [
        written_pid(&arena.inside("main")),
        written_pid(&arena.inside("daemon")),
    ];
    // `exec` keeps the id, so the tree has its final shape when both sleep.
    until("both sleep", || pids.iter().all(|pid| is_sleep(*pid)));
    (tree, pids)
}

fn is_sleep(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
}

#[track_caller]
fn grows(file: &Path, by: u64) {
    let before = size(file);
    until("the counter grows", || size(file) >= before + by);
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}
