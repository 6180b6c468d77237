//! What is recorded of a checkpoint: each commit for itself, as git has it, whoever made it.

use serde_json::{Value, json};

use crate::branch::Checkpoint;

/// Returns action and details of each record.
pub(super) fn records(checkpoint: &Checkpoint) -> Vec<(&'static str, Value)> {
    let commits = &checkpoint.commits;
    let mut records = Vec::with_capacity(commits.shown.len() + 1);
    if commits.left_out > 0 {
        let details = json!({ "count": commits.left_out });
        records.push(("git_commits_left_out", details));
    }
    if commits.shown.is_empty() {
        let details = json!({
            "commit": checkpoint.commit,
            "files_changed": checkpoint.files_changed,
        });
        records.push(("git_reset", details));
    }
    let made = commits.shown.iter();
    records.extend(made.map(|commit| (COMMIT, json!(commit))));
    records
}

/// What the record of a commit is called.
pub(super) const COMMIT: &str = "git_commit";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{COMMIT, records};
    use crate::branch::{Checkpoint, Commit, Commits, FileChange};

    #[track_caller]
    fn check(shown: Vec<Commit>, left_out: u32, expected: &[(&str, Value)]) {
        let checkpoint = Checkpoint {
            commit: "bb".to_owned(),
            files_changed: 2,
            commits: Commits { shown, left_out },
            note: None,
        };
        assert_eq!(records(&checkpoint), expected);
    }

    #[test]
    fn each_commit_is_a_record_and_what_is_left_out_is_said() {
        check(
            Vec::new(),
            0,
            &[("git_reset", json!({"commit": "bb", "files_changed": 2}))],
        );
        let commit = Commit {
            commit: "bb".to_owned(),
            message: "work".to_owned(),
            files_changed: Some(2),
            files: vec![FileChange {
                path: "a".to_owned(),
                change: "added",
            }],
        };
        let details = json!({
            "commit": "bb",
            "message": "work",
            "files_changed": 2,
            "files": [{"path": "a", "change": "added"}],
        });
        let left_out = ("git_commits_left_out", json!({"count": 9}));
        check(vec![commit], 9, &[left_out, (COMMIT, details)]);
    }
}
