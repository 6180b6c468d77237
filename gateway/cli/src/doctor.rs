//! `loki doctor`: checks the whole installation and prints what to do.
//!
//! Invariant: it changes nothing, and each failure names its fix.

mod agents;
mod audit;
mod certificates;
mod deployment;
mod files;
mod host;
mod identity;
mod place;

use ::config::home::Home;
use place::Place;
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Checks the whole installation; exit code 1 if something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  loki doctor\n  loki doctor --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
        }
    }
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state: State::Ok,
            detail: detail.into(),
            fix: None,
        }
    }

    fn warning(
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Warning,
            fix: Some(fix.into()),
            ..Self::ok(check, detail)
        }
    }

    fn failed(check: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Failed,
            fix: Some(fix.into()),
            ..Self::ok(check, detail)
        }
    }
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let place = Place::look();
    let mut findings = vec![place.finding()];
    findings.extend(settings(context, place));
    match context.offline() {
        Ok(offline) => findings.extend(whole(context, &offline.home, place)),
        Err(failure) => findings.push(Finding::failed(
            "data directory",
            failure.what(),
            "mend the settings first",
        )),
    }
    report(&findings, arguments.json)
}

/// Checks what the processes that run here need.
fn whole(context: &Context, home: &Home, place: Place) -> Vec<Finding> {
    let mut findings = files::check(context, home, place);
    if place.gateway {
        findings.extend(certificates::check(context));
        findings.extend(audit::check(context, home));
    }
    findings.extend(host::check(home));
    if place.runtime {
        findings.push(host::git());
        findings.extend(host::kernel());
        findings.extend(agents::check(context));
    }
    if place.gateway {
        findings.extend(identity::check(context, home));
    }
    findings.extend(deployment::check(context, home, place));
    findings
}

/// Runs `loki sandbox doctor`: what the kernel lets this host enforce.
pub(crate) fn layers(json: bool) -> Result<(), Failure> {
    report(&host::kernel(), json)
}

/// Runs `loki sandbox build`: the native sandbox has no image, so what agents will see is checked.
pub(crate) fn root_view(context: &Context, json: bool) -> Result<(), Failure> {
    let settings = context.runtime_settings()?.settings;
    let mut findings: Vec<Finding> = host::kernel()
        .into_iter()
        .filter(|found| found.check.starts_with("sandbox: "))
        .collect();
    for path in &settings.jail.read {
        let check = format!("visible: {}", path.display());
        findings.push(match path.canonicalize() {
            Ok(place) if place == *path => Finding::ok(check, "read-only"),
            Ok(place) => Finding::ok(check, format!("read-only, as {}", place.display())),
            Err(error) => {
                Finding::warning(check, error.to_string(), "create it, or correct jail.read")
            }
        });
    }
    report(&findings, json)
}

/// Finds `loki-jail` beside this program.
pub(crate) fn jail() -> Result<std::path::PathBuf, Failure> {
    host::jail().map_err(|why| Failure::failed(why).fix("install loki-jail beside loki"))
}

fn report(findings: &[Finding], json: bool) -> Result<(), Failure> {
    if json {
        output::json(&findings)?;
    } else {
        print(findings)?;
    }
    if findings.iter().any(|found| found.state == State::Failed) {
        return Err(Failure::said(Exit::Failed));
    }
    Ok(())
}

fn settings(context: &Context, place: Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    let gateway = context
        .gateway_settings(context.sources())
        .map(|loaded| loaded.warnings);
    let runtime = context.runtime_settings().map(|loaded| loaded.warnings);
    let both = [
        ("gateway settings", gateway, place.gateway),
        ("runtime settings", runtime, place.runtime),
    ];
    for (name, loaded, _) in both.into_iter().filter(|(_, _, is_here)| *is_here) {
        match loaded {
            Ok(warnings) if warnings.is_empty() => {
                findings.push(Finding::ok(name, "in order"));
            }
            Ok(warnings) => findings.extend(
                warnings
                    .into_iter()
                    .map(|text| Finding::warning(name, text, "loki config show --origin")),
            ),
            Err(mistakes) => findings.extend(mistakes.0.iter().map(|mistake| {
                Finding::failed(name, mistake.to_string(), "change it where it is set")
            })),
        }
    }
    findings
}

fn print(findings: &[Finding]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|found| {
            vec![
                found.state.name().to_owned(),
                found.check.clone(),
                output::visible(&found.detail),
            ]
        })
        .collect();
    output::table(&["STATE", "CHECK", "FOUND"], &rows)?;
    let mut fixes = findings
        .iter()
        .filter_map(|found| Some((found, found.fix.as_ref()?)))
        .peekable();
    if fixes.peek().is_some() {
        output::line("\nWhat to do:")?;
    }
    for (found, fix) in fixes {
        output::line(&format!("  {}: {}", found.check, output::visible(fix)))?;
    }
    Ok(())
}
