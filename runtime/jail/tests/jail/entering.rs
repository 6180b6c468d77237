//! What the program finds when it starts, and when it does not start at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jail::{Layer, LayerName, Layers, Policy};

use crate::arena::{self, Arena, End, host, is_root};

/// Asserts that the program does not run, with this exit code and this one line.
#[track_caller]
fn never_runs(change: impl FnOnce(&mut Policy), program: &[&str], code: i32, line: &str) {
    let mut arena = Arena::new();
    change(&mut arena.policy);
    let end = arena.start_program(program).end();
    failed(&arena, &end, code, line);
}

#[track_caller]
fn failed(arena: &Arena, end: &End, code: i32, line: &str) {
    assert_eq!(
        (end.code, end.stdout.as_str(), end.stderr.trim_end()),
        (Some(code), "", line)
    );
    assert_eq!(
        fs::read_dir(arena.inside("")).unwrap().count(),
        0,
        "the program ran"
    );
    if code == 125 {
        assert_eq!(arena.layers(), None);
    }
}

const MARK: [&str; 2] = ["/usr/bin/touch", "ran"];

#[test]
fn a_path_that_is_missing_is_refused() {
    let line = |list| {
        format!(
            "loki-jail: cannot open policy path /nowhere: No such file or directory (os error 2); \
             fix: create it, or take it out of the policy's list `{list}`"
        )
    };
    never_runs(
        |policy| policy.read.push("/nowhere".into()),
        &MARK,
        125,
        &line("read"),
    );
    never_runs(
        |policy| policy.write.push("/nowhere".into()),
        &MARK,
        125,
        &line("write"),
    );
    never_runs(
        |policy| policy.devices.push("/nowhere".into()),
        &MARK,
        125,
        &line("devices"),
    );
    let mut arena = Arena::new();
    arena.policy.read_if_present.push("/nowhere".into());
    assert_eq!(arena.run("exit 0").code, Some(0));
}

#[test]
fn files_of_the_policy_that_are_missing_are_refused() {
    let line = |field| {
        format!(
            "loki-jail: cannot open {field} /nowhere: No such file or directory (os error 2); \
             fix: correct the policy's field `{field}`"
        )
    };
    never_runs(
        |policy| policy.stdin = Some("/nowhere".into()),
        &MARK,
        125,
        &line("stdin"),
    );
    let change = |policy: &mut Policy| policy.working_directory = "/nowhere".into();
    never_runs(change, &MARK, 125, &line("working_directory"));
}

#[test]
fn a_report_that_exists_is_refused() {
    let arena = Arena::new();
    fs::write(&arena.policy.report, "old").unwrap();
    let policy = arena.run_folder("policy.json");
    arena.policy.create(&policy).unwrap();
    let output = arena.run_beside(&format!(
        "{} supervise --policy {} -- touch ran",
        BIN,
        policy.display()
    ));
    assert_eq!(output.status.code(), Some(125));
    let line = format!(
        "loki-jail: cannot write report {}: File exists (os error 17); fix: name a new file in a folder of one's own\n",
        arena.policy.report.display()
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    assert_eq!(fs::read_to_string(&arena.policy.report).unwrap(), "old");
    assert!(!arena.inside("ran").exists());
}

#[test]
fn a_program_that_is_missing_or_cannot_be_executed_is_told_apart() {
    never_runs(
        |_| (),
        &["no-such-program"],
        127,
        "loki-jail: cannot find program no-such-program: No such file or directory (os error 2); \
         fix: correct its name or the PATH in the policy's environment",
    );
    let not_executable = |program: &str| {
        format!(
            "loki-jail: cannot execute program {program}: Permission denied (os error 13); fix: make it executable, \
             and list it and its interpreter in the policy's list `read`"
        )
    };
    never_runs(
        |_| (),
        &["/proc/version"],
        126,
        &not_executable("/proc/version"),
    );
    if let Some(arena) = Arena::enforcing(LayerName::FileSystem) {
        let program = arena.outside("program");
        fs::copy("/usr/bin/touch", &program).unwrap();
        let program = program.to_str().unwrap();
        let end = arena.start_program(&[program, "ran"]).end();
        failed(&arena, &end, 126, &not_executable(program));
    }
}

#[test]
fn a_policy_that_cannot_be_trusted_is_refused() {
    let arena = Arena::new();
    let good = serde_json::to_string(&arena.policy).unwrap();
    let unknown = good.replacen('{', "{\"extra\":1,", 1);
    let newer = good.replacen("\"version\":1", "\"version\":2", 1);
    let relative = good.replacen("\"/usr\"", "\"usr\"", 1);
    let private = 0o600;
    for (text, mode, complaint) in [
        ("", private, "cannot understand policy"),
        ("{}", private, "missing field `version`"),
        (&good[..good.len() / 2], private, "cannot understand policy"),
        (unknown.as_str(), private, "unknown field `extra`"),
        (newer.as_str(), private, "version is 2, known is 1"),
        (relative.as_str(), private, "path usr is not absolute"),
        (good.as_str(), 0o640, "it is open to group or others"),
        (good.as_str(), 0o602, "it is open to group or others"),
    ] {
        let policy = arena.run_folder("policy.json");
        fs::write(&policy, text).unwrap();
        fs::set_permissions(&policy, fs::Permissions::from_mode(mode)).unwrap();
        for verb in ["supervise", "enter"] {
            let script = format!("{BIN} {verb} --policy {} -- touch ran", policy.display());
            let output = arena.run_beside(&script);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(125), "{text} {stderr}");
            assert!(
                stderr.contains(complaint) && stderr.contains("; fix: "),
                "{text}: {stderr}"
            );
            assert!(!arena.inside("ran").exists());
        }
    }
}

