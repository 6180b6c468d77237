//! The sandbox: what a program inside sees, what it can do, and how much of the machine it gets.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};

use jail::sandbox::{Access, Mount, Resources};
use jail::{Exit, Layer, Layers, Request, StoppedBy};

use crate::arena::{Arena, command, host, is_root, until};

/// Runs a script inside, which must end well, and returns what it wrote.
#[track_caller]
fn said(arena: &Arena, script: &str) -> String {
    let end = arena.run(script);
    assert_eq!(end.code, Some(0), "{script}: {end:?}");
    end.stdout
}

#[test]
fn what_was_enforced_is_told_by_the_jail_itself() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    assert_eq!(said(&arena, "true"), "");
    let layers = arena.layers().unwrap();
    assert!(layers.no_new_privileges && layers.no_capabilities);
    let sandbox = layers.sandbox.unwrap();
    assert_eq!(sandbox.system_calls, Layer::Enforced);
    assert_eq!(sandbox.memory, Layer::NotAsked);
}

/// Returns what `loki-jail probe` says, run by this command.
#[track_caller]
fn probed(output: &[u8]) -> jail::SandboxLayers {
    let layers: Layers = serde_json::from_slice(output).unwrap();
    layers.sandbox.unwrap()
}

#[track_caller]
fn lacks(layer: &Layer, why: &str) {
    let Layer::Unavailable { reason } = layer else {
        panic!("{layer:?}");
    };
    assert!(reason.contains(why), "{reason}");
}

#[test]
fn each_kind_of_host_is_told_what_it_lacks_and_why() {
    let Some(mut arena) = Arena::sandboxed() else {
        return;
    };
    let program = arena.outside("loki-jail");
    fs::copy(env!("CARGO_BIN_EXE_loki-jail"), &program).unwrap();
    for place in [
        program.parent().unwrap().parent().unwrap(),
        program.parent().unwrap(),
        &program,
    ] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = program.display().to_string();
    // As root, under control groups that can be written, everything is there.
    assert_eq!(host().sandbox.as_ref().unwrap().namespaces, Layer::Enforced);

    // An ordinary user has everything but limits, for which somebody must delegate groups.
    if is_root() {
        let plain = command("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                &program,
                "probe",
            ])
            .output()
            .unwrap();
        let layers = probed(&plain.stdout);
        for layer in [
            &layers.namespaces,
            &layers.root,
            &layers.network,
            &layers.system_calls,
        ] {
            assert_eq!(layer, &Layer::Enforced, "{layers:?}");
        }
        for layer in [&layers.cpu, &layers.memory, &layers.processes] {
            lacks(layer, "/sys/fs/cgroup");
        }
    }

    // In a container whose filter forbids namespaces there is no sandbox, and the reason names it. The
    // sandbox itself is such a container.
    arena.policy.read.push(program.clone().into());
    let layers = probed(said(&arena, &format!("'{program}' probe")).as_bytes());
    lacks(&layers.namespaces, "In a container");
    lacks(&layers.root, "not tried");
}

#[test]
fn the_program_is_appuser_without_any_power() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    assert_eq!(
        said(&arena, "id -un; id -u; id -g; echo ~"),
        "appuser\n1000\n1000\n/home/appuser\n"
    );
    let status = said(&arena, "cat /proc/self/status");
    for line in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let found = status
            .lines()
            .find(|found| found.starts_with(line))
            .unwrap();
        assert_eq!(
            found.split_whitespace().nth(1),
            Some("0000000000000000"),
            "{found}"
        );
    }
    assert!(
        status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"),
        "{status}"
    );
}

#[test]
fn only_what_was_declared_is_there() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let secret = arena.secret("secret", "outside");
    let script = format!("ls -A /; ls -A /etc; cat '{}'", secret.display());
    let end = arena.run(&script);
    assert_ne!(end.code, Some(0), "{end:?}");
    assert!(end.stderr.contains("No such file or directory"), "{end:?}");
    for name in [
        "root", "boot", "sys", "opt", "srv", "mnt", "media", "shadow", "ssh", "sudoers",
    ] {
        assert!(
            !end.stdout.lines().any(|line| line == name),
            "{name}: {}",
            end.stdout
        );
    }
    assert!(
        arena
            .run_beside(&format!("cat '{}'", secret.display()))
            .status
            .success()
    );
}

