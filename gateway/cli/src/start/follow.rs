//! Follows a session: prints its events as they come, and its result at the end.

use std::thread;
use std::time::{Duration, Instant};

use ::config::contract::id::SessionId;
use ::config::contract::session::{
    HandOffPlace, SessionEvent, SessionEvents, SessionState, SessionView, Verification,
};
use serde_json::Value;

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output;

/// Time between two looks while nothing happens.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How long a gateway may be away before following ends.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// Events asked for at once.
const EVENTS_MAX: usize = 500;

/// Prints events until the session has ended, and returns how it stands then.
pub(crate) fn to_the_end(client: &Client, id: &SessionId) -> Result<SessionView, Failure> {
    let mut after = 0;
    let mut away_since: Option<Instant> = None;
    loop {
        let path = format!("/api/sessions/{id}/events?after={after}&limit={EVENTS_MAX}");
        let page: SessionEvents = match client.get(&path) {
            Ok(page) => page,
            Err(failure) if failure.exit() == Exit::Unreachable => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_MAX {
                    return Err(failure);
                }
                thread::park_timeout(LOOK_AGAIN);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        away_since = None;
        for event in &page.events {
            after = after.max(event.seq);
            output::error(&shown(event));
        }
        if !page.events.is_empty() {
            continue;
        }
        if page.state.is_final() {
            return client.get(&format!("/api/sessions/{id}"));
        }
        thread::park_timeout(LOOK_AGAIN);
    }
}

fn shown(event: &SessionEvent) -> String {
    let text = |name: &str| event.data.get(name).and_then(Value::as_str);
    let said = match event.kind.as_str() {
        "agent" => agent(&event.data),
        "output" => text("text").map(|text| format!("| {}", output::visible(text))),
        "note" | "approval_decision" | "approval_expiry" => text("text").map(output::visible),
        "approval_request" => text("text").map(|text| {
            format!(
                "waits for a person: {}; loki status shows it, loki resume approves it",
                output::visible(text)
            )
        }),
        "approval_consumption" => {
            text("summary").map(|summary| format!("goes on: {}", output::visible(summary)))
        }
        "state" => text("to").map(|state| match text("reason") {
            Some(reason) => format!("{}: {}", output::visible(state), output::visible(reason)),
            None => output::visible(state),
        }),
        _ => None,
    };
    let said = said.unwrap_or_else(|| {
        let kind = output::visible(&event.kind);
        format!("{kind} {}", output::visible(&event.data.to_string()))
    });
    let time = event.timestamp.get(11..19).unwrap_or(&event.timestamp);
    format!("{} {said}", output::visible(time))
}

/// Says in one line what an agent said or did.
fn agent(data: &Value) -> Option<String> {
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(output::visible);
    let kind = text("kind")?;
    let what = text("text")
        .or_else(|| text("command"))
        .or_else(|| text("tool"))
        .unwrap_or_default();
    Some(format!("> {kind} {what}"))
}

/// Prints branch, verification and hand-off.
pub(crate) fn print_result(session: &SessionView) -> Result<(), Failure> {
    output::line(&format!("Session:      {}", session.id))?;
    let reason = session.reason.as_deref().map(output::visible);
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    output::line(&format!("State:        {}{reason}", session.state))?;
    output::line(&format!(
        "Branch:       {}",
        output::visible(&session.branch)
    ))?;
    output::line(&format!(
        "Verification: {}",
        verification(&session.verification)
    ))?;
    let Some(hand_off) = &session.hand_off else {
        return output::line("Hand-off:     none");
    };
    let place = match hand_off.place {
        HandOffPlace::Project => "in the project's repository",
        HandOffPlace::ProjectHead => "the project's current branch was moved forward",
        HandOffPlace::Runtime => "only in the runtime's own repository",
    };
    output::line(&format!(
        "Hand-off:     {} at {}, {}, {}, {place}",
        output::visible(&hand_off.branch),
        output::visible(&hand_off.commit),
        counted(hand_off.commits, "commit"),
        counted(hand_off.files_changed, "file")
    ))?;
    if let Some(address) = &hand_off.pull_request {
        output::line(&format!("Pull request: {}", output::visible(address)))?;
    }
    match &hand_off.note {
        Some(note) => output::line(&format!("Note:         {}", output::visible(note))),
        None => Ok(()),
    }
}

fn counted(count: u32, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn verification(verification: &Verification) -> String {
    match verification {
        Verification::Pending => "not run".to_owned(),
        Verification::Unverified => "unverified (there is no verify command)".to_owned(),
        Verification::Passed => "passed".to_owned(),
        Verification::Failed { exit_code, output } => {
            let lines: Vec<String> = output.lines().map(crate::output::visible).collect();
            format!("failed with exit code {exit_code}\n{}", lines.join("\n"))
        }
    }
}

/// Returns success if the session completed.
pub(crate) fn verdict(session: &SessionView) -> Result<(), Failure> {
    match session.state {
        SessionState::Completed => Ok(()),
        SessionState::Created
        | SessionState::Preparing
        | SessionState::Running
        | SessionState::Paused
        | SessionState::WaitingApproval
        | SessionState::Verifying
        | SessionState::Failed
        | SessionState::Stopped
        | SessionState::Expired => Err(Failure::failed(format!(
            "{} did not complete: {}",
            session.id, session.state
        ))),
    }
}
