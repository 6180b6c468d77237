//! The work of a session: clone, iterate, verify, hand over.
//!
//! An iteration: write the prompt, run the provider's program on it, commit what it left, run the
//! verify command, judge.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use config::contract::learning::LearningView;
use config::contract::session::{Enforcement, Layer, SessionState, SessionView, Verification};
use config::runtime::RuntimeSettings;
use serde_json::json;
use tokio::sync::mpsc;

use super::agent;
use super::attended::{Attended, Bounds, Recorder, attend};
use super::gate::{self, Gatekeeper, Passage, Question};
use super::halt::{self, Held};
use super::learning;
use super::live::Live;
use super::prompt::Prompt;
use super::questions;
use super::spending;
use super::trail::{RUNTIME, Trail};
use super::verdict::{self, Iteration, Verdict};
use super::workshop::{WorkError, Workshop};
use super::{DiffError, Ending, Worker, outgoing, publication};
use crate::branch::{Credential, Workspace};
use crate::clock;
use crate::egress::{Outlet, Pending};
use crate::folder::SessionFolder;
use crate::project::Project;
use crate::sandbox::{Profile, Sandbox, WayOut};
use crate::store::NewEvent;

/// Carries sessions out with real programs in the sandbox.
#[derive(Clone, Debug)]
pub struct Agency {
    settings: Arc<RuntimeSettings>,
    sandbox: Sandbox,
    outlet: Outlet,
    gatekeeper: Arc<dyn Gatekeeper>,
    /// `GH_TOKEN` of the runtime.
    token: Credential,
}

impl Agency {
    /// Builds the worker of a runtime.
    #[must_use]
    pub const fn new(
        settings: Arc<RuntimeSettings>,
        sandbox: Sandbox,
        outlet: Outlet,
        gatekeeper: Arc<dyn Gatekeeper>,
        token: Credential,
    ) -> Self {
        Self {
            settings,
            sandbox,
            outlet,
            gatekeeper,
            token,
        }
    }

    /// Returns the way in which programs are started.
    pub(super) const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Returns who decides at gates.
    pub(super) fn gatekeeper(&self) -> &dyn Gatekeeper {
        self.gatekeeper.as_ref()
    }

    /// Returns the settings.
    pub(super) fn settings(&self) -> &RuntimeSettings {
        &self.settings
    }

    async fn carry_out(&self, live: &Live) -> Ending {
        match self.open(live).await {
            Ok((folder, trail)) => {
                let ending = self.see_through(live, &folder, &trail).await;
                if live.is_suspended(&ending) {
                    return ending;
                }
                close(live, &trail, ending).await
            }
            Err(error) => Ending::failed(error.to_string()),
        }
    }

