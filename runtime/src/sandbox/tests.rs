use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use config::contract::session::Layer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::*;
use crate::scene::{Scene, sandbox_settings, settings};

/// Runs a script as an agent that must not get what it asks for.
#[track_caller]
fn check_refused(scene: &Scene, finished: &Finished, expected: &str) {
    let said = String::from_utf8_lossy(&finished.stderr);
    assert!(said.contains(expected), "{said:?} is not {expected:?}");
    assert!(!finished.succeeded());
    scene.assert_no_trap_sprung();
}

#[test]
fn settings_that_uncover_lokis_data_are_refused() {
    let scene = Scene::empty();
    let data = scene.home.directory().to_owned();
    let inside = data.join("dashboard");
    fs::create_dir(&inside).unwrap();
    let link = scene.path("link");
    symlink(&data, &link).unwrap();
    for path in [scene.path(""), data, inside, link, "/".into()] {
        let settings = config::runtime::Jail {
            read: vec![path.clone()],
            ..settings()
        };
        let found = Sandbox::probe(&scene.home, &settings, &sandbox_settings());
        assert!(
            matches!(found, Err(SandboxError::Uncovered { .. })),
            "{path:?}"
        );
    }
    let settings = config::runtime::Jail {
        read: vec!["relative".into()],
        ..settings()
    };
    let found = Sandbox::probe(&scene.home, &settings, &sandbox_settings());
    assert!(matches!(found, Err(SandboxError::Relative { .. })));
}

#[tokio::test]
async fn programs_are_not_given_what_uncovers_data_or_leads_elsewhere() {
    let scene = Scene::empty();
    let (sandbox, folder) = (scene.sandbox(), scene.session(1));
    let agent = || sandbox.agent(&folder, vec!["true".into()], BTreeMap::new(), None);
    let link = folder.workspace().join("link");
    symlink(scene.home.directory(), &link).unwrap();
    let away = folder.workspace().join("away");
    symlink("/root", &away).unwrap();

    let with = |change: fn(&mut Confined, PathBuf), path: PathBuf| {
        let mut confined = agent();
        change(&mut confined, path);
        sandbox.start(confined, 0).unwrap_err().to_string()
    };
    let read = |confined: &mut Confined, path| confined.read.push(path);
    let write = |confined: &mut Confined, path| confined.write.push(path);
    let input = |confined: &mut Confined, path| confined.input = Some(path);
    let uncovers = "Loki's own data lies in";
    assert!(with(read, scene.path("")).contains(uncovers));
    assert!(with(write, scene.home.directory().to_owned()).contains(uncovers));
    assert!(with(read, link).contains(uncovers));
    assert!(with(write, away).contains("it leads to /root"));
    let prompt = folder.workspace().join("prompt");
    assert!(with(input, prompt).contains("as standard input"));
    let nothing = |confined: &mut Confined, _| confined.program_and_arguments.clear();
    assert!(with(nothing, PathBuf::new()).contains("none is named"));
}

#[tokio::test]
async fn an_agent_reaches_neither_lokis_data_nor_the_system_nor_others() {
    let scene = Scene::new();
    let data = scene.home.directory().join("dashboard");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("tokens.json"), "secret").unwrap();
    let other = scene.session(2);
    fs::write(other.workspace().join("file"), "other").unwrap();
    let own = scene.session(1);
    fs::write(own.agent_audit(), "").unwrap();

    let quoted = |path: &Path| format!("'{}'", path.display());
    let attempts = [
        format!("cat {}", quoted(&data.join("tokens.json"))),
        format!("ls {}", quoted(scene.home.directory())),
        format!("touch {}", quoted(&data.join("new"))),
        format!("cat {}", quoted(&other.workspace().join("file"))),
        format!("cat {}", quoted(&scene.project_path().join("README"))),
        format!("touch {}", quoted(&scene.canary())),
        format!("touch {}", quoted(&own.repository().join("canary"))),
        format!("echo x >> {}", quoted(&own.agent_audit())),
        format!("mv {} stolen", quoted(&data.join("tokens.json"))),
        format!("ln -s {} link; cat link/tokens.json", quoted(&data)),
        format!("cat /proc/{}/environ", std::process::id()),
        "cat /etc/shadow".to_owned(),
        "touch /usr/local/planted".to_owned(),
        "touch /tmp/planted-by-agent".to_owned(),
    ];
    for attempt in attempts {
        let finished = scene.agent(&attempt).await;
        check_refused(&scene, &finished, "ermission denied");
    }
    let hard = format!("ln {} stolen", quoted(&data.join("tokens.json")));
    check_refused(&scene, &scene.agent(&hard).await, "failed to create");
    let killed = scene
        .agent(&format!("kill -9 {}", std::process::id()))
        .await;
    check_refused(&scene, &killed, "not permitted");
    assert_eq!(
        fs::read_to_string(data.join("tokens.json")).unwrap(),
        "secret"
    );
}

