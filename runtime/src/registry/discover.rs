//! Searches the allowed roots for folders that could be registered.
//!
//! Invariant: no symbolic link is followed, and the search ends at its bounds, whatever lies there.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::home::Home;

use super::folder::Folder;
use super::health::has_prd;
use crate::project;

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) found: Vec<Found>,
    /// Whether it ended at a bound.
    pub(crate) cut: bool,
}

/// A folder that could be registered.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) has_state: bool,
    pub(crate) has_prd: bool,
}

/// Searches below the roots, at most `depth_max` folders deep.
pub(crate) fn search(roots: &[PathBuf], home: &Home, depth_max: u32) -> Search {
    let deadline = Instant::now() + TIME_MAX;
    let mut search = Search::default();
    let mut seen = BTreeSet::new();
    let mut waiting: VecDeque<(PathBuf, u32)> = roots
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .map(|root| (root, 0))
        .collect();
    while let Some((folder, depth)) = waiting.pop_front() {
        if seen.len() >= FOLDERS_MAX || search.found.len() >= FOUND_MAX || Instant::now() > deadline
        {
            search.cut = true;
            break;
        }
        if !seen.insert(folder.clone()) {
            continue;
        }
        match look(&folder, roots, home) {
            Some(found) => search.found.push(found),
            None if depth < depth_max => {
                waiting.extend(below(&folder).into_iter().map(|path| (path, depth + 1)));
            }
            None => {}
        }
    }
    search.found.sort_by(|a, b| a.path.cmp(&b.path));
    search
}

/// Returns the folder if it is a project.
fn look(path: &Path, roots: &[PathBuf], home: &Home) -> Option<Found> {
    let folder = Folder::open(path).ok()?;
    let has_state = folder.has_folder(".loki");
    if !has_state && !folder.has_folder(".git") {
        return None;
    }
    let path = project::locate(path, roots, home).ok()?;
    Some(Found {
        path: path.to_str()?.to_owned(),
        has_state,
        has_prd: has_prd(&folder),
    })
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && !SKIPPED.contains(&name.as_ref())
        })
        .take(FOLDERS_MAX)
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// Folders of built or fetched things, in which no project of one's own lies.
const SKIPPED: [&str; 4] = ["node_modules", "target", "vendor", "venv"];

const FOLDERS_MAX: usize = 20_000;
const FOUND_MAX: usize = 1_000;
const TIME_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use config::home::Home;

    use super::search;

    #[test]
    fn links_and_the_data_directory_are_not_found_and_projects_are() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("other/.git")).unwrap();
        for folder in [
            ".loki/dashboard",
            "a/.git",
            "b/c/.loki",
            "b/c/d/.git",
            "x/y/z/.git",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("a/prd.md"), "x").unwrap();
        symlink(outside.path(), root.join("link")).unwrap();
        let home = Home::new(root.join(".loki"));
        let found = search(std::slice::from_ref(&root), &home, 2);
        let paths: Vec<_> = found
            .found
            .iter()
            .map(|found| (found.path.as_str(), found.has_state, found.has_prd))
            .collect();
        let (a, c) = (root.join("a"), root.join("b/c"));
        assert_eq!(
            paths,
            [
                (a.to_str().unwrap(), false, true),
                (c.to_str().unwrap(), true, false)
            ]
        );
        assert!(!found.cut);
    }
}
