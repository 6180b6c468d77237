//! Judges the body of `POST /api/sessions`: what is asked for, and whether this runtime may do it.
//!
//! Invariant: a caller can only tighten. No I/O, no async, no clock.

use config::contract::session::{NAME_BYTES_MAX, PRD_BYTES_MAX, StartSession, Tightening};
use config::runtime::RuntimeSettings;
use config::runtime::autonomy::Autonomy;
use config::runtime::commands::NO_DEFAULTS;

use crate::approval::rules::Freedom;
use crate::policy::{Policy, PolicyMistake};
use crate::provider::{Command, Providers};

/// What a judged request asks for; its project is checked by [`crate::project`].
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// File name of the PRD.
    pub prd_name: String,
    /// Its text.
    pub prd_text: String,
    /// The project's path as asked for.
    pub project: String,
    /// The program that works.
    pub provider: Command,
    /// Name of the model, if one was chosen.
    pub model: Option<String>,
    /// US dollars after which it pauses and asks.
    pub budget_usd: Option<f64>,
    /// Most iterations.
    pub iterations_max: u32,
    /// Whether the work stays on the session's branch.
    pub branch_protection: bool,
    /// How much it may do without being asked.
    pub freedom: Freedom,
    /// Which commands it may run.
    pub policy: Policy,
    /// What the caller blocks besides the runtime's.
    pub blocked_commands: Vec<String>,
    /// Whether its programs run in the sandbox.
    pub sandbox: bool,
    /// The only paths that it may write, as the caller has them.
    pub allowed_paths: Option<Vec<String>>,
}

/// Why a request was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// A member has a value that it cannot have.
    #[error("{field} {why}")]
    Invalid {
        /// The member, with dots.
        field: &'static str,
        /// What is wrong.
        why: String,
        /// What to do.
        fix: String,
    },
    /// A member asks for less protection than the runtime's settings.
    #[error("{field} would loosen what the runtime's settings protect")]
    Loosens {
        /// The member, with dots.
        field: &'static str,
        /// The variable that sets it.
        variable: &'static str,
    },
    /// A member asks for a protection that this version does not have.
    #[error("this version does not enforce {field}, so it does not start with it")]
    NotEnforced {
        /// The member, with dots.
        field: &'static str,
        /// The variable that sets it.
        variable: &'static str,
    },
    /// The paths that may be written cannot be what they are.
    #[error("tighten.allowed_paths (LOKI_ALLOWED_PATHS): {0}")]
    Paths(#[from] crate::sandbox::PathError),
    /// The provider is not configured.
    #[error(transparent)]
    UnknownProvider(#[from] crate::provider::UnknownProvider),
}

/// Judges a request by the runtime's settings.
///
/// # Errors
/// See [`Unacceptable`].
pub fn judge(
    request: StartSession,
    settings: &RuntimeSettings,
    providers: &Providers,
) -> Result<Accepted, Unacceptable> {
    check_prd(&request)?;
    check_project(&request.project)?;
    let branch_protection = branch_protection(&request.tighten, settings.branch_protection)?;
    let freedom = freedom(&request.tighten, &settings.autonomy)?;
    let blocked_commands = request.tighten.blocked_commands.clone().unwrap_or_default();
    let policy = policy(&blocked_commands, settings)?;
    let iterations_max = iterations_max(&request, settings.sessions.iterations_max)?;
    let budget_usd = budget_usd(&request, settings.budget.usd)?;
    let provider = providers.find(request.provider.as_deref())?.clone();
    let provider = with_model(provider, request.model.as_deref())?;
    let sandbox = sandboxed(&request.tighten, settings, &provider)?;
    Ok(Accepted {
        prd_name: request.prd.name,
        prd_text: request.prd.text,
        project: request.project,
        provider,
        model: request.model,
        budget_usd,
        iterations_max,
        branch_protection,
        freedom,
        policy,
        blocked_commands,
        sandbox,
        allowed_paths: request.tighten.allowed_paths,
    })
}

/// Returns whether the session runs in the sandbox. What is given to a program inside is the agent's,
/// so a provider's variables are not, unless the operator says so.
pub(super) fn sandboxed(
    asked: &Tightening,
    settings: &RuntimeSettings,
    provider: &Command,
) -> Result<bool, Unacceptable> {
    let enabled = settings.sandbox.enabled;
    if asked.sandbox == Some(false) && enabled {
        return Err(Unacceptable::Loosens {
            field: "tighten.sandbox",
            variable: "LOKI_SANDBOX_MODE",
        });
    }
    let sandbox = enabled || asked.sandbox == Some(true);
    if sandbox && !settings.sandbox.credentials && !provider.given().is_empty() {
        let why = format!(
            "{} gets variables of the runtime, which its agent could read in the sandbox: {}",
            provider.name(),
            provider.given().join(", ")
        );
        let fix = "take them out of the provider's `environment`, or let the operator set \
                   sandbox.credentials_in_sandbox";
        return invalid("provider", why, fix);
    }
    Ok(sandbox)
}

fn check_prd(request: &StartSession) -> Result<(), Unacceptable> {
    let name = &request.prd.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let why = format!("must have 1 to {NAME_BYTES_MAX} bytes");
        return invalid("prd.name", why, "send the file's name without its folder");
    }
    if name.contains('/') || name.chars().any(char::is_control) {
        let why = "holds a slash or a control character";
        return invalid("prd.name", why, "send the file's name without its folder");
    }
    let text = &request.prd.text;
    if text.trim().is_empty() {
        let why = "is empty";
        return invalid("prd.text", why, "describe what is to be done");
    }
    if text.len() > PRD_BYTES_MAX {
        let why = format!("is longer than {PRD_BYTES_MAX} bytes");
        return invalid(
            "prd.text",
            why,
            "shorten it, or put details into the project",
        );
    }
    if text.contains('\0') {
        let why = "holds a NUL character";
        return invalid("prd.text", why, "send plain text");
    }
    Ok(())
}

