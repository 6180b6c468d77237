//! What of an agent's work a person should see before it reaches the project: files that decide what
//! machines run, and texts that look like secrets. Pure, but for the two git calls that ask.
//!
//! Invariant: what cannot be read is a finding, never a pass.

use serde::Serialize;

use super::git::Call;
use super::harvest::is_agents_settings;
use super::{BranchError, Workspace};

/// What was found; empty is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Files that decide what the project's machines run.
    pub protected: Vec<String>,
    /// Lines that look like secrets.
    pub secrets: Vec<Secret>,
}

/// A line that looks like a secret, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// The file.
    pub path: String,
    /// What it looks like.
    pub kind: &'static str,
}

impl Findings {
    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.protected.is_empty() && self.secrets.is_empty()
    }
}

impl Workspace {
    /// Looks through everything between the base and the last checkpoint.
    ///
    /// # Errors
    /// When git refuses.
    pub async fn findings(&self) -> Result<Findings, BranchError> {
        let repository = self.kept();
        let list = Call::new("list the agent's files", &repository)
            .arguments(["diff-tree", "-r", "--raw", "--no-renames", "-z"])
            .arguments(["--end-of-options", &self.base, &self.tip]);
        let protected = protected(self.git.run(list).await?.bytes());
        let secrets = secrets(&self.patches().await?);
        Ok(Findings { protected, secrets })
    }

    /// Returns the patch of every commit between the base and the last checkpoint, however long: what
    /// one commit added and a later one took away is published, too. Everything is shown as text.
    async fn patches(&self) -> Result<String, BranchError> {
        let commits = format!("{}..{}", self.base, self.tip);
        let show = Call::new("look through the agent's work", &self.kept())
            .arguments(["log", "-p", "-m", "--text", "--format=", "--no-color"])
            .arguments(["--no-ext-diff", "--no-textconv", "--no-renames"])
            .arguments(["--src-prefix=a/", "--dst-prefix=b/"])
            .arguments(["--end-of-options", &commits]);
        Ok(self.git.run(show).await?.text())
    }
}

/// Picks protected files from git's raw list: `:<mode> <mode> <id> <id> <status>` NUL `<path>` NUL.
fn protected(raw: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut items = raw.split(|byte| *byte == 0).filter(|item| !item.is_empty());
    while let (Some(facts), Some(path)) = (items.next(), items.next()) {
        let facts = String::from_utf8_lossy(facts);
        let path = String::from_utf8_lossy(path);
        let is_submodule = facts
            .trim_start_matches(':')
            .split(' ')
            .take(2)
            .any(|mode| mode == SUBMODULE_MODE);
        if is_submodule || is_protected(&path) {
            found.push(path.into_owned());
        }
    }
    found
}

fn is_protected(path: &str) -> bool {
    if is_agents_settings(path) {
        return true;
    }
    // File systems that fold case would fold a disguise, too.
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    matches!(name, ".gitattributes" | ".gitmodules" | "jenkinsfile")
        || CI_FILES.contains(&path.as_str())
        || CI_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Picks added lines that look like secrets from patches.
fn secrets(diff: &str) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    let mut path = String::new();
    // Every line of a hunk begins with a mark of its own, so that none passes for what ends the hunk.
    let mut is_in_hunk = false;
    for line in diff.lines() {
        if line.starts_with("diff --git ") {
            is_in_hunk = false;
        } else if line.starts_with("@@ ") {
            is_in_hunk = true;
        } else if !is_in_hunk {
            if let Some(name) = line.strip_prefix("+++ ") {
                name.strip_prefix("b/")
                    .unwrap_or(name)
                    .clone_into(&mut path);
            }
        } else if let Some(added) = line.strip_prefix('+')
            && let Some(kind) = secret(added)
        {
            let secret = Secret {
                path: path.clone(),
                kind,
            };
            if !found.contains(&secret) {
                found.push(secret);
            }
        }
    }
    found
}

fn secret(line: &str) -> Option<&'static str> {
    if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----") {
        return Some("private key");
    }
    PREFIXES
        .iter()
        .find(|(prefix, length, _)| {
            line.match_indices(prefix).any(|(at, _)| {
                let rest = &line[at + prefix.len()..];
                let run = rest
                    .bytes()
                    .take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
                    .count();
                run >= *length
            })
        })
        .map(|(_, _, kind)| *kind)
}

/// Beginnings of well-known credentials, with how much must follow.
const PREFIXES: &[(&str, usize, &str)] = &[
    ("AKIA", 16, "AWS access key"),
    ("ghp_", 36, "GitHub token"),
    ("gho_", 36, "GitHub token"),
    ("ghs_", 36, "GitHub token"),
    ("github_pat_", 22, "GitHub token"),
    ("glpat-", 20, "GitLab token"),
    ("sk-ant-", 20, "Anthropic key"),
    ("sk-proj-", 20, "OpenAI key"),
    ("xoxb-", 20, "Slack token"),
    ("xoxp-", 20, "Slack token"),
    ("AIza", 35, "Google key"),
    ("loki_", 46, "Loki token"),
];

const CI_FILES: &[&str] = &[
    ".gitlab-ci.yml",
    ".travis.yml",
    "azure-pipelines.yml",
    "bitbucket-pipelines.yml",
    ".drone.yml",
    ".woodpecker.yml",
];

const CI_FOLDERS: &[&str] = &[
    ".github/workflows/",
    ".github/actions/",
    ".circleci/",
    ".buildkite/",
    ".gitlab/ci/",
    ".woodpecker/",
];

const SUBMODULE_MODE: &str = "160000";

#[cfg(test)]
mod tests {
    use super::{Secret, is_protected, protected, secrets};

    #[test]
    fn files_that_decide_what_machines_run_are_protected() {
        for path in [
            ".github/workflows/ci.yml",
            ".GitHub/Workflows/ci.yml",
            ".gitlab-ci.yml",
            "Jenkinsfile",
            "deep/.gitattributes",
            ".gitmodules",
            ".claude/settings.json",
            "tools/.mcp.json",
        ] {
            assert!(is_protected(path), "{path}");
        }
        for path in ["src/main.rs", "docs/.github/workflows.md", "gitattributes"] {
            assert!(!is_protected(path), "{path}");
        }
    }

    #[test]
    fn a_submodule_is_protected_wherever_it_is() {
        let raw = b":000000 160000 0000 1111 A\0lib/x\0:100644 100644 1 2 M\0a\0";
        assert_eq!(protected(raw), ["lib/x"]);
    }

    #[test]
    fn added_lines_alone_are_searched_for_secrets() {
        let key = format!("ghp_{}", "a".repeat(36));
        let diff = format!(
            "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-{key}\n {key}\n+x={key}\n\
             +AKIA short\ndiff --git a/b b/b\n+++ b/b\n@@ -0,0 +1 @@\n+ok\n+++ b/{key}\n"
        );
        let found = |path: &str| Secret {
            path: path.to_owned(),
            kind: "GitHub token",
        };
        assert_eq!(secrets(&diff), [found("a"), found("b")]);
    }
}
