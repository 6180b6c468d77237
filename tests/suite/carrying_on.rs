//! Chaos: whatever is killed, at whatever moment, nothing acknowledged is lost, nothing is left behind,
//! and every session ends in a legal state.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::Value;
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::Deployment;
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
        .map(|project| deployment.start_session(&client, project.path()))
        .collect();
    let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut choice = Choice(7);
    for round in 0..poll::rounds(20, 200) {
        break_something(&mut deployment, &mut choice);
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
                ids[number] = deployment.start_session(&client, projects[number].path());
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
    for (project, main) in projects.iter().zip(&mains) {
        assert_eq!(&project.commit("main"), main);
        project.assert_sound();
    }
}
