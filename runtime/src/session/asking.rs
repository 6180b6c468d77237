//! An agent's program asks before it acts, and gets its answer from the rules or from a person.
//!
//! Invariant: only the session's own task answers; while a person decides, the program waits and its
//! time does not count; where nobody decides in time, or the session is to stop, the whole tree is
//! killed before whoever waits could learn of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Instant;

use config::contract::session::SessionState;
use config::runtime::Asks;
use hook::wire::Answer;
use jail::sandbox::HOME;
use serde_json::json;
use tokio::sync::oneshot;

use super::attended::Recorder;
use super::gate::{self, Asked as Waiting, Decision, Gatekeeper};
use super::live::Live;
use super::questions;
use super::run::Agency;
use super::talk::{Heard, Talk};
use super::trail::{RUNTIME, Trail};
use super::workshop::{WorkError, Workshop};
use crate::clock;
use crate::operation::ruling::{self, Conditions, Ruling};
use crate::operation::{Asked, Counter, Operation, Place, conversation, hook_arguments};
use crate::provider::dialect::Outcome;
use crate::provider::dialogue::{Brief, Language, Step};
use crate::sandbox::Tree;
use crate::store::NewEvent;

/// What a session's programs ask by during one run, and what they are held to.
#[derive(Debug)]
pub(super) struct Asking<'run> {
    live: &'run Live,
    trail: &'run Trail,
    gatekeeper: &'run dyn Gatekeeper,
    counter: Counter,
    directory: String,
    home: String,
    /// The conversation with a program that asks by its own streams.
    talk: Option<Talk>,
    /// Whoever waits while the tree is being killed: they must not learn of it.
    parked: Option<Asked>,
    /// What was let through, by the program's own name of it: it may ask for the same once more.
    let_through: BTreeMap<String, Operation>,
}

/// What wants to be settled.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A question at the counter.
    Question(Asked),
    /// Something in the conversation.
    Heard(Heard),
}

/// How a question was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The program goes on, with or without what it asked for.
    GoesOn,
    /// The program has said that its work is over.
    Concluded,
    /// The session was asked to stop; the tree is being killed.
    Stopped,
    /// Nobody decided in time; the tree is being killed.
    Unanswered(String),
}

impl Agency {
    /// Returns program and arguments of an agent's run: of one that asks, with where it asks.
    pub(super) fn command_line(
        &self,
        workshop: &Workshop<'_>,
    ) -> Result<(Vec<OsString>, Option<Place>), WorkError> {
        let provider = &workshop.live.assignment().provider;
        let Some(asks) = workshop.live.asks() else {
            return Ok((provider.program_and_arguments(), None));
        };
        let profile = &workshop.live.assignment().profile;
        let place = self.sandbox().asking_place(profile, workshop.folder)?;
        let program = match asks {
            Asks::Hook => provider.asking(hook_arguments(&place)),
            Asks::AppServer | Asks::Acp => conversation(&place, provider.asking(Vec::new())),
        };
        Ok((program, Some(place)))
    }

    /// Opens the counter at which an agent's program asks.
    pub(super) fn open_counter<'run>(
        &'run self,
        workshop: &Workshop<'run>,
        place: &Place,
        prompt: &str,
    ) -> Result<Asking<'run>, WorkError> {
        let Workshop {
            live,
            folder,
            trail,
            ..
        } = *workshop;
        let within = self.settings().approvals.operation_deadline;
        let profile = &live.assignment().profile;
        let (directory, home) = if profile.sandbox {
            (profile.project.clone(), HOME.into())
        } else {
            (folder.workspace(), folder.home())
        };
        let directory = directory.to_string_lossy().into_owned();
        let brief = Brief {
            prompt: prompt.to_owned(),
            directory: directory.clone(),
            model: live.assignment().provider.model().map(str::to_owned),
        };
        let most = self.settings().sessions.output_bytes_max;
        let talk = language(live).map(|language| Talk::new(language, brief, most));
        Ok(Asking {
            live,
            trail,
            gatekeeper: self.gatekeeper(),
            counter: Counter::open(&folder.gate(), place, within)?,
            talk,
            directory,
            home: home.to_string_lossy().into_owned(),
            parked: None,
            let_through: BTreeMap::new(),
        })
    }
}

