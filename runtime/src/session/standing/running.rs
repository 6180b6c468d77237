//! A sandbox that runs: from the start of its keeper until nothing of it is left.
//!
//! Invariant: when it has been attended to its end its tree is gone; where its agent audit cannot be
//! kept, it is ended.

use std::sync::Arc;

use config::contract::id::{RequestId, SessionId};
use config::contract::sandbox::SandboxView;
use jail::order::{Size, TerminalKind};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::conversation::{Conversation, Opened, Said, ShellError};
use super::log::Log;
use super::work::Work;
use crate::egress::Pending;
use crate::sandbox::{Chunk, Tree};
use crate::session::run::Agency;
use crate::session::trail::{RUNTIME, Trail};
use crate::session::workshop::WorkError;

/// What others hold of a sandbox that runs.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: SessionId,
    /// What callers see of it.
    pub(super) view: watch::Sender<Arc<SandboxView>>,
    pub(super) stop: watch::Sender<Option<Stop>>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) trail: Trail,
}

/// Who wants a sandbox to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) reason: String,
    pub(super) request_id: Option<RequestId>,
    /// Whether its work waits for the next start instead of being handed over.
    pub(super) suspends: bool,
}

/// What is asked of a sandbox that runs.
#[derive(Debug)]
pub(super) enum Ask {
    Open {
        size: Size,
        kind: TerminalKind,
        answer: oneshot::Sender<Result<Opened, ShellError>>,
    },
    Resize {
        number: u32,
        size: Size,
    },
}

/// Everything of a sandbox that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) tree: Tree,
    pub(super) conversation: Conversation,
    pub(super) log: Log,
    pub(super) work: Work,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) decisions: mpsc::Receiver<Pending>,
    pub(super) request_id: RequestId,
}

impl Stop {
    /// Builds the runtime's own wish at its orderly end.
    pub(super) fn shutdown() -> Self {
        Self {
            reason: "the runtime was shut down; the next start goes on with its work".to_owned(),
            request_id: None,
            suspends: true,
        }
    }
}

impl Held {
    pub(super) fn view(&self) -> Arc<SandboxView> {
        Arc::clone(&self.view.borrow())
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut SandboxView)) -> Arc<SandboxView> {
        self.view.send_modify(|view| change(Arc::make_mut(view)));
        self.view()
    }

    /// Waits until somebody wants it to end.
    pub(super) async fn stop_asked(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is here, so the wait ends by a value alone.
        drop(stop.wait_for(Option::is_some).await);
    }
}

impl Running {
    /// Attends the sandbox to its end. Returns why it ended, and its work.
    pub(super) async fn attend(mut self, agency: &Agency, held: &Held) -> (String, Work, Log) {
        let followed = self.follow(agency, held).await;
        if let Err(error) = &followed {
            tracing::warn!(sandbox = %held.id, %error, "sandbox is ended");
            if let Err(error) = self.tree.kill().await {
                tracing::warn!(sandbox = %held.id, %error, "sandbox not told to end");
            }
        }
        let ended = self.tree.wait().await;
        let reason = match (followed, ended) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Err(error)) => error.to_string(),
            (Ok(()), Ok(ended)) => match &*held.stop.borrow() {
                Some(stop) => stop.reason.clone(),
                None => format!("its program ended with {}", ended.code),
            },
        };
        (reason, self.work, self.log)
    }

    /// Follows it until nothing more is written inside.
    async fn follow(&mut self, agency: &Agency, held: &Held) -> Result<(), WorkError> {
        let (mut is_ending, mut is_heard) = (false, true);
        loop {
            tokio::select! {
                chunk = self.tree.next() => match chunk {
                    Some(chunk) => self.write(&chunk).await?,
                    None => return Ok(()),
                },
                Some(ask) = self.asks.recv(), if is_heard => {
                    is_heard = self.obey(held, ask, is_ending).await;
                }
                said = self.conversation.next(), if is_heard => match said {
                    Ok(said) => self.hear(held, said).await?,
                    Err(error) => {
                        is_heard = false;
                        // Its end closes the conversation, too.
                        if error.kind() != std::io::ErrorKind::UnexpectedEof {
                            self.log.note(&error.to_string()).await.map_err(|source| self.failed(source))?;
                            self.tree.kill().await?;
                        }
                    }
                },
                Some(pending) = self.decisions.recv() => self.record(pending).await?,
                () = held.stop_asked(), if !is_ending => {
                    is_ending = true;
                    let grace = agency.settings().sessions.stop_grace;
                    self.log.note("asked to end").await.map_err(|source| self.failed(source))?;
                    self.tree.stop(grace).await?;
                }
            }
        }
    }

    async fn write(&mut self, chunk: &Chunk) -> Result<(), WorkError> {
        let written = self.log.add(&chunk.bytes).await;
        written.map_err(|source| self.failed(source))
    }

    /// Does what is asked; false if the keeper is not to be talked with any more.
    async fn obey(&mut self, held: &Held, ask: Ask, is_ending: bool) -> bool {
        let asked = match ask {
            Ask::Open { answer, .. } if is_ending => {
                // Whoever asked may have gone.
                drop(answer.send(Err(ShellError::NotRunning)));
                return true;
            }
            Ask::Open { size, kind, answer } => self.conversation.open(size, kind, answer).await,
            Ask::Resize { number, size } => self.conversation.resize(number, size).await,
        };
        if let Err(error) = &asked {
            tracing::warn!(sandbox = %held.id, %error, "keeper of a sandbox not reached");
        }
        asked.is_ok()
    }

    async fn hear(&mut self, held: &Held, said: Said) -> Result<(), WorkError> {
        let shells = self.conversation.shells();
        held.change(|view| view.shells = shells);
        match said {
            Said::Opened => Ok(()),
            Said::Closed { number, code } => {
                let details = json!({ "shell": number, "code": code });
                let added = self.work.trail.add("shell_close", RUNTIME, None, details);
                added.await?;
                let text = format!("shell {number} closed with {code}");
                let noted = self.log.note(&text).await;
                noted.map_err(|source| self.failed(source))
            }
        }
    }

    /// Records what the egress proxy decided, which waits for it.
    async fn record(&mut self, pending: Pending) -> Result<(), WorkError> {
        let details = json!(pending.decision);
        let request_id = Some(&self.request_id);
        let trail = &self.work.trail;
        trail
            .add("egress_request", RUNTIME, request_id, details)
            .await?;
        if pending.recorded.send(()).is_err() {
            tracing::debug!("an egress request ended before its record");
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> WorkError {
        WorkError::File {
            path: self.work.folder.sandbox_log(),
            source,
        }
    }
}
