//! Long-lived sandboxes: started, listed, read, stopped, removed.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use ::config::contract::sandbox::{
    NAME_DEFAULT, SandboxList, SandboxLog, SandboxState, SandboxView, StartSandbox,
};
use ::config::contract::session::HandOffPlace;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::start;

pub(super) const START_EXAMPLES: &str = "\
Examples:
  loki sandbox start
  loki sandbox start web -- python3 -m http.server 8000
  LOKI_ALLOWED_PATHS=src,tests loki sandbox start

It works in a clone of its own and goes on when this command has ended. It ends with its command, with
loki sandbox stop, or with the runtime.";

/// Which sandbox.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Its name [default: default]
    name: Option<String>,
    /// Project folder [default: the git repository around this folder]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// What to start.
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What runs in it; when that ends, so does the sandbox [default: nothing, until it is stopped]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    which: Which,
    /// Go on until the sandbox ends
    #[arg(short, long)]
    follow: bool,
}

/// What to end.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    which: Which,
}

impl Which {
    /// Finds the sandbox and the way to it.
    pub(super) fn find(&self, context: &Context) -> Result<(Client, SandboxView), Failure> {
        let client = Client::new(context, &self.reach)?;
        let project = start::request::project(context.directory(), self.project.as_deref())?;
        let name = self.name.as_deref().unwrap_or(NAME_DEFAULT);
        let listed: SandboxList = client.get("/api/sandboxes")?;
        let found = listed
            .sandboxes
            .into_iter()
            .find(|it| it.name == name && it.project == project);
        let view = found.ok_or_else(|| {
            Failure::failed(format!(
                "there is no sandbox {:?} of {project}",
                output::visible(name)
            ))
            .fix("list them: loki sandbox status; start one: loki sandbox start NAME")
        })?;
        Ok((client, view))
    }
}

pub(super) fn start(context: &Context, arguments: &Start) -> Result<(), Failure> {
    let which = &arguments.which;
    let variable = |name: &str| context.variable(name);
    let request = StartSandbox {
        project: start::request::project(context.directory(), which.project.as_deref())?,
        name: which.name.clone(),
        command: (!arguments.command.is_empty()).then(|| line(&arguments.command)),
        allowed_paths: start::request::read(&variable, "LOKI_ALLOWED_PATHS")?,
    };
    if !which.reach.names_gateway(context) {
        start::ensure_deployment(context)?;
    }
    let client = Client::new(context, &which.reach)?;
    let view: SandboxView = client.post("/api/sandboxes", Some(&request))?;
    if arguments.json {
        return output::json(&view);
    }
    output::line(&format!(
        "Started sandbox {} of {}",
        view.name, view.project
    ))
}

/// Joins words to a line that the shell takes apart into the same words; one alone is a line already.
fn line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

pub(super) fn status(context: &Context, arguments: &Status) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let listed: SandboxList = client.get("/api/sandboxes")?;
    if arguments.json {
        return output::json(&listed);
    }
    if listed.sandboxes.is_empty() {
        return output::line("no sandbox; start one: loki sandbox start");
    }
    let rows: Vec<Vec<String>> = listed.sandboxes.iter().map(row).collect();
    output::table(
        &[
            "NAME", "STATE", "SHELLS", "STARTED", "BY", "PROJECT", "BRANCH",
        ],
        &rows,
    )
}

fn row(view: &SandboxView) -> Vec<String> {
    [
        view.name.as_str(),
        state(view.state),
        &view.shells.to_string(),
        &view.started_at,
        &view.started_by,
        &view.project,
        &view.branch,
    ]
    .map(output::visible)
    .to_vec()
}

const fn state(state: SandboxState) -> &'static str {
    match state {
        SandboxState::Running => "running",
        SandboxState::Ending => "ending",
        SandboxState::Ended => "ended",
    }
}

pub(super) fn logs(context: &Context, arguments: &Logs) -> Result<(), Failure> {
    let (client, view) = arguments.which.find(context)?;
    let path = format!("/api/sandboxes/{}/log", view.id);
    let mut log: SandboxLog = client.get(&path)?;
    let mut partial = String::new();
    loop {
        partial.push_str(&log.text);
        // Whole lines alone, so that none is shown in pieces.
        while let Some(end) = partial.find('\n') {
            let line: String = partial.drain(..=end).collect();
            output::line(&output::visible(line.trim_end_matches(['\r', '\n'])))?;
        }
        let is_over = log.state == SandboxState::Ended && log.text.is_empty();
        if is_over || !arguments.follow {
            if !partial.is_empty() {
                output::line(&output::visible(&partial))?;
            }
            return Ok(());
        }
        if log.text.is_empty() {
            thread::park_timeout(LOOK_AGAIN);
        }
        log = client.get(&format!("{path}?after={}", log.next))?;
    }
}

pub(super) fn stop(context: &Context, arguments: &Stop) -> Result<(), Failure> {
    let (client, view) = arguments.which.find(context)?;
    let path = format!("/api/sandboxes/{}/stop", view.id);
    let view: SandboxView = client.post(&path, None::<&()>)?;
    if arguments.json {
        return output::json(&view);
    }
    let reason = view.reason.as_deref().unwrap_or("ended");
    output::line(&format!("{}: {}", view.name, output::visible(reason)))?;
    let Some(hand_off) = &view.hand_off else {
        return Ok(());
    };
    match hand_off.place {
        HandOffPlace::Project | HandOffPlace::ProjectHead => output::line(&format!(
            "what was done is on branch {}: {} files in {} commits",
            output::visible(&hand_off.branch),
            hand_off.files_changed,
            hand_off.commits
        ))?,
        HandOffPlace::Runtime => (),
    }
    match &hand_off.note {
        Some(note) => output::line(&output::visible(note)),
        None => Ok(()),
    }
}

pub(super) fn remove(context: &Context, arguments: &Remove) -> Result<(), Failure> {
    let (client, view) = arguments.which.find(context)?;
    client.delete(&format!("/api/sandboxes/{}", view.id))?;
    output::line(&format!(
        "Removed sandbox {} of {}",
        view.name, view.project
    ))
}

/// Time between two looks while nothing is written.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn words_stay_the_words_that_they_are() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            line(&words(&["make serve | tee log"])),
            "make serve | tee log"
        );
        assert_eq!(
            line(&words(&["echo", "a b", "it's"])),
            "'echo' 'a b' 'it'\\''s'"
        );
    }
}