impl Asking<'_> {
    /// Returns the variables that the program needs to ask.
    pub(super) const fn variables(&self) -> &BTreeMap<String, String> {
        self.counter.variables()
    }

    /// Returns what became of the work, as a program said by its own streams.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.talk.as_ref().map(Talk::outcome)
    }

    /// Waits for what is next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Wanted {
        match &mut self.talk {
            Some(talk) => Wanted::Heard(talk.hear(&mut self.counter).await),
            None => Wanted::Question(self.counter.next().await),
        }
    }

    /// Settles what a program wants that runs; what it writes meanwhile is recorded.
    pub(super) async fn settle(
        &mut self,
        wanted: Wanted,
        tree: &mut Tree,
        recorder: &mut Recorder,
    ) -> Result<Settled, WorkError> {
        match wanted {
            Wanted::Question(asked) => self.decide(asked, tree, recorder, Waits::Timed).await,
            Wanted::Heard(Heard::Opened(stream)) => {
                if let Some(talk) = &mut self.talk {
                    talk.begin(stream).await;
                }
                Ok(Settled::GoesOn)
            }
            Wanted::Heard(Heard::Line(line)) => self.heard(&line, tree, recorder).await,
            Wanted::Heard(Heard::Nothing) => Ok(Settled::GoesOn),
        }
    }

    /// Does what a line of the conversation leads to.
    async fn heard(
        &mut self,
        line: &[u8],
        tree: &mut Tree,
        recorder: &mut Recorder,
    ) -> Result<Settled, WorkError> {
        recorder.keep(line).await?;
        let steps = self.talk.as_mut().map(|talk| talk.judge(line));
        for step in steps.unwrap_or_default() {
            let message = match step {
                Step::Send(message) => message,
                Step::Said(said) => {
                    recorder.tell(self.live, self.trail, vec![said]).await?;
                    continue;
                }
                Step::Ask(demand) => {
                    let (answer, mut answered) = oneshot::channel();
                    let asked = Asked {
                        operation: demand.operation.clone(),
                        answer,
                    };
                    let settled = self.decide(asked, tree, recorder, Waits::Frozen).await?;
                    if settled != Settled::GoesOn {
                        return Ok(settled);
                    }
                    // Without an answer it is refused.
                    let answer = answered.try_recv().ok();
                    let allowed = answer.as_ref().is_some_and(|answer| answer.allowed);
                    if let Some(answer) = answer.filter(|answer| !answer.allowed) {
                        self.guide(&demand.operation, &answer.reason).await?;
                    }
                    demand.answer(allowed)
                }
                Step::End => {
                    if let Some(talk) = &mut self.talk {
                        talk.end();
                    }
                    return Ok(Settled::Concluded);
                }
            };
            if let Some(talk) = &mut self.talk {
                talk.say(&message).await;
            }
        }
        Ok(Settled::GoesOn)
    }

    /// Hears what a program said before it ended: everything of it is gone, so nothing that it asks for
    /// is answered.
    pub(super) async fn hear_out(&mut self, recorder: &mut Recorder) -> Result<Settled, WorkError> {
        let Some(talk) = &mut self.talk else {
            return Ok(Settled::GoesOn);
        };
        while let Some(line) = talk.hear_out().await {
            recorder.keep(&line).await?;
            for step in talk.judge(&line) {
                match step {
                    Step::Said(said) => recorder.tell(self.live, self.trail, vec![said]).await?,
                    Step::Send(_) | Step::Ask(_) => {}
                    Step::End => {
                        talk.end();
                        return Ok(Settled::Concluded);
                    }
                }
            }
        }
        Ok(Settled::GoesOn)
    }

    /// Has the next prompt say why something was refused: these languages have no word for it.
    async fn guide(&self, operation: &Operation, reason: &str) -> Result<(), WorkError> {
        let text = format!("{} was not allowed: {reason}", operation.summary());
        let store = self.live.store();
        store
            .add_input(self.live.id(), RUNTIME, &text, clock::now())
            .await?;
        Ok(())
    }

    /// Decides about an operation.
    async fn decide(
        &mut self,
        asked: Asked,
        tree: &mut Tree,
        recorder: &mut Recorder,
        waits: Waits,
    ) -> Result<Settled, WorkError> {
        let operation = &asked.operation;
        if operation.again && self.was_let_through(operation) {
            return Ok(answer(asked, true, "it was let through before"));
        }
        match ruling::rule(operation, self.conditions()) {
            Ruling::Allow => Ok(self.allow(asked, "nothing is against it")),
            Ruling::Contained(why) => {
                self.tell(operation, "operation_contained", &why).await?;
                Ok(self.allow(asked, "the sandbox bounds it"))
            }
            Ruling::Refuse(why) => {
                self.tell(operation, "operation_refused", &why).await?;
                Ok(answer(asked, false, &why))
            }
            Ruling::Ask(why) => self.ask(asked, &why, tree, recorder, waits).await,
        }
    }

    fn conditions(&self) -> Conditions<'_> {
        let assignment = self.live.assignment();
        Conditions {
            policy: &assignment.policy,
            mode: self.live.view().autonomy_mode,
            sandbox: assignment.profile.sandbox,
            directory: &self.directory,
            home: &self.home,
        }
    }

    /// Asks a person.
    async fn ask(
        &mut self,
        mut asked: Asked,
        why: &str,
        tree: &mut Tree,
        recorder: &mut Recorder,
        waits: Waits,
    ) -> Result<Settled, WorkError> {
        let (live, trail, gatekeeper) = (self.live, self.trail, self.gatekeeper);
        let question = questions::operation(&live.view(), &asked.operation, why);
        let (approval, reason) = match gatekeeper.ask(live, &question).await? {
            Waiting::Open => return Ok(self.allow(asked, "nobody has to be asked")),
            Waiting::Waits { approval, reason } => (approval, reason),
        };
        let told = |action, text: String| {
            let (approval, question) = (&approval, &question);
            async move { gate::told(live, trail, action, approval, question, &text).await }
        };
        told("approval_request", reason.clone()).await?;
        gate::wait(live, reason).await?;
        if waits == Waits::Frozen {
            tree.freeze().await?;
        }
        let since = Instant::now();
        let decision = {
            let mut decision = gatekeeper.decision(live, &approval);
            loop {
                tokio::select! {
                    biased;
                    _ = live.stop_asked() => break None,
                    () = asked.answer.closed() => break Some(Woken::Gone),
                    decision = &mut decision => break Some(Woken::Decision(decision?)),
                    chunk = tree.next() => match chunk {
                        Some(chunk) => recorder.take(live, trail, &chunk).await?,
                        None => break Some(Woken::Gone),
                    },
                }
            }
        };
        live.was_held(since.elapsed());
        let Some(heard) = decision else {
            tree.kill().await?;
            self.parked = Some(asked);
            return Ok(Settled::Stopped);
        };
        if waits == Waits::Frozen && !matches!(heard, Woken::Decision(Decision::Expired)) {
            tree.thaw().await?;
        }
        match heard {
            Woken::Decision(Decision::Approved { by }) if !asked.answer.is_closed() => {
                told("approval_decision", format!("approved by {by}")).await?;
                gatekeeper.consume(live, &approval, &question).await?;
                told("approval_consumption", gate::USED.to_owned()).await?;
                gate::return_to(live, SessionState::Running).await?;
                Ok(self.allow(asked, "a person approved it"))
            }
            Woken::Decision(Decision::Rejected { by, reason }) => {
                told("approval_decision", format!("rejected by {by}: {reason}")).await?;
                gate::return_to(live, SessionState::Running).await?;
                Ok(answer(asked, false, &format!("{by} rejected it: {reason}")))
            }
            Woken::Decision(Decision::Expired) => {
                tree.kill().await?;
                self.parked = Some(asked);
                let why = format!("nobody decided in time: {}", question.summary);
                told("approval_expiry", why.clone()).await?;
                Ok(Settled::Unanswered(why))
            }
            Woken::Gone | Woken::Decision(Decision::Approved { .. }) => {
                gatekeeper.withdraw(live, &approval).await?;
                let why = "whoever asked does not wait any more";
                told("approval_withdrawal", why.to_owned()).await?;
                gate::return_to(live, SessionState::Running).await?;
                Ok(Settled::GoesOn)
            }
        }
    }

    fn allow(&mut self, asked: Asked, why: &str) -> Settled {
        let operation = &asked.operation;
        if !operation.call.is_empty() && self.let_through.len() < LET_THROUGH_MAX {
            let (call, operation) = (operation.call.clone(), operation.clone());
            self.let_through.insert(call, operation);
        }
        answer(asked, true, why)
    }

    /// Returns whether exactly this was let through before, and forgets it.
    fn was_let_through(&mut self, operation: &Operation) -> bool {
        let known = self.let_through.remove(&operation.call);
        known.is_some_and(|known| known.tool == operation.tool && known.input == operation.input)
    }

    /// Records, for the agent audit and as an event, what became of an operation.
    async fn tell(
        &self,
        operation: &Operation,
        action: &'static str,
        why: &str,
    ) -> Result<(), WorkError> {
        let details = json!({
            "tool": operation.tool,
            "summary": operation.summary(),
            "reason": why,
        });
        self.trail
            .tell(self.live, action, RUNTIME, details.clone())
            .await?;
        self.live
            .happened(vec![NewEvent::new(action, details)])
            .await?;
        Ok(())
    }
}

/// How a program waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// By a timer of its own, so that it goes on running.
    Timed,
    /// Without one, so that everything of it is frozen.
    Frozen,
}

/// What ended a wait.
#[derive(Debug)]
enum Woken {
    Decision(Decision),
    /// Whoever asked is there no more.
    Gone,
}

/// Returns the language in which a session's program asks by its own streams.
pub(super) fn language(live: &Live) -> Option<Language> {
    match live.asks()? {
        Asks::Hook => None,
        Asks::AppServer => Some(Language::AppServer),
        Asks::Acp => Some(Language::Acp),
    }
}

fn answer(asked: Asked, allowed: bool, why: &str) -> Settled {
    // Whoever has gone away is not allowed anything, and does not need to be told.
    drop(asked.answer.send(Answer::new(allowed, why)));
    Settled::GoesOn
}

/// Most operations that are remembered of one run.
const LET_THROUGH_MAX: usize = 10_000;
