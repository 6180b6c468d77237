//! Chaos: whatever is killed, at whatever moment, nothing acknowledged is lost, nothing is left behind,
//! and every session ends in a legal state.
//!
//! Sessions work, ask and wait while the runtime, the gateway, agents and jails are killed, one or several
//! at once. The seed is printed; `SUITE_SEED` repeats a run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::agent::Agent;
use tests::client::Client;
use tests::command;
use tests::deployment::{Deployment, session_request};
use tests::poll;
use tests::process;
use tests::repository::Repository;

/// The first one works in the sandbox, the last one waits for a person now and then.
const SESSIONS: usize = 4;

/// Works in small steps, commits, and leaves its parents now and then; done after some iterations.
const WORKING: &str = "(setsid sh -c 'while :; do sleep 0.1; done' &)\n\
                       echo own >>own.txt; git add own.txt; git commit -q -m 'Own work'\n\
                       n=0; while [ $n -lt 10 ]; do n=$((n+1)); echo $n >>work.txt; sleep 0.02; done";

/// Chooses the same way for the same seed, so that a failure can be repeated.
struct Choice(u64);

impl Choice {
    fn new() -> Self {
        let given = env::var("SUITE_SEED")
            .ok()
            .map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::from(now.unwrap().subsec_nanos())
        });
        tell(seed);
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[expect(
    clippy::print_stderr,
    reason = "whoever sees the failure needs the seed to repeat it"
)]
fn tell(seed: u64) {
    eprintln!("to repeat these choices: SUITE_SEED={seed}");
}

/// Processes of agents, or of the jail's supervisors.
fn working(deployment: &Deployment, jail: bool) -> Vec<u32> {
    process::around(deployment.root())
        .into_iter()
        .filter(|(_, line)| !line.contains("loki-runtime") && !line.contains("loki-gateway"))
        .filter(|(_, line)| line.contains("loki-jail") == jail)
        .map(|(id, _)| id)
        .collect()
}

fn kill_one(found: &[u32], choice: &mut Choice) {
    if !found.is_empty() {
        process::signal(found[choice.below(found.len())], Signal::KILL);
    }
}

fn break_something(deployment: &mut Deployment, choice: &mut Choice) {
    let kind = choice.below(6);
    if matches!(kind, 2 | 4 | 5) {
        let agents = working(deployment, false);
        kill_one(&agents, choice);
    }
    if matches!(kind, 3..=5) {
        let jails = working(deployment, true);
        kill_one(&jails, choice);
    }
    let (runtime, gateway) = (matches!(kind, 0 | 4), matches!(kind, 1 | 4));
    if runtime {
        deployment.kill_runtime();
    }
    if gateway {
        deployment.kill_gateway();
    }
    // Whoever is away is not waited for by the other.
    let first = choice.below(2) == 0;
    if runtime && first {
        deployment.start_runtime();
    }
    if gateway {
        deployment.start_gateway();
    }
    if runtime && !first {
        deployment.start_runtime();
    }
}

