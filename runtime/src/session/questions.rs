//! What a session asks at each gate. Pure: the same facts give the same question.

use config::contract::session::SessionView;
use serde_json::json;

use super::gate::{Gate, Question};
use super::verdict::{self, Iteration};
use crate::branch::Workspace;
use crate::provider::Command;

/// Asks before the first run: what the agent will be told, and by whom it is carried out.
pub(super) fn first_run(view: &SessionView, provider: &Command, prompt: &str) -> Question {
    Question {
        gate: Gate::FirstRun,
        iteration: 0,
        summary: format!("run {} on {}", view.provider, view.prd),
        action: json!({
            "prd": view.prd,
            "project": view.project,
            "provider": view.provider,
            "program": provider.program_and_arguments()
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
