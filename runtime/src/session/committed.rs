//! What is recorded of commits: each for itself, as git has it, whoever made it.

use config::contract::id::RequestId;
use serde_json::{Value, json};

use super::trail::{RUNTIME, Trail};
use super::workshop::WorkError;
use crate::branch::{Commits, Workspace};

/// Records each commit that was kept and is not recorded yet, of work that no agent did.
pub(super) async fn tell(
    trail: &Trail,
    workspace: &Workspace,
    request_id: Option<&RequestId>,
) -> Result<(), WorkError> {
    let recorded = trail.commit();
    if let Some(commits) = workspace.commits_since(recorded.as_deref()).await? {
        for (action, details) in records(&commits) {
            trail.add(action, RUNTIME, request_id, details).await?;
        }
    }
    Ok(())
}

/// Returns action and details of each record.
pub(super) fn records(commits: &Commits) -> Vec<(&'static str, Value)> {
    let mut records = Vec::with_capacity(commits.shown.len() + 1);
    if commits.left_out > 0 {
        let details = json!({ "count": commits.left_out });
        records.push(("git_commits_left_out", details));
    }
    if commits.shown.is_empty() {
        records.push(("git_reset", json!({ "commit": commits.tip })));
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
    use crate::branch::{Commit, Commits, FileChange};

    #[track_caller]
    fn check(shown: Vec<Commit>, left_out: u32, expected: &[(&str, Value)]) {
        let commits = Commits {
            tip: "bb".to_owned(),
            shown,
            left_out,
        };
        assert_eq!(records(&commits), expected);
    }

    #[test]
    fn each_commit_is_a_record_and_what_is_left_out_is_said() {
        check(Vec::new(), 0, &[("git_reset", json!({"commit": "bb"}))]);
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