#[test]
fn nothing_but_the_mounts_and_the_temporary_folders_can_be_written() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    for place in [
        "/", "/usr", "/usr/bin", "/etc", "/dev", "/proc", "/run", "/home", "/var",
    ] {
        let end = arena.run(&format!("echo x > {place}/planted"));
        assert_ne!(end.code, Some(0), "{place}: {end:?}");
    }
    let _said = said(
        &arena,
        "echo x > here && echo x > /tmp/x && echo x > /dev/shm/x && echo x > /var/tmp/x",
    );
    assert_eq!(fs::read_to_string(arena.inside("here")).unwrap(), "x\n");
    for switch in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/self/uid_map",
    ] {
        let end = arena.run(&format!("echo x > {switch}"));
        assert_ne!(end.code, Some(0), "{switch}: {end:?}");
    }
}

#[test]
fn a_source_behind_a_link_is_refused() {
    let Some(mut arena) = Arena::sandboxed() else {
        return;
    };
    fs::create_dir(arena.outside("place")).unwrap();
    symlink(arena.outside("place"), arena.inside("link")).unwrap();
    let (source, target) = (arena.inside("link"), arena.inside("target"));
    fs::create_dir(&target).unwrap();
    arena.sandbox().mounts.push(Mount {
        source,
        target,
        access: Access::Read,
    });
    let end = arena.run("true");
    assert_eq!(end.code, Some(125), "{end:?}");
    assert!(end.stderr.contains("symbolic link"), "{end:?}");
    assert_eq!(arena.layers(), None);
}

#[test]
fn a_mount_within_a_mount_can_be_read_but_neither_changed_nor_moved() {
    let Some(mut arena) = Arena::sandboxed() else {
        return;
    };
    fs::create_dir(arena.inside("hooks")).unwrap();
    fs::write(arena.inside("hooks/one"), "mine").unwrap();
    let source = arena.inside("hooks");
    let target = source.clone();
    arena.sandbox().mounts.push(Mount {
        source,
        target,
        access: Access::Read,
    });
    assert_eq!(said(&arena, "cat hooks/one"), "mine");
    for script in [
        "echo x > hooks/one",
        "rm hooks/one",
        "mv hooks away",
        "rm -r hooks",
        "chmod 777 hooks/one",
        "touch hooks/two",
    ] {
        let end = arena.run(script);
        assert_ne!(end.code, Some(0), "{script}: {end:?}");
    }
    assert_eq!(
        fs::read_to_string(arena.inside("hooks/one")).unwrap(),
        "mine"
    );
}

#[test]
fn the_hosts_network_is_not_there() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    assert!(arena.run_beside(&connect).status.success());
    let end = arena.run(&connect);
    assert!(end.stderr.contains("Connection refused"), "{end:?}");
    let end = arena.run("exec 3<>/dev/udp/192.0.2.1/9");
    assert!(end.stderr.contains("unreachable"), "{end:?}");
    let routes = said(&arena, "cat /proc/net/route");
    assert_eq!(routes.lines().count(), 1, "{routes}");
}

#[test]
fn other_processes_are_not_there() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let script = "for p in /proc/[0-9]*; do echo ${p##*/}; done; tr -d '\\0' < /proc/1/environ";
    let end = arena.run(script);
    let seen: Vec<u32> = end
        .stdout
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(seen.iter().all(|pid| *pid < 10), "{end:?}");
    let own = std::process::id();
    let killed = arena.run(&format!("kill -0 {own}"));
    assert!(killed.stderr.contains("No such process"), "{killed:?}");
}

#[test]
fn calls_that_are_not_listed_do_not_exist() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    for script in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none /tmp",
        "chroot / true",
        "setarch -R -X true; setarch i686 true",
    ] {
        let end = arena.run(script);
        assert_ne!(end.code, Some(0), "{script}: {end:?}");
    }
}

#[test]
fn the_whole_tree_is_limited() {
    let Some(mut arena) = Arena::sandboxed() else {
        return;
    };
    let layers = host().sandbox.as_ref().unwrap();
    if layers.memory == Layer::Enforced {
        arena.sandbox().resources = Resources {
            memory_bytes: Some(32 * 1024 * 1024),
            ..Resources::default()
        };
        let end = arena.run("head -c 200M /dev/zero | tail -c 150M | wc -c");
        assert!(!end.stdout.starts_with("157286400"), "{end:?}");
        let report = end.report.unwrap();
        assert!(
            report
                .memory_peak_bytes
                .is_some_and(|peak| peak <= 33 * 1024 * 1024),
            "{report:?}"
        );
        assert!(
            report.out_of_memory_kills.is_some_and(|kills| kills > 0),
            "{report:?}"
        );
    }
    if layers.processes == Layer::Enforced {
        arena.sandbox().resources = Resources {
            processes: Some(20),
            ..Resources::default()
        };
        let end = arena.run("for i in $(seq 100); do sleep 60 & done; echo started");
        assert!(
            end.stderr.contains("Resource temporarily unavailable"),
            "{end:?}"
        );
    }
    let end = arena.run("head -c 100M /dev/zero > /tmp/big");
    assert!(end.stderr.contains("No space left on device"), "{end:?}");
}

