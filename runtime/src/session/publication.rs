//! Publishing the branch of a session that is done: push, then a pull request, each behind its gate.
//!
//! Invariant: a publication that fails takes nothing back; the work is in the project, and the result
//! says what to run.

use config::contract::session::{HandOff, HandOffPlace, SessionView, Verification};
use config::runtime::PullRequest;
use serde_json::json;

use super::gate::{Gate, Gatekeeper, Passage, pass};
use super::questions;
use super::trail::RUNTIME;
use super::workshop::{WorkError, Workshop};
use crate::branch::{Credential, Published, Remote};

/// Returns the credential for publishing; none if nothing is to be published.
pub(super) fn credential(settings: &PullRequest, of_runtime: &Credential) -> Option<Credential> {
    if !settings.enabled {
        return None;
    }
    let Some(file) = &settings.token_file else {
        return Some(of_runtime.clone().for_hosts(&settings.hosts));
    };
    match std::fs::read_to_string(file) {
        Ok(token) => {
            let credential = Credential::new(Some(token.trim().to_owned()));
            Some(credential.for_hosts(&settings.hosts))
        }
        Err(error) => {
            tracing::warn!(path = %file.display(), %error, "token of pull requests not read");
            Some(Credential::default().for_hosts(&settings.hosts))
        }
    }
}

/// Publishes a branch that was handed over, if the project has a remote, and notes in the hand-off
/// what became of it.
pub(super) async fn publish(
    workshop: &Workshop<'_>,
    gatekeeper: &dyn Gatekeeper,
    credential: Option<&Credential>,
    hand_off: &mut HandOff,
) -> Result<(), WorkError> {
    let Some(credential) = credential else {
        return Ok(());
    };
    if hand_off.place != HandOffPlace::Project {
        return Ok(());
    }
    let Some(remote) = workshop.workspace.remote().await? else {
        return Ok(());
    };
    let published = try_publish(workshop, gatekeeper, credential, &remote, hand_off).await?;
    let details = json!({
        "branch": hand_off.branch,
        "is_pushed": published.is_pushed,
        "pull_request": published.pull_request,
        "note": published.note,
    });
    workshop
        .trail
        .tell(workshop.live, "publish", RUNTIME, details)
        .await?;
    hand_off.is_pushed = published.is_pushed;
    hand_off.pull_request = published.pull_request;
    if let Some(note) = published.note {
        hand_off.note = Some(match hand_off.note.take() {
            Some(before) => format!("{before}; {note}"),
            None => note,
        });
    }
    Ok(())
}

async fn try_publish(
    workshop: &Workshop<'_>,
    gatekeeper: &dyn Gatekeeper,
    credential: &Credential,
    remote: &Remote,
    hand_off: &HandOff,
) -> Result<Published, WorkError> {
    let (live, trail) = (workshop.live, workshop.trail);
    let by_hand = |why: String, is_pushed: bool| Published {
        is_pushed,
        pull_request: None,
        note: Some(format!(
            "{why}; to publish it: {}",
            remote.by_hand(&hand_off.branch)
        )),
    };
    if let Some(why) = remote.refusal(credential) {
        return Ok(by_hand(why, false));
    }
    let view = live.view();
    let (title, text) = (title(&view), text(&view, hand_off));
    for gate in [Gate::Push, Gate::PullRequest] {
        let question = if gate == Gate::Push {
            questions::push(&view, hand_off, remote)
        } else {
            questions::pull_request(&view, hand_off, remote, &title, &text)
        };
        match pass(live, trail, gatekeeper, &question).await? {
            Passage::Open => {}
            Passage::Rejected { by, reason } => {
                let why = format!("{by} did not approve to {}: {reason}", question.summary);
                return Ok(by_hand(why, gate == Gate::PullRequest));
            }
            Passage::Stopped => {
                let why = "the session was stopped before it was published".to_owned();
                return Ok(by_hand(why, gate == Gate::PullRequest));
            }
        }
        if gate == Gate::Push
            && let Err(error) = workshop.workspace.push(remote, credential).await
        {
            return Ok(by_hand(error.to_string(), false));
        }
    }
    let made = workshop
        .workspace
        .pull_request(workshop.sandbox, remote, credential, &title, &text)
        .await;
    match made {
        Ok(published) => Ok(published),
        Err(error) => Ok(by_hand(error.to_string(), true)),
    }
}

fn title(view: &SessionView) -> String {
    let name = view.prd.trim_end_matches(".md");
    format!("{name}: {}", view.id)
}

/// Says what the pull request is and where it comes from.
fn text(view: &SessionView, hand_off: &HandOff) -> String {
    let verification = match &view.verification {
        Verification::Passed => "passed",
        Verification::Unverified => "none: nobody has checked the result",
        Verification::Pending => "not run",
        Verification::Failed { .. } => "failed",
    };
    let cost = view.cost_usd.map_or_else(
        || "unknown".to_owned(),
        |usd| format!("{usd:.2} US dollars"),
    );
    format!(
        "Made by an agent on `{}`.\n\n\
         | | |\n|---|---|\n\
         | session | `{}` |\n\
         | provider | {} |\n\
         | started by | {} |\n\
         | iterations | {} |\n\
         | commits | {} |\n\
         | files changed | {} |\n\
         | commit | `{}` |\n\
         | verification | {verification} |\n\
         | estimated cost | {cost} |\n",
        view.prd,
        view.id,
        view.provider,
        view.started_by,
        view.iteration,
        hand_off.commits,
        hand_off.files_changed,
        hand_off.commit,
    )
}