#[tokio::test]
async fn an_agent_works_in_its_workspace_with_the_systems_programs() {
    let scene = Scene::empty();
    let folder = scene.session(1);
    let script =
        "echo work > file && git init -q . && echo t > \"$TMPDIR/t\" && echo h > ~/h && env | sort";
    let finished = scene.agent(script).await;
    let said = String::from_utf8_lossy(&finished.stderr);
    assert!(finished.succeeded(), "{said}");
    let show = |path: PathBuf| path.display().to_string();
    let environment = String::from_utf8(finished.stdout).unwrap();
    let expected = format!(
        "HOME={}\nLANG=C.UTF-8\nLOKI_SESSION_ID=sess-111111111111\nPATH={}\nPWD={}\nTMPDIR={}\n",
        show(folder.home()),
        system::PATH,
        show(folder.workspace()),
        show(folder.temporary()),
    );
    assert_eq!(environment, expected);
    assert_eq!(fs::read_to_string(folder.home().join("h")).unwrap(), "h\n");
}

#[tokio::test]
async fn variables_cannot_move_an_agents_home() {
    let scene = Scene::empty();
    let tools = scene.path("tools");
    fs::create_dir_all(tools.join("bin")).unwrap();
    let sandbox = scene.sandbox_with(|jail| jail.read.push(tools.clone()));
    let (folder, text) = (scene.session(1), |text: &str| text.to_owned());
    let asked = [("HOME", "/root"), ("LANG", "C"), ("KEY", "value")];
    let asked = asked.map(|(name, value)| (text(name), text(value)));
    let confined = sandbox.agent(&folder, vec!["true".into()], asked.into(), None);
    let path = format!("{}:{}", tools.join("bin").display(), system::PATH);
    let expected = [
        ("HOME", folder.home().display().to_string()),
        ("KEY", text("value")),
        ("LANG", text("C")),
        ("LOKI_SESSION_ID", text("sess-111111111111")),
        ("PATH", path),
        ("TMPDIR", folder.temporary().display().to_string()),
    ];
    let expected = expected.map(|(name, value)| (text(name), value));
    assert_eq!(confined.environment, BTreeMap::from(expected));
    assert_eq!(confined.read, [tools]);
}

#[tokio::test]
async fn bounds_end_the_whole_tree() {
    let scene = Scene::empty();
    let (sandbox, folder) = (scene.sandbox(), scene.session(1));
    let agent = |script: &str| {
        let command = ["sh", "-c", script].map(Into::into).into();
        sandbox.agent(&folder, command, BTreeMap::new(), None)
    };
    let long = Duration::from_secs(60);
    let loud = sandbox.run(agent("(setsid yes) & yes"), 5000, long);
    let loud = loud.await.unwrap();
    assert_eq!(loud.cut, Some(Cut::Output(5000)));
    assert_eq!(loud.stdout.len(), 5000);
    assert!(!loud.succeeded());

    let short = Duration::from_millis(300);
    let slow = sandbox.run(agent("echo begun; sleep 60 & sleep 60"), 5000, short);
    let slow = slow.await.unwrap();
    assert_eq!((slow.cut, slow.code), (Some(Cut::Time(short)), 128 + 9));
    assert_eq!(slow.cut.unwrap().to_string(), "it ran longer than 0.3 s");
}

