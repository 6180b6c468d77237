//! The work of a session: clone, iterate, verify, hand over.
//!
//! An iteration: write the prompt, run the provider's program on it, commit what it left, run the
//! verify command, judge.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use config::contract::learning::LearningView;
use config::contract::session::{Enforcement, Layer, SessionState, Verification};
use config::private;
use config::runtime::RuntimeSettings;
use serde_json::json;
use tokio::sync::mpsc;

use super::attended::{Attended, Bounds, Recorder, attend};
use super::gate::{self, Gatekeeper, Passage, Question};
use super::learning;
use super::live::Live;
use super::prompt::Prompt;
use super::questions;
use super::trail::{RUNTIME, Trail};
use super::verdict::{self, AgentEnd, Iteration, Verdict};
use super::workshop::{WorkError, Workshop};
use super::{Ending, Worker, outgoing};
use crate::egress::{Outlet, Pending};
use crate::folder::SessionFolder;
use crate::sandbox::{Profile, Sandbox, WayOut};
use crate::store::NewEvent;

/// Carries sessions out with real programs in the sandbox.
#[derive(Clone, Debug)]
pub struct Agency {
    settings: Arc<RuntimeSettings>,
    sandbox: Sandbox,
    outlet: Outlet,
    gatekeeper: Arc<dyn Gatekeeper>,
}

impl Agency {
    /// Builds the worker of a runtime.
    #[must_use]
    pub const fn new(
        settings: Arc<RuntimeSettings>,
        sandbox: Sandbox,
        outlet: Outlet,
        gatekeeper: Arc<dyn Gatekeeper>,
    ) -> Self {
        Self {
            settings,
            sandbox,
            outlet,
            gatekeeper,
        }
    }

    /// Returns the way in which programs are started.
    pub(super) const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Returns the settings.
    pub(super) fn settings(&self) -> &RuntimeSettings {
        &self.settings
    }

    async fn carry_out(&self, live: &Live) -> Ending {
        match self.open(live).await {
            Ok((folder, trail)) => {
                let ending = self.see_through(live, &folder, &trail).await;
                close(live, &trail, ending).await
            }
            Err(error) => Ending::failed(error.to_string()),
        }
    }

    /// Opens the session's folder and its agent audit.
    async fn open(&self, live: &Live) -> Result<(SessionFolder, Trail), WorkError> {
        live.move_to(SessionState::Preparing, |_| ()).await?;
        let (home, id) = (self.settings.home.clone(), live.id().clone());
        let folder =
            tokio::task::spawn_blocking(move || SessionFolder::create(&home, &id)).await??;
        let trail = Trail::open(&folder, &live.assignment().project).await?;
        let view = live.view();
        let details = json!({
            "prd": view.prd,
            "provider": view.provider,
            "project": view.project,
            "user": view.started_by,
        });
        trail.tell(live, "session_start", RUNTIME, details).await?;
        Ok((folder, trail))
    }

    /// Works in the clone, and hands over what was done however that ended.
    async fn see_through(&self, live: &Live, folder: &SessionFolder, trail: &Trail) -> Ending {
        match Workshop::open(live, &self.sandbox, folder, trail).await {
            Ok(Some(mut workshop)) => {
                let ending = match self.iterate(&mut workshop).await {
                    Ok(ending) => ending,
                    Err(error) => Ending::failed(error.to_string()),
                };
                // Notes are a gift: a session does not fail because they cannot be kept.
                if let Err(error) = learning::keep_notes(live, folder).await {
                    tracing::warn!(session = %live.id(), %error, "agent's notes not kept");
                }
                workshop.hand_over(ending, self.gatekeeper.as_ref()).await
            }
            Ok(None) => stopped(live),
            Err(error) => Ending::failed(error.to_string()),
        }
    }