#[test]
fn the_end_of_the_program_is_the_end_of_everybody() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let end =
        arena.run("setsid sh -c 'exec sleep 600 > late' & until [ -e late ]; do :; done; exit 3");
    assert_eq!(end.code, Some(3), "{end:?}");
    assert_eq!(end.report.map(|report| report.survivors), Some(0));
    let end = arena.run("kill -9 $$");
    assert_eq!(end.code, Some(137), "{end:?}");
}

#[test]
fn the_tree_has_its_grace_and_is_killed_with_its_lifeline() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let mut tree = arena.start("trap 'exit 5' TERM; touch ready; while :; do sleep 0.01; done");
    until("the program runs", || arena.inside("ready").exists());
    tree.ask(Request::Stop {
        grace: std::time::Duration::from_secs(20),
    });
    let end = tree.end();
    assert_eq!(end.code, Some(5), "{end:?}");
    assert_eq!(
        end.report.map(|report| (report.exit, report.stopped_by)),
        Some((Some(Exit::Code(5)), StoppedBy::Stop))
    );

    fs::remove_file(arena.inside("ready")).unwrap();
    let mut tree = arena.start("trap '' TERM; touch ready; while :; do sleep 0.01; done");
    until("the program runs", || arena.inside("ready").exists());
    drop(tree.lifeline.take());
    let end = tree.end();
    assert_eq!(
        end.report.map(|report| report.survivors),
        Some(0),
        "{:?}",
        end.stderr
    );
}

#[test]
fn a_tree_is_frozen_from_outside() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let mut tree = arena.start("while :; do echo >> counter; done");
    until("the program runs", || arena.inside("counter").exists());
    let supervisor = tree.child.id();
    tree.ask(Request::Freeze);
    until("all is frozen", || {
        jail::tree::is_frozen(supervisor).unwrap()
    });
    let length = fs::metadata(arena.inside("counter")).unwrap().len();
    tree.ask(Request::Thaw);
    until("it goes on", || {
        fs::metadata(arena.inside("counter")).unwrap().len() > length
    });
    tree.ask(Request::Kill);
    assert_eq!(tree.end().report.map(|report| report.survivors), Some(0));
}

#[test]
fn a_tree_that_never_stops_starting_processes_is_halted_and_goes_on() {
    let Some(arena) = Arena::sandboxed() else {
        return;
    };
    let script =
        "touch ready; while :; do for i in 1 2 3 4; do (echo >>counter) & done; wait; done";
    let mut tree = arena.start(script);
    until("the program runs", || arena.inside("counter").exists());
    let supervisor = tree.child.id();
    let length = || fs::metadata(arena.inside("counter")).unwrap().len();
    for _ in 0..5 {
        tree.ask(Request::Freeze);
        until("all is halted", || {
            jail::tree::is_frozen(supervisor).unwrap()
        });
        let still = length();
        assert!(jail::tree::is_frozen(supervisor).unwrap());
        assert_eq!(length(), still);
        tree.ask(Request::Thaw);
        until("it goes on", || length() > still);
    }
    tree.ask(Request::Kill);
    assert_eq!(tree.end().report.map(|report| report.survivors), Some(0));
}

#[test]
fn groups_go_with_their_tree() {
    let Some(mut arena) = Arena::sandboxed() else {
        return;
    };
    let group = arena.sandbox().group.clone();
    let left = || {
        let found = command("find")
            .args(["/sys/fs/cgroup", "-type", "d", "-name", &group])
            .output()
            .unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    let mut tree = arena.start("touch ready; exec sleep 600");
    until("the program runs", || arena.inside("ready").exists());
    if is_root() && fs::exists("/sys/fs/cgroup/freezer/cgroup.procs").unwrap() {
        assert!(left().contains("/freezer/"), "{}", left());
    }
    tree.ask(Request::Kill);
    assert_eq!(tree.end().report.map(|report| report.survivors), Some(0));
    assert_eq!(left(), "");
}
