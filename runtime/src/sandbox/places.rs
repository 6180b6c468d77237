//! Where the jail's program lies, and which places no agent may ever be given.
//!
//! Invariant: what is compared are canonical paths, so that no link hides where a path leads.

use std::path::{Path, PathBuf};

use super::{SandboxError, system};

/// Finds a program of one's own beside this one; for tests, which cargo puts one folder deeper, above
/// it.
pub(super) fn find_program(name: &'static str) -> Result<PathBuf, SandboxError> {
    let missing = |path: PathBuf| SandboxError::ProgramMissing { name, path };
    let own = std::env::current_exe().map_err(|_| missing("/proc/self/exe".into()))?;
    let mut folder = own.parent().ok_or_else(|| missing(own.clone()))?;
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    let program = folder.join(name);
    match program.canonicalize() {
        Ok(place) if place.is_file() => Ok(place),
        Ok(_) | Err(_) => Err(missing(program)),
    }
}

/// Checks the folders that the operator lets agents read, and returns those that exist.
pub(super) fn check_readable(
    asked: &[PathBuf],
    data_directory: &Path,
) -> Result<Vec<PathBuf>, SandboxError> {
    let mut readable = Vec::new();
    for path in asked {
        if !path.is_absolute() {
            return Err(SandboxError::Relative { path: path.clone() });
        }
        let Ok(place) = path.canonicalize() else {
            continue;
        };
        if data_directory.starts_with(&place) || place.starts_with(data_directory) {
            return Err(SandboxError::Uncovered {
                path: path.clone(),
                data_directory: data_directory.to_owned(),
            });
        }
        readable.push(place);
    }
    Ok(readable)
}

/// Checks the places that one program is to reach: each stands under its canonical name, so that
/// nobody has put a link there, and none holds the data directory as a whole.
pub(super) fn check_reach<'paths>(
    paths: impl IntoIterator<Item = &'paths PathBuf>,
    data_directory: &Path,
) -> Result<(), SandboxError> {
    for path in paths {
        // What does not exist, the jail refuses.
        let Ok(place) = path.canonicalize() else {
            continue;
        };
        keep_covered(path, &place, data_directory)?;
        if place != *path {
            return Err(SandboxError::Elsewhere {
                path: path.clone(),
                place,
            });
        }
    }
    Ok(())
}

/// Checks that the data directory does not lie among the system's own files.
pub(super) fn keep_out_of_system(data_directory: &Path) -> Result<(), SandboxError> {
    for path in system::readable() {
        if let Ok(place) = path.canonicalize() {
            keep_covered(&path, &place, data_directory)?;
        }
    }
    Ok(())
}

fn keep_covered(path: &Path, place: &Path, data_directory: &Path) -> Result<(), SandboxError> {
    if data_directory.starts_with(place) {
        return Err(SandboxError::Uncovered {
            path: path.to_owned(),
            data_directory: data_directory.to_owned(),
        });
    }
    Ok(())
}
