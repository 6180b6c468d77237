//! What a session asks at each gate. Pure: the same facts give the same question.

use std::ffi::OsString;

use config::contract::session::{HandOff, SessionView};
use serde_json::json;

use super::gate::{Gate, Question};
use super::verdict::{self, Iteration};
use crate::branch::{Findings, Remote, Workspace};
use crate::operation::Operation;

/// Asks before the first run: what the agent will be told, and by whom it is carried out.
pub(super) fn first_run(view: &SessionView, program: &[OsString], prompt: &str) -> Question {
    Question {
        gate: Gate::FirstRun,
        iteration: 0,
        summary: format!("run {} on {}", view.provider, view.prd),
        action: json!({
            "prd": view.prd,
            "project": view.project,
            "provider": view.provider,
            "program": program
                .iter()
                .map(|part| part.to_string_lossy())
                .collect::<Vec<_>>(),
            "iterations_max": view.iterations_max,
            "effective_enforcement": view.effective_enforcement,
            "prompt": prompt,
        }),
    }
}

/// Asks at the end of an iteration that is not the last.
pub(super) fn iteration_end(view: &SessionView, done: &[Iteration], tip: &str) -> Question {
    let number = u32::try_from(done.len()).unwrap_or(u32::MAX);
    let last = done.last();
    Question {
        gate: Gate::IterationEnd,
        iteration: number,
        summary: format!("go on with {} after iteration {number}", view.prd),
        action: json!({
            "iteration": number,
            "commit": tip,
            "files_changed": last.map_or(0, |last| last.files_changed),
            "outcome": last.map(verdict::failure),
            "cost_usd": view.cost_usd,
        }),
    }
}

/// Asks before files reach the project that a person should see.
pub(super) fn protected_files(
    view: &SessionView,
    workspace: &Workspace,
    findings: &Findings,
) -> Question {
    let mut found: Vec<String> = findings.protected.clone();
    found.extend(
        findings
            .secrets
            .iter()
            .map(|secret| format!("{} ({})", secret.path, secret.kind)),
    );
    let mut shown = found
        .iter()
        .take(FOUND_SHOWN_MAX)
        .cloned()
        .collect::<Vec<_>>();
    if found.len() > FOUND_SHOWN_MAX {
        shown.push(format!("{} more", found.len() - FOUND_SHOWN_MAX));
    }
    Question {
        gate: Gate::ProtectedFiles,
        iteration: view.iteration,
        summary: format!("the work holds what needs a look: {}", shown.join(", ")),
        action: json!({
            "project": view.project,
            "branch": workspace.branch(),
            "commit": workspace.tip(),
            "findings": findings,
        }),
    }
}

/// Asks before a branch leaves for the project's remote.
pub(super) fn push(view: &SessionView, hand_off: &HandOff, remote: &Remote) -> Question {
    Question {
        gate: Gate::Push,
        iteration: view.iteration,
        summary: format!("push {}", hand_off.branch),
        action: json!({
            "branch": hand_off.branch,
            "commit": hand_off.commit,
            "remote": remote.url(),
            "base": remote.base(),
        }),
    }
}

/// Asks before a pull request with that title and body is made or brought up to date.
pub(super) fn pull_request(
    view: &SessionView,
    hand_off: &HandOff,
    remote: &Remote,
    title: &str,
    body: &str,
) -> Question {
    Question {
        gate: Gate::PullRequest,
        iteration: view.iteration,
        summary: format!("make a pull request of {}", hand_off.branch),
        action: json!({
            "branch": hand_off.branch,
            "commit": hand_off.commit,
            "remote": remote.url(),
            "base": remote.base(),
            "title": title,
            "body": body,
        }),
    }
}

/// Asks before one use of a tool.
pub(super) fn operation(view: &SessionView, operation: &Operation, why: &str) -> Question {
    Question {
        gate: Gate::Operation,
        iteration: view.iteration,
        summary: operation.summary(),
        action: json!({
            "tool": operation.tool,
            "input": operation.input,
            "directory": operation.directory,
            "call": operation.call,
            "because": why,
        }),
    }
}

/// Asks whether a budget that is used up is granted once more.
pub(super) fn budget(view: &SessionView, why: &str) -> Question {
    Question {
        gate: Gate::Budget,
        iteration: view.iteration,
        summary: format!("grant the budget once more: {why}"),
        action: json!({
            "budget": why,
            "granted_before": view.usage.budgets_granted,
        }),
    }
}

/// Asks before the work reaches the project.
pub(super) fn hand_over(
    view: &SessionView,
    workspace: &Workspace,
    moves_head: bool,
    diff: &str,
) -> Question {
    Question {
        gate: Gate::HandOver,
        iteration: view.iteration,
        summary: format!("hand {} over to {}", workspace.branch(), view.project),
        action: json!({
            "project": view.project,
            "branch": workspace.branch(),
            "base": workspace.base(),
            "commit": workspace.tip(),
            "moves_current_branch": moves_head,
            "diff": diff,
        }),
    }
}

const FOUND_SHOWN_MAX: usize = 10;
