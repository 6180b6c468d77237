//! What sessions need where the runtime is: projects, the provider's program, and `gh`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ::config::runtime::providers::BUILT_IN;
use ::config::runtime::{Backend, RuntimeSettings};

use super::Finding;
use crate::context::Context;

/// Checks what agents are started with; that settings are wrong is another check's finding.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let Ok(loaded) = context.runtime_settings() else {
        return Vec::new();
    };
    let settings = loaded.settings;
    let mut findings: Vec<Finding> = settings
        .project_roots
        .iter()
        .map(|root| projects(root))
        .collect();
    findings.extend(provider(&settings));
    findings.push(pull_requests(&settings));
    findings
}

fn projects(root: &Path) -> Finding {
    let check = format!("projects: {}", root.display());
    let fix = "create it, or correct projects.roots (LOKI_WORKSPACE_ROOTS)";
    match root.metadata() {
        Ok(found) if found.is_dir() => {
            let own = rustix::process::geteuid().as_raw();
            if own == 0 || rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok() {
                return Finding::ok(check, "sessions hand their branches over there");
            }
            Finding::warning(
                check,
                format!(
                    "belongs to user {}, and user {own} may not write there: branches stay with \
                     the runtime",
                    found.uid()
                ),
                "give the projects to the runtime's user, unless that is what you want",
            )
        }
        Ok(_) => Finding::warning(check, "is no folder", fix),
        Err(error) => Finding::warning(check, error.to_string(), fix),
    }
}

/// Looks for the program of the provider that sessions get which name none.
fn provider(settings: &RuntimeSettings) -> Option<Finding> {
    let name = &settings.provider;
    let set = settings.providers.iter().find(|one| one.name == *name);
    let program = match set.and_then(|one| one.command.first()) {
        Some(program) => program,
        None if BUILT_IN.contains(&name.as_str()) => name,
        // That a provider has no program is a mistake of the settings already.
        None => return None,
    };
    let check = format!("provider {name}");
    if settings.sandbox.backend == Backend::Docker {
        let detail = format!("{program} is looked for in the image of the sandbox");
        return Some(Finding::ok(check, detail));
    }
    Some(match find(program, settings) {
        Some(path) => Finding::ok(check, path.display().to_string()),
        None => Finding::warning(
            check,
            format!("there is no program {program} that agents could run"),
            format!("install it, or correct providers.{name}.command and jail.read"),
        ),
    })
}

fn pull_requests(settings: &RuntimeSettings) -> Finding {
    let check = "pull requests";
    match find("gh", settings) {
        Some(path) => Finding::ok(check, format!("by {}", path.display())),
        None => Finding::ok(
            check,
            "gh is not installed: results say which commands make them",
        ),
    }
}

/// Finds a program where agents look for it.
fn find(program: &str, settings: &RuntimeSettings) -> Option<PathBuf> {
    let named = Path::new(program);
    if named.is_absolute() {
        return is_program(named).then(|| named.to_owned());
    }
    let read = settings.jail.read.iter();
    let added = read.map(|path| {
        if path.ends_with("bin") {
            path.clone()
        } else {
            path.join("bin")
        }
    });
    let system = SYSTEM.iter().map(PathBuf::from);
    added
        .chain(system)
        .map(|folder| folder.join(named))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

/// The folders of programs that every agent has.
const SYSTEM: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