#[tokio::test]
async fn a_program_that_cannot_run_says_so() {
    let scene = Scene::empty();
    let (sandbox, folder) = (scene.sandbox(), scene.session(1));
    let run = |confined| sandbox.run(confined, 5000, Duration::from_secs(60));
    let agent = |name: &str| sandbox.agent(&folder, vec![name.into()], BTreeMap::new(), None);
    let unknown = run(agent("no-such-program")).await.unwrap();
    assert_eq!(unknown.code, 127);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("cannot find program"));
    let mut confined = agent("true");
    confined.directory = "/nonexistent".into();
    let error = run(confined).await.unwrap_err();
    assert!(matches!(error, SandboxError::NotRun(_)), "{error}");
    assert!(error.to_string().contains("cannot open working_directory"));
}

#[tokio::test]
async fn a_killed_supervisor_is_noticed_although_what_it_held_has_its_outputs() {
    let scene = Scene::empty();
    let (sandbox, folder) = (scene.sandbox(), scene.session(1));
    for script in ["exec sleep 600", "while :; do echo again; done"] {
        let script = format!("setsid sh -c 'echo $$; {script}' & wait");
        let command = ["sh", "-c", &script].map(Into::into).into();
        let confined = sandbox.agent(&folder, command, BTreeMap::new(), None);
        let mut tree = sandbox.start(confined, 1024 * 1024 * 1024).unwrap();
        let said = tree.next().await.unwrap();
        let said = String::from_utf8(said.bytes).unwrap();
        let survivor: i32 = said.lines().next().unwrap().parse().unwrap();
        let kill = |id: i32| {
            let id = rustix::process::Pid::from_raw(id).unwrap();
            rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        };
        kill(i32::try_from(tree.supervisor()).unwrap());
        let ended = tokio::time::timeout(Duration::from_secs(10), tree.wait()).await;
        let error = ended.expect("it is not waited for").unwrap_err();
        assert!(matches!(error, SandboxError::NoReport(_)), "{error}");
        kill(survivor);
    }
}

