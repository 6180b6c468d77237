//! Chaos: whatever is killed, at whatever moment, nothing acknowledged is lost, nothing is left behind,
//! and every session ends in a legal state.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::{Deployment, session_request};
use tests::poll;
use tests::process;
use tests::repository::Repository;

const SESSIONS: usize = 3;

/// Works in small steps and leaves its parents now and then; done after some iterations.
const WORKING: &str = "(setsid sh -c 'while :; do sleep 0.1; done' &)\n\
                       n=0; while [ $n -lt 10 ]; do n=$((n+1)); echo $n >>work.txt; sleep 0.02; done";

/// Chooses the same way in each run, so that a failure can be repeated.
struct Choice(u64);

impl Choice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Returns a session's events as far as they can be read now.
fn events(client: &Client, id: &str) -> Option<Vec<Value>> {
    let answer = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    (answer.status == 200).then(|| answer.json()["events"].as_array().unwrap().clone())
}

/// Processes of agents and of the jail's supervisors.
fn working(deployment: &Deployment, jail: bool) -> Vec<u32> {
    process::around(deployment.root())
        .into_iter()
        .filter(|(_, line)| !line.contains("loki-runtime") && !line.contains("loki-gateway"))
        .filter(|(_, line)| line.contains("loki-jail") == jail)
        .map(|(id, _)| id)
        .collect()
}

/// Starts a session; the first project's in the sandbox.
fn begin(client: &Client, number: usize, project: &Repository) -> String {
    let mut body = session_request(project.path());
    if number == 0 {
        body["tighten"] = json!({"sandbox": true});
    }
    let begun = client.post("/api/sessions", &body).with_status(201).json();
    begun["id"].as_str().unwrap().to_owned()
}

fn break_something(deployment: &mut Deployment, choice: &mut Choice) {
    match choice.below(4) {
        0 => {
            deployment.kill_runtime();
            deployment.start_runtime();
        }
        1 => {
            process::signal(deployment.gateway_id(), Signal::KILL);
            process::wait_until_gone(deployment.gateway_id());
            let _collected = deployment.stop_gateway();
            deployment.start_gateway();
        }
        kind => {
            let found = working(deployment, kind == 2);
            if !found.is_empty() {
                let unlucky = found[choice.below(found.len())];
                process::signal(unlucky, Signal::KILL);
            }
        }
    }
}

/// Returns the control groups that these runtimes had made.
fn groups(below: &Path, runtimes: &BTreeSet<u32>, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        if depth == 0 || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name().into_string().unwrap_or_default();
        let made = |runtime: &u32| name.starts_with(&format!("loki-{runtime}-"));
        if runtimes.iter().any(made) {
            found.push(entry.path());
        }
        found.extend(groups(&entry.path(), runtimes, depth - 1));
    }
    found
}

fn sockets(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            sockets(&entry.path(), found);
        } else if std::os::unix::fs::FileTypeExt::is_socket(&kind) {
            found.push(entry.path());
        }
    }
}

/// Looks for what killed runs could have left: control groups, mounts, sockets, folders of policies.
fn nothing_is_left_behind(deployment: &mut Deployment, runtimes: &BTreeSet<u32>) {
    assert_eq!(deployment.stop_runtime(), Some(0));
    deployment.start_runtime();
    let own = BTreeSet::from([deployment.runtime_id()]);
    let others: BTreeSet<u32> = runtimes.difference(&own).copied().collect();
    let left = groups(Path::new("/sys/fs/cgroup"), &others, 6);
    assert_eq!(left, Vec::<PathBuf>::new(), "control groups");
    let root = deployment.root().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&root)).collect();
    assert_eq!(left, Vec::<&str>::new(), "mounts");
    let data = deployment.home().runtime();
    let mut left = Vec::new();
    sockets(&data, &mut left);
    assert_eq!(left, Vec::<PathBuf>::new(), "sockets");
    let runs = fs::read_dir(data.join("jail")).unwrap().count();
    assert_eq!(runs, 1, "folders of policies");
}

#[test]
fn whatever_is_killed_nothing_acknowledged_is_lost_and_nothing_is_left() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::doing(WORKING))
        .with_verification(&["/bin/sh", "-c", "test $(wc -l <work.txt) -ge 60"])
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let projects: Vec<Repository> = (0..SESSIONS)
        .map(|number| deployment.project(&format!("app-{number}")))
        .collect();
    let mains: Vec<String> = projects
        .iter()
        .map(|project| project.commit("main"))
        .collect();
    let client = deployment.client();
    let mut ids: Vec<String> = projects
        .iter()
        .enumerate()
        .map(|(number, project)| begin(&client, number, project))
        .collect();
    let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut choice = Choice(7);
    let mut runtimes = BTreeSet::new();
    for round in 0..poll::rounds(20, 200) {
        runtimes.insert(deployment.runtime_id());
        break_something(&mut deployment, &mut choice);
        runtimes.insert(deployment.runtime_id());
        let client = deployment.client();
        for (number, id) in ids.clone().into_iter().enumerate() {
            let now = poll::until("events can be read", || events(&client, &id));
            let before = known.entry(id.clone()).or_default();
            assert!(now.starts_with(before), "round {round}: {id} lost events");
            *before = now;
            let view = client.get(&format!("/api/sessions/{id}")).json();
            let state = view["state"].as_str().unwrap_or_default().to_owned();
            if ["completed", "failed", "stopped"].contains(&state.as_str()) {
                assert!(
                    state == "completed" || view["reason"].is_string(),
                    "{view:#}"
                );
                ids[number] = begin(&client, number, &projects[number]);
            }
        }
    }
    let client = deployment.client();
    for id in &ids {
        let answer = client
            .request("POST", &format!("/api/sessions/{id}/stop"))
            .send();
        assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    }
    poll::until("nothing of a session runs", || {
        let left = [working(&deployment, true), working(&deployment, false)].concat();
        left.is_empty().then_some(())
    });
    for id in known.keys() {
        let view = client
            .get(&format!("/api/sessions/{id}"))
            .with_status(200)
            .json();
        let state = view["state"].as_str().unwrap_or_default();
        assert!(
            ["completed", "failed", "stopped"].contains(&state),
            "{view:#}"
        );
    }
    nothing_is_left_behind(&mut deployment, &runtimes);
    for (project, main) in projects.iter().zip(&mains) {
        assert_eq!(&project.commit("main"), main);
        project.assert_sound();
    }
}