fn check_project(project: &str) -> Result<(), Unacceptable> {
    if !project.starts_with('/') {
        let fix = "send the absolute path of a git repository";
        return invalid("project", "is not an absolute path", fix);
    }
    if project.contains('\0') || project.len() > PATH_BYTES_MAX {
        let why = format!("holds a NUL character or is longer than {PATH_BYTES_MAX} bytes");
        return invalid("project", why, "send the path of a git repository");
    }
    Ok(())
}

fn iterations_max(request: &StartSession, most: u32) -> Result<u32, Unacceptable> {
    match request.iterations_max {
        None => Ok(most),
        Some(0) => invalid("iterations_max", "is 0", "ask for at least 1"),
        Some(asked) if asked > most => {
            let why = format!("is {asked}, more than the runtime's {most}");
            let fix = "ask for fewer, or let the operator raise sessions.iterations_max";
            invalid("iterations_max", why, fix)
        }
        Some(asked) => Ok(asked),
    }
}

fn budget_usd(request: &StartSession, most: Option<f64>) -> Result<Option<f64>, Unacceptable> {
    let Some(asked) = request.budget_usd else {
        return Ok(most);
    };
    if !asked.is_finite() || asked < 0.0 {
        let fix = "ask for an amount of US dollars, such as 2.50";
        return invalid("budget_usd", format!("is {asked}"), fix);
    }
    match most {
        Some(most) if asked > most => {
            let why = format!("is {asked}, more than the runtime's {most}");
            let fix = "ask for less, or let the operator raise budget.usd";
            invalid("budget_usd", why, fix)
        }
        Some(_) | None => Ok(Some(asked)),
    }
}

/// Has a provider use a model.
pub(super) fn with_model(provider: Command, model: Option<&str>) -> Result<Command, Unacceptable> {
    let Some(model) = model else {
        return Ok(provider);
    };
    let lawful = |letter: char| letter.is_ascii_alphanumeric() || "-_.:/@[]".contains(letter);
    if model.is_empty() || model.len() > NAME_BYTES_MAX || !model.chars().all(lawful) {
        let why = "is not the name of a model";
        return invalid("model", why, "send letters, digits and -_.:/@[]");
    }
    // It stands among the program's arguments, where it must not look like an option.
    if model.starts_with('-') {
        return invalid("model", "begins with a dash", "send the name of a model");
    }
    let name = provider.name().to_owned();
    provider
        .with_model(model)
        .ok_or_else(|| Unacceptable::Invalid {
            field: "model",
            why: format!("cannot be chosen with provider {name:?}"),
            fix: format!("leave it out, or let the operator set providers.{name}.model_arguments"),
        })
}

/// Returns how much the session may do after the caller's tightening.
fn freedom(asked: &Tightening, settings: &Autonomy) -> Result<Freedom, Unacceptable> {
    let mode = asked.autonomy_mode.unwrap_or(settings.mode);
    if mode < settings.mode {
        return Err(Unacceptable::Loosens {
            field: "tighten.autonomy_mode",
            variable: "LOKI_AUTONOMY_MODE",
        });
    }
    let staged = asked.staged_autonomy.unwrap_or(settings.staged);
    if settings.staged && !staged {
        return Err(Unacceptable::Loosens {
            field: "tighten.staged_autonomy",
            variable: "LOKI_STAGED_AUTONOMY",
        });
    }
    Ok(Freedom { mode, staged })
}

/// Returns the command policy after the caller's tightening.
pub(super) fn policy(
    blocked: &[String],
    settings: &RuntimeSettings,
) -> Result<Policy, Unacceptable> {
    if blocked.iter().any(|entry| entry == NO_DEFAULTS) {
        return Err(Unacceptable::Loosens {
            field: "tighten.blocked_commands",
            variable: "LOKI_BLOCKED_COMMANDS",
        });
    }
    let bad = |mistake: &PolicyMistake| Unacceptable::Invalid {
        field: "tighten.blocked_commands",
        why: mistake.why.clone(),
        fix: mistake.fix.clone(),
    };
    if blocked.len() > BLOCKED_MAX {
        let why = format!("has more than {BLOCKED_MAX} entries");
        return invalid("tighten.blocked_commands", why, "send fewer");
    }
    let policy = Policy::new(&settings.commands).map_err(|mistakes| {
        mistakes
            .iter()
            .map(bad)
            .next_back()
            .unwrap_or(Unacceptable::NotEnforced {
                field: "tighten.blocked_commands",
                variable: "LOKI_BLOCKED_COMMANDS",
            })
    })?;
    policy.tightened(blocked).map_err(|mistake| bad(&mistake))
}

/// Returns whether branches are protected after the caller's tightening.
fn branch_protection(asked: &Tightening, protected: bool) -> Result<bool, Unacceptable> {
    match (asked.branch_protection, protected) {
        (Some(false), true) => Err(Unacceptable::Loosens {
            field: "tighten.branch_protection",
            variable: "LOKI_BRANCH_PROTECTION",
        }),
        (Some(true), _) | (None, true) => Ok(true),
        (Some(false) | None, false) => Ok(false),
    }
}

fn invalid<T>(field: &'static str, why: impl Into<String>, fix: &str) -> Result<T, Unacceptable> {
    Err(Unacceptable::Invalid {
        field,
        why: why.into(),
        fix: fix.to_owned(),
    })
}

/// Most entries that a caller may add to the blocked commands.
const BLOCKED_MAX: usize = 100;

/// Longest accepted path in bytes (`PATH_MAX` of Linux, `include/uapi/linux/limits.h`).
const PATH_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