    async fn iterate(&self, workshop: &mut Workshop<'_>) -> Result<Ending, WorkError> {
        let live = workshop.live;
        let iterations_max = live.view().iterations_max;
        let mut done = Vec::new();
        let mut output = String::new();
        let known = learning::recall(live).await?;
        let mut guidance = Vec::new();
        for number in 1..=iterations_max {
            let question = match done.as_slice() {
                [] => {
                    let prompt = self.prompt(live, number, &done, &output, &guidance, &known);
                    questions::first_run(&live.view(), &live.assignment().provider, &prompt)
                }
                done => questions::iteration_end(&live.view(), done, workshop.workspace.tip()),
            };
            match self.pass(workshop, &question).await? {
                Passage::Open => {}
                Passage::Stopped => return Ok(stopped(live)),
                Passage::Rejected { by, reason } if done.is_empty() => {
                    return Ok(Ending::rejected(&by, &reason));
                }
                Passage::Rejected { by, reason } => {
                    guidance.push(format!(
                        "{by} did not approve iteration {}: {reason}",
                        number - 1
                    ));
                }
            }
            begin(live, number).await?;
            let prompt = self.prompt(live, number, &done, &output, &guidance, &known);
            let (agent, said) = self.agent(workshop, number, &prompt).await?;
            output = said;
            let files_changed = workshop.checkpoint(number).await;
            let Some(agent) = agent else {
                // Whoever stops a session wants it stopped, whatever its agent left behind.
                return Ok(match files_changed {
                    Ok(_) => stopped(live),
                    Err(error) => stopped(live).but(&format!(
                        "the agent's last changes could not be committed: {error}"
                    )),
                });
            };
            let files_changed = files_changed?;
            let verification = if agent == AgentEnd::Exited(0) {
                match self.verify(workshop, number).await? {
                    Some(verification) => verification,
                    None => return Ok(stopped(live)),
                }
            } else {
                Verification::Pending
            };
            done.push(Iteration {
                agent,
                files_changed,
                verification,
            });
            learning::observe(live, &done, &self.settings.verify).await?;
            match verdict::judge(&done, iterations_max) {
                Verdict::Again => {}
                Verdict::End(ending) => return Ok(ending),
            }
        }
        Ok(Ending::failed(format!(
            "not done after {iterations_max} iterations"
        )))
    }

    async fn pass(
        &self,
        workshop: &Workshop<'_>,
        question: &Question,
    ) -> Result<Passage, WorkError> {
        let (live, trail) = (workshop.live, workshop.trail);
        gate::pass(live, trail, self.gatekeeper.as_ref(), question).await
    }

    fn prompt(
        &self,
        live: &Live,
        iteration: u32,
        before: &[Iteration],
        output: &str,
        guidance: &[String],
        learnings: &[LearningView],
    ) -> String {
        let view = live.view();
        Prompt {
            prd_name: &view.prd,
            prd_text: &live.assignment().prd_text,
            iteration,
            iterations_max: view.iterations_max,
            before,
            output,
            verify: &self.settings.verify,
            blocked: &live.assignment().policy.blocked(),
            guidance,
            learnings,
        }
        .write()
    }

    /// Runs the provider's program on a prompt; no end if the session is asked to stop. Returns the
    /// end of its output besides.
    async fn agent(
        &self,
        workshop: &Workshop<'_>,
        iteration: u32,
        prompt: &str,
    ) -> Result<(Option<AgentEnd>, String), WorkError> {
        let Workshop {
            live,
            folder,
            trail,
            ..
        } = *workshop;
        let provider = &live.assignment().provider;
        let place = folder.directory();
        let input = place.join(format!("prompt-{iteration}.txt"));
        write(&input, prompt)?;
        let details = json!({
            "provider": provider.name(),
            "program": provider.program(),
            "iteration": iteration,
            "prompt_bytes": prompt.len(),
        });
        trail
            .tell(live, "provider_invoke", provider.name(), details)
            .await?;
        let log = place.join(format!("output-{iteration}.log"));
        let mut recorder = Recorder::new(&log, iteration, true)?;
        let (way_out, decisions) = self.way_out();
        let confined = self.sandbox.confine(
            &live.assignment().profile,
            folder,
            provider.program_and_arguments(),
            provider.variables().clone(),
            Some(input),
            way_out,
        );
        live.set_at_work(true);
        let bounds = self.bounds(self.settings.sessions.iteration_timeout);
        let attended = attend(workshop, confined, bounds, &mut recorder);
        let recorded = outgoing::record(live, trail, provider.name(), decisions);
        let (attended, recorded) = tokio::join!(attended, recorded);
        live.set_at_work(false);
        recorded?;
        let tail = recorder.finish(live).await?;
        let end = match attended? {
            Attended::Exited(code) => Some(AgentEnd::Exited(code)),
            Attended::Cut(reason) => Some(AgentEnd::Cut(reason)),
            Attended::Stopped => None,
        };
        if let Some(end) = &end {
            let text = match end {
                AgentEnd::Exited(code) => format!("the agent's program ended with {code}"),
                AgentEnd::Cut(reason) => format!("the agent was ended: {reason}"),
            };
            let data = json!({ "iteration": iteration, "text": text });
            live.happened(vec![NewEvent::new("note", data)]).await?;
        }
        Ok((end, tail))
    }

