//! What is taken over of an agent's files: everything but new settings of agents, and what would stand in
//! the place of the project's agent audit.
//!
//! What such settings say decides what the next agent asks for and runs, here and on every machine that
//! has the project. Where they exist they can only be read inside; a name cannot be guarded while there
//! is nothing, so what appears there is refused when the work is taken over. The agent audit is shown in
//! files that git overlooks, and git replaces such files when a branch is merged that has them.
//!
//! Invariant: no checkpoint holds an agent's settings or an agent audit that the project did not have.

use super::{BranchError, Workspace};

impl Workspace {
    /// Takes what is refused and appeared since the base out of the index and out of the work tree.
    pub(super) async fn refuse_settings(&mut self) -> Result<(), BranchError> {
        let list = self.inside("list the agent's new files").arguments([
            "diff-index",
            "--cached",
            "--raw",
            "--no-renames",
            "--diff-filter=A",
            "-z",
            "--end-of-options",
            &self.base,
        ]);
        let found = appeared(self.git.run(list).await?.bytes());
        for some in found.chunks(PATHS_MAX) {
            let remove = self
                .inside("refuse an agent's new files")
                .settings([("core.sparseCheckout".to_owned(), "false".to_owned())])
                .arguments(["--literal-pathspecs", "rm", "--quiet", "-f", "--"])
                .arguments(some);
            self.git.run(remove).await?;
        }
        self.refused.extend(found);
        Ok(())
    }

    /// Returns what was refused since this was asked last.
    pub fn take_refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }
}

/// Picks what is refused from git's raw list: `:<mode> <mode> <id> <id> <status>` NUL `<path>` NUL.
fn appeared(raw: &[u8]) -> Vec<String> {
    let items = raw.split(|byte| *byte == 0).skip(1).step_by(2);
    items
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .filter(|path| is_agents_settings(path) || is_agent_audit(path))
        .collect()
}

/// Returns whether a path of a project is part of an agent's settings, at whatever depth.
pub(super) fn is_agents_settings(path: &str) -> bool {
    path.split('/').any(|name| {
        AGENTS_SETTINGS
            .iter()
            // File systems that fold case would fold a disguise, too.
            .any(|settings| name.eq_ignore_ascii_case(settings))
    })
}

/// Returns whether a path is where the agent audit is shown, or would take its place.
fn is_agent_audit(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let is_in = |folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    matches!(path.as_str(), ".loki" | ".loki/.gitignore" | ".loki/logs") || is_in(".loki/logs")
}

/// Files and folders in which agents look for their settings.
pub(crate) const AGENTS_SETTINGS: [&str; 8] = [
    ".agents",
    ".claude",
    ".codex",
    ".gemini",
    ".mcp.json",
    ".opencode",
    "opencode.json",
    "opencode.jsonc",
];

/// Most paths in one call: what a program can be given as arguments is bounded.
const PATHS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::{appeared, is_agent_audit, is_agents_settings};

    #[test]
    fn settings_are_known_at_every_depth_and_in_every_case() {
        for path in [
            ".claude/settings.json",
            ".Claude/settings.json",
            ".mcp.json",
            "deep/.codex/config.toml",
            ".gemini",
        ] {
            assert!(is_agents_settings(path), "{path}");
        }
        for path in [
            "claude/settings.json",
            "mcp.json",
            ".claudette/x",
            "a.claude",
        ] {
            assert!(!is_agents_settings(path), "{path}");
        }
    }

    #[test]
    fn what_would_stand_in_the_place_of_the_agent_audit_is_known() {
        for path in [
            ".loki",
            ".Loki",
            ".loki/logs",
            ".loki/logs/agent-audit.jsonl",
            ".LOKI/Logs/agent-audit.jsonl",
            ".loki/.gitignore",
        ] {
            assert!(is_agent_audit(path), "{path}");
        }
        for path in [
            ".loki/queue/pending.json",
            ".loki/logs-old",
            ".lokix",
            "docs/.loki/logs/a",
        ] {
            assert!(!is_agent_audit(path), "{path}");
        }
    }

    #[test]
    fn paths_are_told_from_facts() {
        let raw = b":000000 100644 0 1 A\0.claude/a\0:000000 100644 0 1 A\0src/a\0\
                    :000000 120000 0 1 A\0.mcp.json\0";
        assert_eq!(appeared(raw), [".claude/a", ".mcp.json"]);
        assert_eq!(appeared(b""), Vec::<String>::new());
    }
}
