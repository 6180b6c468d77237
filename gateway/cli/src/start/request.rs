//! What a session is asked to be: the document, the project, and the caller's own protections.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ::config::contract::session::{PRD_BYTES_MAX, Prd, StartSession, Tightening};
use ::config::load::Value;

use super::Arguments;
use crate::context::Context;
use crate::failure::Failure;

const PLACES: [&str; 3] = ["PRD.md", "prd.md", "docs/prd.md"];

/// Builds the request.
pub(super) fn build(context: &Context, arguments: &Arguments) -> Result<StartSession, Failure> {
    let tighten = tightening(|name| context.variable(name), arguments.sandbox)?;
    let prd = prd(context.directory(), arguments.prd.as_deref())?;
    let provider = arguments
        .provider
        .clone()
        .or_else(|| context.variable("LOKI_PROVIDER").map(str::to_owned));
    Ok(StartSession {
        prd,
        project: project(context.directory(), arguments.project.as_deref())?,
        provider,
        model: arguments.model.clone(),
        budget_usd: arguments.budget,
        iterations_max: arguments.iterations,
        tighten,
    })
}

/// Reads the session variables and the flags of the same meaning.
fn tightening<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
    sandbox: bool,
) -> Result<Tightening, Failure> {
    let mut tighten = Tightening {
        sandbox: read(&variable, "LOKI_SANDBOX_MODE")?,
        staged_autonomy: read(&variable, "LOKI_STAGED_AUTONOMY")?,
        autonomy_mode: read(&variable, "LOKI_AUTONOMY_MODE")?,
        allowed_paths: read(&variable, "LOKI_ALLOWED_PATHS")?,
        blocked_commands: read(&variable, "LOKI_BLOCKED_COMMANDS")?,
        branch_protection: read(&variable, "LOKI_BRANCH_PROTECTION")?,
    };
    if sandbox {
        tighten.sandbox = Some(true);
    }
    Ok(tighten)
}

pub(crate) fn read<'a, T: Value>(
    variable: &impl Fn(&str) -> Option<&'a str>,
    name: &str,
) -> Result<Option<T>, Failure> {
    variable(name)
        .map(T::from_text)
        .transpose()
        .map_err(|why| Failure::usage(format!("{name}: {why}")))
}

fn prd(directory: &Path, named: Option<&Path>) -> Result<Prd, Failure> {
    let path = match named {
        Some(path) => directory.join(path),
        None => find(directory).ok_or_else(|| {
            Failure::usage(format!(
                "there is no document: neither {} is in {} or its repository",
                PLACES.join(" nor "),
                directory.display()
            ))
            .fix("name it: loki start ./prd.md")
        })?,
    };
    let wrong = |why: &str| Failure::usage(format!("cannot use {}: {why}", path.display()));
    let file = File::open(&path).map_err(|error| wrong(&error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(PRD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&error.to_string()))?;
    if bytes.len() > PRD_BYTES_MAX {
        return Err(wrong(&format!("it is longer than {PRD_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| wrong("its name is not UTF-8 text"))?;
    Ok(Prd {
        name: name.to_owned(),
        text,
    })
}

/// Looks for the document in the folder, then in the repository around it.
fn find(directory: &Path) -> Option<PathBuf> {
    let repository = repository(directory);
    [Some(directory), repository.as_deref()]
        .into_iter()
        .flatten()
        .flat_map(|folder| PLACES.map(|place| folder.join(place)))
        .find(|path| path.is_file())
}

/// Returns the project's absolute path.
pub(crate) fn project(directory: &Path, named: Option<&Path>) -> Result<String, Failure> {
    let folder = match named {
        Some(path) => directory.join(path),
        None => repository(directory).ok_or_else(|| {
            Failure::usage(format!("{} lies in no git repository", directory.display()))
                .fix("git init and commit, or name the project: --project DIR")
        })?,
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| Failure::usage(format!("cannot use {}: {error}", folder.display())))?;
    folder
        .into_os_string()
        .into_string()
        .map_err(|path| Failure::usage(format!("the path {} is not UTF-8", path.display())))
}

fn repository(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .find(|folder| folder.join(".git").exists())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::config::contract::session::{AutonomyMode, Tightening};

    use super::{prd, project, tightening};

    #[test]
    fn a_bad_session_variable_is_named() {
        for (name, value) in [
            ("LOKI_SANDBOX_MODE", "enabled"),
            ("LOKI_STAGED_AUTONOMY", "2"),
            ("LOKI_AUTONOMY_MODE", "careful"),
            ("LOKI_BRANCH_PROTECTION", "maybe"),
        ] {
            let read = tightening(|asked| (asked == name).then_some(value), false);
            let failure = read.expect_err("bad value");
            assert!(failure.what().starts_with(name), "{failure:?}");
        }
    }

    #[test]
    fn session_variables_are_sent_as_set() {
        let read = tightening(
            |name| match name {
                "LOKI_SANDBOX_MODE" => Some("off"),
                "LOKI_STAGED_AUTONOMY" => Some("yes"),
                "LOKI_AUTONOMY_MODE" => Some("checkpoint"),
                "LOKI_ALLOWED_PATHS" => Some("/app/src, /app/tests"),
                _ => None,
            },
            true,
        );
        let expected = Tightening {
            sandbox: Some(true),
            staged_autonomy: Some(true),
            autonomy_mode: Some(AutonomyMode::Checkpoint),
            allowed_paths: Some(vec!["/app/src".to_owned(), "/app/tests".to_owned()]),
            blocked_commands: None,
            branch_protection: None,
        };
        assert_eq!(read.expect("good values"), expected);
    }

    #[test]
    fn a_document_that_is_none_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let folder = directory.path();
        assert!(prd(folder, None).is_err());
        fs::write(folder.join("prd.md"), " \n").expect("write");
        assert!(prd(folder, None).is_err());
        fs::write(folder.join("prd.md"), [0xff, 0xfe]).expect("write");
        assert!(prd(folder, None).is_err());
        fs::write(folder.join("prd.md"), "x".repeat(1024 * 1024 + 1)).expect("write");
        assert!(prd(folder, None).is_err());
        fs::write(folder.join("prd.md"), "# Do it").expect("write");
        let found = prd(folder, None).expect("a document");
        assert_eq!(
            (found.name.as_str(), found.text.as_str()),
            ("prd.md", "# Do it")
        );
    }

    #[test]
    fn the_project_is_the_repository_around_the_folder() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().canonicalize().expect("a path");
        let inner = root.join("project/src");
        fs::create_dir_all(&inner).expect("folders");
        assert!(project(&inner, None).is_err());
        fs::create_dir(root.join("project/.git")).expect("folder");
        let expected = root.join("project").display().to_string();
        assert_eq!(project(&inner, None).expect("a project"), expected);
    }
}