    /// Runs the operator's verify command in the clone; nothing if the session is asked to stop.
    async fn verify(
        &self,
        workshop: &Workshop<'_>,
        iteration: u32,
    ) -> Result<Option<Verification>, WorkError> {
        let Workshop {
            live,
            folder,
            trail,
            ..
        } = *workshop;
        live.move_to(SessionState::Verifying, |_| ()).await?;
        let verification = if self.settings.verify.is_empty() {
            Verification::Unverified
        } else {
            let command = self.settings.verify.iter().map(Into::into).collect();
            let profile = &live.assignment().profile;
            let nothing = BTreeMap::new();
            let confined = self
                .sandbox
                .confine(profile, folder, command, nothing, None, None);
            let log = folder.directory().join(format!("verify-{iteration}.log"));
            let mut recorder = Recorder::new(&log, iteration, false)?;
            let bounds = self.bounds(self.settings.sessions.verify_timeout);
            let attended = attend(workshop, confined, bounds, &mut recorder).await;
            let output = recorder.finish(live).await?;
            match attended? {
                Attended::Exited(0) => Verification::Passed,
                Attended::Exited(exit_code) => Verification::Failed { exit_code, output },
                Attended::Cut(reason) => Verification::Failed {
                    exit_code: CUT_EXIT_CODE,
                    output: format!("{output}\nthe verify command was ended: {reason}"),
                },
                Attended::Stopped => return Ok(None),
            }
        };
        let mut data = json!(verification);
        data["iteration"] = json!(iteration);
        let mut details = data.clone();
        if let Some(details) = details.as_object_mut() {
            details.remove("output");
        }
        trail.tell(live, "verification", RUNTIME, details).await?;
        let event = NewEvent::new("verification", data);
        live.update(vec![event], |view| view.verification = verification.clone())
            .await?;
        Ok(Some(verification))
    }

    /// Returns a program's way out of the sandbox, if there is any, and where its decisions come.
    fn way_out(&self) -> (Option<WayOut>, mpsc::Receiver<Pending>) {
        let (sender, receiver) = mpsc::channel(outgoing::WAITING_MAX);
        let way_out = WayOut {
            outlet: self.outlet.clone(),
            decisions: sender,
        };
        ((!self.outlet.is_closed()).then_some(way_out), receiver)
    }

    fn bounds(&self, timeout: std::time::Duration) -> Bounds {
        Bounds {
            timeout,
            grace: self.settings.sessions.stop_grace,
            output_bytes_max: self.settings.sessions.output_bytes_max,
        }
    }
}

impl Worker for Agency {
    fn admit(&self, profile: &Profile) -> Result<Vec<Enforcement>, String> {
        let admitted = self.sandbox.admit(profile);
        admitted.map_err(|error| error.to_string())?;
        let mut controls = self.sandbox.enforcement(profile);
        if profile.sandbox && !self.outlet.is_closed() {
            controls.push(Enforcement {
                control: "connections but to allowed hosts".to_owned(),
                layer: Layer::Proxy,
                reason: None,
            });
        }
        Ok(controls)
    }

    fn work<'work>(
        &'work self,
        session: &'work Live,
    ) -> Pin<Box<dyn Future<Output = Ending> + Send + 'work>> {
        Box::pin(self.carry_out(session))
    }
}

/// Begins an iteration; the state stays `running` after one that was not verified.
async fn begin(live: &Live, number: u32) -> Result<(), WorkError> {
    if live.view().state == SessionState::Running {
        let data = json!({ "iteration": number, "text": "the next iteration begins" });
        live.update(vec![NewEvent::new("note", data)], |view| {
            view.iteration = number;
        })
        .await?;
    } else {
        live.move_to(SessionState::Running, |view| view.iteration = number)
            .await?;
    }
    Ok(())
}

/// Records in the agent audit how the session ended and who asked for it.
async fn close(live: &Live, trail: &Trail, ending: Ending) -> Ending {
    let request = live.stop_request();
    let by = request
        .as_ref()
        .map_or(RUNTIME, |request| request.by.as_str());
    let details = json!({ "state": ending.state, "reason": ending.reason, "user": by });
    let request_id = request
        .as_ref()
        .map_or(Some(&live.assignment().request_id), |request| {
            request.request_id.as_ref()
        });
    match trail
        .add("session_stop", RUNTIME, request_id, details)
        .await
    {
        Ok(_) => ending,
        Err(error) => Ending {
            state: SessionState::Failed,
            ..ending.but(&error.to_string())
        },
    }
}

fn stopped(live: &Live) -> Ending {
    live.stop_request()
        .unwrap_or_else(super::stop::Request::shutdown)
        .ending()
}

fn write(path: &Path, text: &str) -> Result<(), WorkError> {
    private::replace_file(path, text.as_bytes()).map_err(|source| WorkError::File {
        path: path.to_owned(),
        source,
    })
}

/// The exit code of a verify command that went over a bound, as `timeout(1)` has it.
const CUT_EXIT_CODE: i32 = 124;