    /// Opens the session's folder and its agent audit.
    async fn open(&self, live: &Live) -> Result<(SessionFolder, Trail), WorkError> {
        let found = live.view().state;
        if found == SessionState::Created {
            live.move_to(SessionState::Preparing, |_| ()).await?;
        }
        let (home, id) = (self.settings.home.clone(), live.id().clone());
        let folder =
            tokio::task::spawn_blocking(move || SessionFolder::create(&home, &id)).await??;
        let trail = Trail::open(&folder, &live.assignment().project).await?;
        let view = live.view();
        if found == SessionState::Created {
            let details = json!({
                "prd": view.prd,
                "provider": view.provider,
                "project": view.project,
                "user": view.started_by,
            });
            trail.tell(live, "session_start", RUNTIME, details).await?;
        } else {
            let details = json!({ "state": found, "iteration": view.iteration });
            trail
                .tell(live, "session_carried_on", RUNTIME, details.clone())
                .await?;
            let mut data = details;
            data["text"] = json!("the runtime was started again and carries the session on");
            live.happened(vec![NewEvent::new("note", data)]).await?;
        }
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
                if live.is_suspended(&ending) {
                    return ending;
                }
                // Notes are a gift: a session does not fail because they cannot be kept.
                if let Err(error) = learning::keep_notes(live, folder).await {
                    tracing::warn!(session = %live.id(), %error, "agent's notes not kept");
                }
                let credential = publication::credential(&self.settings.pull_request, &self.token);
                workshop
                    .hand_over(ending, self.gatekeeper.as_ref(), credential.as_ref())
                    .await
            }
            Ok(None) => stopped(live),
            Err(error) => Ending::failed(error.to_string()),
        }
    }

    /// Iterates until the work is done, given up or stopped; goes on where an earlier run was.
    async fn iterate(&self, workshop: &mut Workshop<'_>) -> Result<Ending, WorkError> {
        let (live, trail) = (workshop.live, workshop.trail);
        let iterations_max = live.view().iterations_max;
        let was_paused = live.view().state == SessionState::Paused;
        if halt::hold(live, trail).await? == Held::Stopped {
            return Ok(stopped(live));
        }
        if was_paused {
            spending::grant_if_asked(live, trail).await?;
        }
        let mut done = live.store().iterations(live.id()).await?;
        let mut output = agent::last_output(workshop.folder, done.len());
        let known = learning::recall(live).await?;
        let is_owed = done.last().is_some_and(verdict::is_unverified);
        if is_owed && !self.judge_last(workshop, &mut done).await? {
            return Ok(stopped(live));
        }
        loop {
            match verdict::judge(&done, iterations_max) {
                Verdict::Again => {}
                Verdict::End(ending) => return Ok(ending),
            }
            let number = u32::try_from(done.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            self.demand_fitness(workshop).await?;
            if !done.is_empty()
                && let Some(ending) = self.keep_budget(workshop).await?
            {
                return Ok(ending);
            }
            let approved = match self.gate(workshop, &done, &output, &known).await? {
                ControlFlow::Continue(approved) => approved,
                ControlFlow::Break(ending) => return Ok(ending),
            };
            if live.view().iteration >= number {
                // An earlier run was at it; what its agent left is kept.
                workshop.checkpoint(number).await?;
            }
            begin(live, number).await?;
            let prompt = match approved {
                Some(approved) => approved,
                None => self.prompt(live, number, &done, &output, &known).await?,
            };
            let worked = self.agent(workshop, number, &prompt).await?;
            output = worked.last_words;
            let files_changed = workshop.checkpoint(number).await;
            let agent = match worked.end {
                ControlFlow::Continue(agent) => agent,
                // Whoever stops a session wants it stopped, whatever its agent left behind.
                ControlFlow::Break(ending) => {
                    return Ok(match files_changed {
                        Ok(_) => ending,
                        Err(error) => ending.but(&format!(
                            "the agent's last changes could not be committed: {error}"
                        )),
                    });
                }
            };
            done.push(Iteration {
                agent,
                files_changed: files_changed?,
                verification: Verification::Pending,
            });
            if !self.judge_last(workshop, &mut done).await? {
                return Ok(stopped(live));
            }
        }
    }

    /// Verifies the last iteration if that is owed, and stores what it came to; false if the session is
    /// asked to stop meanwhile.
    async fn judge_last(
        &self,
        workshop: &Workshop<'_>,
        done: &mut [Iteration],
    ) -> Result<bool, WorkError> {
        let live = workshop.live;
        let number = u32::try_from(done.len()).unwrap_or(u32::MAX);
        let Some(last) = done.last_mut() else {
            return Ok(true);
        };
        let (store, id) = (live.store(), live.id());
        store.note_iteration(id, number, last).await?;
        if verdict::is_unverified(last) {
            let Some(verification) = self.verify(workshop, number).await? else {
                return Ok(false);
            };
            last.verification = verification;
            store.note_iteration(id, number, last).await?;
        }
        learning::observe(live, done, &self.settings.verify).await?;
        Ok(true)
    }

    /// Asks at the gate before the next iteration. Breaks with the end if the session may not go on;
    /// else tells the prompt that was asked with, if one was: that one alone may be run.
    async fn gate(
        &self,
        workshop: &Workshop<'_>,
        done: &[Iteration],
        output: &str,
        known: &[LearningView],
    ) -> Result<ControlFlow<Ending, Option<String>>, WorkError> {
        let live = workshop.live;
        let (question, prompt) = if done.is_empty() {
            let prompt = self.prompt(live, 1, done, output, known).await?;
            let (program, _) = self.command_line(workshop)?;
            let question = questions::first_run(&live.view(), &program, &prompt);
            (question, Some(prompt))
        } else {
            let tip = workshop.workspace.tip();
            (questions::iteration_end(&live.view(), done, tip), None)
        };
        Ok(match self.pass(workshop, &question).await? {
            Passage::Open => ControlFlow::Continue(prompt),
            Passage::Stopped => ControlFlow::Break(stopped(live)),
            Passage::Rejected { by, reason } if done.is_empty() => {
                ControlFlow::Break(Ending::rejected(&by, &reason))
            }
            Passage::Rejected { by, reason } => {
                let text = format!("Iteration {} was not approved: {reason}", done.len());
                let store = live.store();
                store.add_input(live.id(), &by, &text, clock::now()).await?;
                ControlFlow::Continue(None)
            }
        })
    }

    /// Brings the session through a gate.
    pub(super) async fn pass(
        &self,
        workshop: &Workshop<'_>,
        question: &Question,
    ) -> Result<Passage, WorkError> {
        let (live, trail) = (workshop.live, workshop.trail);
        gate::pass(live, trail, self.gatekeeper.as_ref(), question).await
    }

    async fn prompt(
        &self,
        live: &Live,
        iteration: u32,
        before: &[Iteration],
        output: &str,
        learnings: &[LearningView],
    ) -> Result<String, WorkError> {
        let view = live.view();
        let guidance = live.store().inputs(live.id()).await?;
        let prompt = Prompt {
            prd_name: &view.prd,
            prd_text: &live.assignment().prd_text,
            iteration,
            iterations_max: view.iterations_max,
            before,
            output,
            verify: &self.settings.verify,
            blocked: &live.assignment().policy.blocked(),
            guidance: &guidance,
            learnings,
        };
        Ok(prompt.write())
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
            let mut recorder = Recorder::quiet(&log, iteration)?;
            let bounds = self.bounds(self.settings.sessions.verify_timeout);
            let attended = attend(workshop, confined, bounds, &mut recorder, None, None).await;
            let output = recorder.finish(workshop).await?.last_words;
            match attended? {
                Attended::Exited(0) => Verification::Passed,
                Attended::Exited(exit_code) => Verification::Failed { exit_code, output },
                Attended::Cut(reason)
                | Attended::Unanswered(reason)
                | Attended::Rejected { reason, .. } => Verification::Failed {
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
    pub(super) fn way_out(&self) -> (Option<WayOut>, mpsc::Receiver<Pending>) {
        let (sender, receiver) = mpsc::channel(outgoing::WAITING_MAX);
        let way_out = WayOut {
            outlet: self.outlet.clone(),
            decisions: sender,
        };
        ((!self.outlet.is_closed()).then_some(way_out), receiver)
    }

    pub(super) fn bounds(&self, timeout: std::time::Duration) -> Bounds {
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

    fn diff<'work>(
        &'work self,
        session: &'work SessionView,
    ) -> Pin<Box<dyn Future<Output = Result<String, DiffError>> + Send + 'work>> {
        Box::pin(async move {
            let settings = &self.settings;
            if session.branch.is_empty() {
                return Ok(String::new());
            }
            let failed = |why: &dyn std::fmt::Display| DiffError(why.to_string());
            let path = Path::new(&session.project);
            let project = Project::check(path, &settings.project_roots, &settings.home)
                .map_err(|error| failed(&error))?;
            let folder = SessionFolder::create(&settings.home, &session.id)
                .map_err(|error| failed(&error))?;
            let workspace =
                Workspace::reopen(&self.sandbox, &folder, &project, &session.branch).await;
            let workspace = workspace.map_err(|error| failed(&error))?;
            workspace.diff().await.map_err(|error| failed(&error))
        })
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
        live.move_to(SessionState::Running, |view| {
            view.iteration = number;
            view.reason = None;
        })
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

pub(super) fn stopped(live: &Live) -> Ending {
    live.stop_request()
        .unwrap_or_else(super::stop::Request::shutdown)
        .ending()
}

/// The exit code of a verify command that went over a bound, as `timeout(1)` has it.
const CUT_EXIT_CODE: i32 = 124;
