//! The commits of a checkpoint, as the runtime's own repository has them: who reads the agent audit
//! learns what was committed, whatever the agent's program said of it.
//!
//! Invariant: what is told is bounded, and what is left out is counted.

use serde::Serialize;

use super::git::Call;
use super::{BranchError, Workspace};

/// One commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its id.
    pub commit: String,
    /// The first line of its message.
    pub message: String,
    /// Files that differ from its first parent; none if there are too many to list.
    pub files_changed: Option<u32>,
    /// The first of them.
    pub files: Vec<FileChange>,
}

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it lies in the project.
    pub path: String,
    /// `added`, `modified`, `deleted` or `retyped`.
    pub change: &'static str,
}

/// What the session's branch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Where it stands.
    pub tip: String,
    /// The newest of the commits that it brought, oldest first: the agent's own, and those of what it left
    /// uncommitted. None if the agent went back to an earlier one.
    pub shown: Vec<Commit>,
    /// Older ones that are not told.
    pub left_out: u32,
}

impl Workspace {
    /// Returns what the branch came to after a commit, or after the base if that is not known here; nothing
    /// if it stands there still.
    ///
    /// # Errors
    /// When git refuses.
    pub async fn commits_since(&self, from: Option<&str>) -> Result<Option<Commits>, BranchError> {
        let kept = self.kept();
        let is_known = match from {
            Some(from) => self.git.commit(&kept, from).await?.is_some(),
            None => false,
        };
        let from = from.filter(|_| is_known).unwrap_or(&self.base);
        if from == self.tip {
            return Ok(None);
        }
        Ok(Some(self.commits(from, &self.tip).await?))
    }

    /// Returns the commits that one commit has beyond another, of the runtime's own repository.
    async fn commits(&self, from: &str, to: &str) -> Result<Commits, BranchError> {
        let list = |what| {
            Call::new(what, &self.kept())
                .arguments(["log", "--topo-order", "--reverse", "--no-color"])
                .arguments([format!("--max-count={COMMITS_MAX}")])
        };
        let range = format!("{from}..{to}");
        let files = list("list the agent's commits")
            .arguments(["--diff-merges=first-parent", "--no-renames", "--raw", "-z"])
            .arguments(["--format=%x00%H", "--end-of-options", &range]);
        let files = match self.git.run(files).await {
            Ok(answer) => read(answer.bytes()),
            // More than a call may answer; that is no reason to lose the work.
            Err(BranchError::Git { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let subjects = list("read the agent's commits").arguments([
            "--format=%H %s",
            "--end-of-options",
            &range,
        ]);
        let lines = self.git.run(subjects).await?.lines();
        let shown = name(&lines, files);
        let count = Call::new("count the agent's commits", &self.kept()).arguments([
            "rev-list",
            "--count",
            "--end-of-options",
            &range,
        ]);
        let count: usize = self.git.run(count).await?.line().parse().unwrap_or(0);
        let left_out = u32::try_from(count.saturating_sub(shown.len())).unwrap_or(u32::MAX);
        Ok(Commits {
            tip: to.to_owned(),
            shown,
            left_out,
        })
    }
}

/// Puts what is known of files beside each line `<id> <subject>`.
fn name(lines: &[String], files: Vec<Commit>) -> Vec<Commit> {
    let mut files = files.into_iter();
    let named = lines.iter().map(|line| {
        let (id, subject) = line.split_once(' ').unwrap_or((line, ""));
        let known = files.next().filter(|known| known.commit == id);
        Commit {
            commit: id.to_owned(),
            message: bounded(subject).to_owned(),
            ..known.unwrap_or_default()
        }
    });
    named.collect()
}

/// Reads git's raw log: NUL `<id>` NUL, then for each file `:<mode> <mode> <id> <id> <status>` NUL
/// `<path>` NUL.
fn read(raw: &[u8]) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    let mut room = 0;
    let mut items = raw.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    while let Some(item) = items.next() {
        let Some(next) = items.next() else {
            break;
        };
        if item.is_empty() {
            room = FILES_BYTES_MAX;
            commits.push(Commit {
                commit: next.into_owned(),
                files_changed: Some(0),
                ..Commit::default()
            });
        } else if let Some(commit) = commits.last_mut() {
            commit.files_changed = commit.files_changed.map(|count| count.saturating_add(1));
            if let Some(left) = usize::checked_sub(room, next.len()) {
                room = left;
                commit.files.push(FileChange {
                    path: next.into_owned(),
                    change: change(&item),
                });
            } else {
                // None after the first that is left out, so that these are the first ones.
                room = 0;
            }
        }
    }
    commits
}

fn change(facts: &str) -> &'static str {
    match facts.chars().last() {
        Some('A') => "added",
        Some('D') => "deleted",
        Some('T') => "retyped",
        _ => "modified",
    }
}

fn bounded(subject: &str) -> &str {
    &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX)]
}

/// Most commits of one checkpoint that are told.
const COMMITS_MAX: usize = 256;

/// Most bytes of names of files that are told of one commit.
const FILES_BYTES_MAX: usize = 4 * 1024;

const SUBJECT_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{Commit, FILES_BYTES_MAX, FileChange, name, read};

    fn file(path: &str, change: &'static str) -> FileChange {
        FileChange {
            path: path.to_owned(),
            change,
        }
    }

    #[test]
    fn commits_are_told_from_their_files() {
        let raw = b"\0aa\0\n:000000 100644 0 1 A\0new\0:100644 000000 1 0 D\0old\0\0bb\0\0cc\0\n\
                    :100644 120000 1 2 T\0link\0:100644 100644 1 2 M\0a\nb\0";
        let commit = |commit: &str, files: Vec<FileChange>| Commit {
            commit: commit.to_owned(),
            message: String::new(),
            files_changed: u32::try_from(files.len()).ok(),
            files,
        };
        let expected = [
            commit("aa", vec![file("new", "added"), file("old", "deleted")]),
            commit("bb", Vec::new()),
            commit(
                "cc",
                vec![file("link", "retyped"), file("a\nb", "modified")],
            ),
        ];
        assert_eq!(read(raw), expected);
        assert_eq!(read(b""), Vec::new());
        let lines = ["aa one".to_owned(), "bb".to_owned()];
        let named = name(&lines, read(raw));
        assert_eq!(
            (named[0].message.as_str(), named[0].files_changed),
            ("one", Some(2))
        );
        assert_eq!(named[1].message, "");
        let unknown = name(&lines, Vec::new());
        assert_eq!(
            (unknown[0].message.as_str(), unknown[0].files_changed),
            ("one", None)
        );
    }

    #[test]
    fn long_lists_of_files_are_cut_and_counted() {
        let name = "x".repeat(FILES_BYTES_MAX - 2);
        let raw = format!("\0aa\0\n:0 0 0 0 A\0{name}\0:0 0 0 0 A\0abc\0:0 0 0 0 A\0d\0");
        let read = read(raw.as_bytes());
        assert_eq!((read[0].files_changed, read[0].files.len()), (Some(3), 1));
    }
}