#[tokio::test]
async fn a_stopped_tree_has_its_grace_and_a_dropped_one_none() {
    let scene = Scene::empty();
    let (sandbox, folder) = (scene.sandbox(), scene.session(1));
    let start = |script: &str| {
        let command = ["sh", "-c", script].map(Into::into).into();
        let confined = sandbox.agent(&folder, command, BTreeMap::new(), None);
        sandbox.start(confined, 5000).unwrap()
    };
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut tree = start(script);
    assert_eq!(tree.next().await.unwrap().bytes, b"ready\n");
    tree.stop(Duration::from_secs(30)).await.unwrap();
    loop {
        let chunk = tree.next().await.unwrap();
        // The shell may say on its error output that its child was ended.
        if chunk.stream == Stream::Output {
            assert_eq!(chunk.bytes, b"bye\n");
            break;
        }
    }
    let ended = tree.wait().await.unwrap();
    assert_eq!((ended.code, ended.cut), (3, None));
    assert_eq!(ended.report.stopped_by, jail::StoppedBy::Stop);

    let mut tree = start("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    assert_eq!(tree.next().await.unwrap().bytes, b"ready\n");
    tree.kill().await.unwrap();
    let ended = tree.wait().await.unwrap();
    assert_eq!(ended.report.stopped_by, jail::StoppedBy::Kill);

    // The pipe's other end is held by the tree alone, so its end proves that nothing of it is left.
    let fifo = folder.workspace().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let pipe = rustix::fs::open(&fifo, flags, Mode::empty()).unwrap();
    let mut tree = start("exec 3> fifo; setsid sleep 60 & echo ready; sleep 60");
    assert_eq!(tree.next().await.unwrap().bytes, b"ready\n");
    drop(tree);
    let seconds = Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut watched = [PollFd::new(&pipe, PollFlags::IN)];
    assert_eq!(poll(&mut watched, Some(&seconds)), Ok(1));
    assert_eq!(watched[0].revents(), PollFlags::HUP);
}

#[test]
fn a_host_without_the_base_jail_is_refused_unless_allowed() {
    let scene = Scene::empty();
    let sandbox = |allow_advisory, require_enforcement| {
        let mut inner = Arc::into_inner(scene.sandbox().0).unwrap();
        inner.layers.file_system = jail::Layer::Unavailable {
            reason: "this kernel has no Landlock".to_owned(),
        };
        inner.settings.allow_advisory = allow_advisory;
        inner.settings.require_enforcement = require_enforcement;
        Sandbox(Arc::new(inner))
    };
    let strict = sandbox(false, false)
        .admit(&scene.profile(false))
        .unwrap_err()
        .to_string();
    assert!(strict.starts_with(
        "cannot enforce the base jail on this host: this kernel has no Landlock; fix: "
    ));
    let all = sandbox(true, true)
        .admit(&scene.profile(false))
        .unwrap_err()
        .to_string();
    assert!(all.starts_with("cannot enforce reads outside the workspace, writes outside"));
    let lenient = sandbox(true, false);
    assert!(lenient.admit(&scene.profile(false)).is_ok());
    let writes = &lenient.enforcement(&scene.profile(false))[1];
    assert_eq!(writes.layer, Layer::Advisory);
    assert_eq!(
        writes.reason.as_deref(),
        Some("this kernel has no Landlock")
    );
    assert_eq!(
        lenient.may_be_missing(),
        BTreeSet::from([LayerName::FileSystem])
    );
}

#[test]
fn a_host_without_the_sandbox_refuses_sessions_that_ask_for_it() {
    let scene = Scene::empty();
    let missing = || jail::Layer::Unavailable {
        reason: "this kernel has it not; fix: another".to_owned(),
    };
    let admitted = |change: &dyn Fn(&mut jail::SandboxLayers), may_lack: &[&str], asked: bool| {
        let mut inner = Arc::into_inner(scene.sandbox().0).unwrap();
        change(inner.layers.sandbox.as_mut().unwrap());
        inner.sandbox.may_lack = may_lack.iter().map(|name| (*name).to_owned()).collect();
        Sandbox(Arc::new(inner))
            .admit(&scene.profile(asked))
            .map_err(|error| error.to_string())
    };
    let all = ["cpu", "memory", "processes"];
    let layers: [fn(&mut jail::SandboxLayers) -> &mut jail::Layer; 4] = [
        |layers| &mut layers.namespaces,
        |layers| &mut layers.root,
        |layers| &mut layers.network,
        |layers| &mut layers.system_calls,
    ];
    for layer in layers {
        let change = &|layers: &mut jail::SandboxLayers| *layer(layers) = missing();
        let why = admitted(change, &all, true).unwrap_err();
        assert!(
            why.contains("this kernel has it not; fix: another"),
            "{why}"
        );
        assert_eq!(admitted(change, &all, false), Ok(()));
    }
    let memory = |layers: &mut jail::SandboxLayers| layers.memory = missing();
    let why = admitted(&memory, &["cpu", "processes"], true).unwrap_err();
    assert!(why.contains("memory: this kernel"), "{why}");
    assert_eq!(admitted(&memory, &all, true), Ok(()));
}

#[test]
fn what_is_not_built_is_never_called_enforced() {
    let scene = Scene::empty();
    let found: Vec<_> = scene
        .sandbox()
        .enforcement(&scene.profile(false))
        .into_iter()
        .map(|enforcement| (enforcement.control, enforcement.layer))
        .collect();
    let expected = [
        ("reads outside the workspace", Layer::Kernel),
        ("writes outside the workspace", Layer::Kernel),
        ("Loki's own data, keys and audit", Layer::Kernel),
        ("the project's repository", Layer::Kernel),
        ("no new privileges", Layer::Kernel),
        ("outgoing TCP but to listed ports", Layer::Kernel),
        ("signals to outside processes", Layer::Kernel),
        ("abstract sockets of outside processes", Layer::Kernel),
        ("network isolation", Layer::Unavailable),
        ("seccomp", Layer::Unavailable),
        ("resource limits", Layer::Unavailable),
        ("protected git metadata", Layer::Unavailable),
    ];
    assert_eq!(
        found,
        expected.map(|(name, layer)| (name.to_owned(), layer))
    );
}