/// Reads all events of a session.
fn events(client: &Client, id: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let path = format!("/api/sessions/{id}/events?limit=1000&after={}", all.len());
        let page = poll::until("events can be read", || {
            let answer = client.get(&path);
            (answer.status == 200).then(|| answer.json()["events"].as_array().unwrap().clone())
        });
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// What was acknowledged, and must be there to the end.
#[derive(Default)]
struct Acknowledged {
    /// Events of each session, as far as they were read.
    events: BTreeMap<String, Vec<Value>>,
    /// Tasks of the board.
    tasks: BTreeSet<String>,
    /// What each session was told.
    inputs: BTreeMap<String, Vec<String>>,
    /// Approvals that were granted.
    approved: BTreeSet<String>,
}

impl Acknowledged {
    /// Reads a session's events, of which no earlier one may have changed.
    fn look(&mut self, client: &Client, id: &str) {
        let now = events(client, id);
        let before = self.events.entry(id.to_owned()).or_default();
        assert!(now.starts_with(before), "{id} lost events");
        *before = now;
    }

    /// Changes something small of each kind.
    fn change(&mut self, client: &Client, id: &str, round: usize) {
        let title = format!("Task {round}.");
        let _made = client
            .post("/api/tasks", &json!({ "title": title }))
            .with_status(201);
        self.tasks.insert(title);
        let text = format!("Mind round {round}.");
        let path = format!("/api/sessions/{id}/input");
        let answer = client.post(&path, &json!({ "text": text }));
        if answer.status < 300 {
            self.inputs.entry(id.to_owned()).or_default().push(text);
        } else {
            assert_eq!(answer.status, 409, "it is over: {}", answer.text());
        }
        let listed = client.get("/api/approvals").with_status(200).json();
        for approval in listed["approvals"].as_array().unwrap() {
            if approval["state"] != "requested" {
                continue;
            }
            let approval = approval["id"].as_str().unwrap();
            let path = format!("/api/approvals/{approval}/approve");
            if client.post(&path, &json!({})).status == 200 {
                self.approved.insert(approval.to_owned());
            }
        }
    }

    fn assert_kept(&mut self, deployment: &Deployment, client: &Client) {
        let ids: Vec<String> = self.events.keys().cloned().collect();
        for id in &ids {
            self.look(client, id);
            assert_legal(client, id, &self.events[id]);
            let told = self.events[id]
                .iter()
                .filter(|event| event["type"] == "input");
            let told: Vec<&str> = told
                .map(|event| event["data"]["text"].as_str().unwrap())
                .collect();
            for text in self.inputs.get(id).into_iter().flatten() {
                assert!(
                    told.contains(&text.as_str()),
                    "{id}: {text} is not in {told:?}"
                );
            }
        }
        let board = client.get("/api/tasks").with_status(200).json();
        let board: BTreeSet<String> = board
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["title"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(board, self.tasks);
        for approval in &self.approved {
            let view = client
                .get(&format!("/api/approvals/{approval}"))
                .with_status(200)
                .json();
            let state = view["state"].as_str().unwrap();
            assert!(matches!(state, "consumed" | "lapsed"), "{view:#}");
        }
        let verified = deployment.loki(&["enterprise", "audit", "verify"]);
        let _valid = verified.ended_with(0);
    }
}

/// Where a session may go from a state, as the documents have it.
fn leads_to(state: &str) -> &'static [&'static str] {
    match state {
        "created" => &["preparing", "failed", "stopped"],
        "preparing" => &["running", "waiting_approval", "failed", "stopped"],
        "running" | "waiting_approval" | "paused" | "verifying" => &[
            "running",
            "paused",
            "waiting_approval",
            "verifying",
            "completed",
            "failed",
            "stopped",
        ],
        _ => &[],
    }
}

/// Asserts that a session went only where it may go, to an end, and that it says why if it was not done.
fn assert_legal(client: &Client, id: &str, events: &[Value]) {
    let mut state = "created".to_owned();
    for (event, seq) in events.iter().zip(1_u64..) {
        assert_eq!(event["seq"], seq, "{event:#}");
        if event["type"] != "state" || event["data"]["to"] == "created" {
            continue;
        }
        let to = event["data"]["to"].as_str().unwrap();
        assert!(leads_to(&state).contains(&to), "{id}: {state} to {to}");
        to.clone_into(&mut state);
    }
    assert!(leads_to(&state).is_empty(), "{id} is {state}");
    let path = format!("/api/sessions/{id}");
    let view = client.get(&path).with_status(200).json();
    assert_eq!(view["state"], state.as_str(), "{view:#}");
    assert!(
        state == "completed" || view["reason"].is_string(),
        "{view:#}"
    );
}

/// Asserts that the agent audit fits, and has each commit that the runtime kept of its sessions once at least;
/// returns how many these are.
fn assert_recorded(deployment: &Deployment, project: &Path, ids: &BTreeSet<String>) -> usize {
    let mut count = 0;
    let verified = command::run(
        deployment
            .command("loki")
            .args(["audit", "verify"])
            .current_dir(project),
    );
    let _valid = verified.ended_with(0);
    for id in ids {
        let folder = deployment.home().runtime().join("sessions").join(id);
        let Ok(text) = fs::read_to_string(folder.join("agent-audit.jsonl")) else {
            continue;
        };
        let kept = folder.join("repository.git");
        if !kept.join("refs/loki/base").exists() {
            // It was stopped before the project was cloned.
            continue;
        }
        let mut git = deployment.foreign_command("git");
        git.args(["rev-list", "--branches", "--not", "--glob=refs/loki"])
            .current_dir(&kept);
        for commit in command::run(&mut git).output().lines() {
            let record = format!("\"commit\":\"{commit}\"");
            assert!(text.contains(&record), "{id}: {commit} is not in {text}");
            count += 1;
        }
    }
    count
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

/// Looks for what killed runs could have left: control groups, mounts, sockets, temporary folders.
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
    let left = fs::read_dir(deployment.root().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "temporary files");
}

/// Starts a session and returns its id.
fn begin(client: &Client, number: usize, project: &Repository) -> String {
    let mut body = session_request(project.path());
    if number == 0 {
        body["tighten"] = json!({"sandbox": true});
    } else if number == SESSIONS - 1 {
        body["tighten"] = json!({"autonomy_mode": "checkpoint"});
    }
    let begun = client.post("/api/sessions", &body).with_status(201).json();
    begun["id"].as_str().unwrap().to_owned()
}

fn start() -> Deployment {
    let builder = Deployment::builder();
    let temporary = builder.root().join("tmp");
    fs::create_dir(&temporary).unwrap();
    builder
        .with_provider("claude", Agent::doing(WORKING))
        .with_verification(&["/bin/sh", "-c", "test $(wc -l <work.txt) -ge 60"])
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("TMPDIR", temporary.to_str().unwrap())
        .start()
}

#[test]
fn whatever_is_killed_nothing_acknowledged_is_lost_and_nothing_is_left() {
    let mut choice = Choice::new();
    let mut deployment = start();
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
    let mut of_project: Vec<BTreeSet<String>> = vec![BTreeSet::new(); SESSIONS];
    let mut acknowledged = Acknowledged::default();
    let mut runtimes = BTreeSet::new();
    for round in 0..poll::rounds(20, 200) {
        runtimes.insert(deployment.runtime_id());
        break_something(&mut deployment, &mut choice);
        runtimes.insert(deployment.runtime_id());
        let client = deployment.client();
        for (number, id) in ids.clone().into_iter().enumerate() {
            acknowledged.look(&client, &id);
            of_project[number].insert(id.clone());
            let view = client.get(&format!("/api/sessions/{id}")).json();
            if view["ended_at"].is_string() {
                ids[number] = begin(&client, number, &projects[number]);
            }
        }
        acknowledged.change(&client, &ids[choice.below(SESSIONS)], round);
    }
    let client = deployment.client();
    for (number, id) in ids.iter().enumerate() {
        acknowledged.look(&client, id);
        of_project[number].insert(id.clone());
        let answer = client
            .request("POST", &format!("/api/sessions/{id}/stop"))
            .send();
        assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    }
    poll::until("nothing of a session runs", || {
        let left = [working(&deployment, true), working(&deployment, false)].concat();
        left.is_empty().then_some(())
    });
    for id in &ids {
        let path = format!("/api/sessions/{id}");
        poll::until("the last sessions end", || {
            client.get(&path).json()["ended_at"]
                .is_string()
                .then_some(())
        });
    }
    acknowledged.assert_kept(&deployment, &client);
    nothing_is_left_behind(&mut deployment, &runtimes);
    let mut commits = 0;
    for (number, project) in projects.iter().enumerate() {
        assert_eq!(project.commit("main"), mains[number]);
        project.assert_sound();
        commits += assert_recorded(&deployment, project.path(), &of_project[number]);
    }
    assert!(commits > 0, "no session came to a commit");
}