#[test]
fn a_policy_behind_a_link_is_refused() {
    let arena = Arena::new();
    arena.policy.create(&arena.run_folder("real.json")).unwrap();
    let link = arena.run_folder("policy.json");
    std::os::unix::fs::symlink(arena.run_folder("real.json"), &link).unwrap();
    let end = arena.start_with(&link, &MARK).end();
    let line = format!(
        "loki-jail: cannot read policy {}: Too many levels of symbolic links (os error 40); \
         fix: give the path of a policy that the runtime wrote",
        link.display()
    );
    failed(&arena, &end, 125, &line);
}

#[test]
fn the_environment_is_exactly_the_policys() {
    let mut arena = Arena::new();
    arena.policy.environment = [
        ("A".to_owned(), "1".to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ]
    .into();
    let end = arena
        .start_program(&["/usr/bin/cat", "/proc/self/environ"])
        .end();
    assert_eq!((end.code, end.stdout.as_str()), (Some(0), "A=1\0EMPTY=\0"));
    // The supervisor cleans its environment too, so `enter` has to be tried alone.
    let script = format!(
        "SECRET=1 {BIN} enter --policy {} -- /usr/bin/cat /proc/self/environ; true",
        arena.run_folder("policy.json").display()
    );
    std::fs::remove_file(arena.policy.layers.as_ref().unwrap()).unwrap();
    assert_eq!(arena.run_beside(&script).stdout, b"A=1\0EMPTY=\0");
}

#[test]
fn inherited_descriptors_are_not_there() {
    let arena = Arena::new();
    let (reading, _writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // Without close-on-exec, and far from the numbers that a shell uses.
    let inherited = rustix::io::fcntl_dupfd_cloexec(&reading, 60).unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&inherited);
    let script = format!("[ -e /proc/$$/fd/{number} ] && echo there; exit 0");
    assert_eq!(
        String::from_utf8(arena.run_beside(&script).stdout).unwrap(),
        "there\n"
    );
    assert_eq!(arena.run(&script).stdout, "");
    // The supervisor passes none on, so `enter` has to be tried alone.
    let mut direct = arena::command(BIN);
    direct
        .args(["enter", "--policy"])
        .arg(arena.run_folder("policy.json"))
        .args(["--", "/bin/bash", "-c", &script]);
    fs::remove_file(arena.policy.layers.as_ref().unwrap()).unwrap();
    let output = direct.output().unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b""[..])
    );
    let end = Arena::new()
        .start_program(&["/usr/bin/ls", "/proc/self/fd"])
        .end();
    // The last is the folder that it lists.
    assert_eq!(end.stdout, "0\n1\n2\n3\n");
}

#[test]
fn no_power_is_left() {
    let mut arena = Arena::new();
    arena
        .policy
        .environment
        .insert("LC_ALL".to_owned(), "C".to_owned());
    let end =
        arena.run("grep --extended-regexp '^(NoNewPrivs|Cap(Inh|Prm|Eff|Amb))' /proc/self/status");
    let none = "0000000000000000";
    let expected = format!(
        "CapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\nNoNewPrivs:\t1\n"
    );
    assert_eq!(end.stdout, expected, "{end:?}");
    if is_root() {
        let end = Arena::new().run("grep CapBnd /proc/self/status");
        assert_eq!(end.stdout, format!("CapBnd:\t{none}\n"));
    }
}

#[test]
fn session_folder_umask_limits_and_input_are_set() {
    let mut arena = Arena::new();
    let input = arena.outside("input");
    fs::write(&input, "said\n").unwrap();
    arena.policy.stdin = Some(input);
    arena.policy.umask = 0o027;
    arena.policy.limits.open_files = Some(64);
    arena.policy.limits.file_size_bytes = Some(1024);
    // The sixth field is the session, which is the program's own.
    let end = arena.run(
        "read line; echo $line; pwd; umask; ulimit -c; ulimit -Hn; ulimit -Sf; \
         read -a stat < /proc/$$/stat; [ ${stat[5]} = $$ ] && echo leads",
    );
    let expected = format!(
        "said\n{}\n0027\n0\n64\n1\nleads\n",
        arena.policy.working_directory.display()
    );
    assert_eq!(end.stdout, expected, "{end:?}");
}

#[test]
fn standard_input_is_empty_by_default() {
    let end = Arena::new().start_program(&["/usr/bin/cat"]).end();
    assert_eq!((end.code, end.stdout.as_str()), (Some(0), ""));
}

#[test]
fn what_was_enforced_is_told() {
    let arena = Arena::new();
    assert_eq!(arena.run("exit 0").code, Some(0));
    let layers = arena.layers().unwrap();
    let base = jail::Layers {
        sandbox: None,
        ..host().clone()
    };
    assert_eq!(layers, base);
    let files = [&arena.policy.report, arena.policy.layers.as_ref().unwrap()];
    for file in files {
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_layer_is_missing_only_with_a_reason() {
    let Layers {
        no_new_privileges,
        no_capabilities,
        landlock_abi,
        file_system,
        ..
    } = host().clone();
    assert!(no_new_privileges && no_capabilities);
    assert_eq!(file_system == Layer::Enforced, landlock_abi >= 3);
}

#[test]
fn enter_works_without_a_supervisor() {
    let arena = Arena::new();
    let policy: PathBuf = arena.run_folder("policy.json");
    arena.policy.create(&policy).unwrap();
    let output = arena.run_beside(&format!(
        "{BIN} enter --policy {} -- sh -c 'echo ran'; true",
        policy.display()
    ));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "ran\n",
        "{:?}",
        output.stderr
    );
}

const BIN: &str = env!("CARGO_BIN_EXE_loki-jail");
