//! What is taken over of an agent's files: everything but new settings of agents.
//!
//! What such settings say decides what the next agent asks for and runs, here and on every machine that
//! has the project. Where they exist they can only be read inside; a name cannot be guarded while there
//! is nothing, so what appears there is refused when the work is taken over.
//!
//! Invariant: no checkpoint holds an agent's settings that the project did not have.

use super::{BranchError, Workspace};

impl Workspace {
    /// Takes agents' settings that appeared since the base out of the index and out of the work tree.
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
                .inside("refuse an agent's new settings")
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

/// Picks agents' settings from git's raw list: `:<mode> <mode> <id> <id> <status>` NUL `<path>` NUL.
fn appeared(raw: &[u8]) -> Vec<String> {
    let items = raw.split(|byte| *byte == 0).skip(1).step_by(2);
    items
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .filter(|path| is_agents_settings(path))
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

/// Files and folders in which agents look for their settings.
pub(crate) const AGENTS_SETTINGS: [&str; 5] =
    [".agents", ".claude", ".codex", ".gemini", ".mcp.json"];

/// Most paths in one call: what a program can be given as arguments is bounded.
const PATHS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::{appeared, is_agents_settings};

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
    fn paths_are_told_from_facts() {
        let raw = b":000000 100644 0 1 A\0.claude/a\0:000000 100644 0 1 A\0src/a\0\
                    :000000 120000 0 1 A\0.mcp.json\0";
        assert_eq!(appeared(raw), [".claude/a", ".mcp.json"]);
        assert_eq!(appeared(b""), Vec::<String>::new());
    }
}
