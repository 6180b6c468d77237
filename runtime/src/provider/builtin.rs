//! The providers that need no settings: data about the vendors' programs.

use config::runtime::{Asks, Dialect};

/// What is known of a vendor's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    /// Program and arguments of an unattended run; the prompt comes on standard input. The jail, not
    /// the program's own prompts, is what holds it.
    pub(super) command: &'static [&'static str],
    /// Program and arguments of a run in which it asks, if these are others.
    pub(super) asking: Option<&'static [&'static str]>,
    /// Further arguments where it does not ask before it acts.
    pub(super) unasked: &'static [&'static str],
    /// How it asks before it acts, and the oldest version that blocks what it cannot ask for.
    pub(super) asks: Option<(Asks, [u32; 3])>,
    /// The runtime's variables that it gets.
    pub(super) environment: &'static [&'static str],
    /// Variables that it always gets.
    pub(super) fixed: &'static [(&'static str, &'static str)],
    pub(super) dialect: Dialect,
    pub(super) model_arguments: &'static [&'static str],
    /// The oldest version whose events are understood.
    pub(super) oldest: [u32; 3],
    /// How to get it.
    pub(super) fix: &'static str,
}

pub(super) static BUILT_IN: [BuiltIn; 4] = [
    BuiltIn {
        name: "claude",
        command: &[
            "claude",
            "--print",
            "--output-format",
            "stream-json",
            "--verbose",
        ],
        asking: None,
        unasked: &["--dangerously-skip-permissions"],
        asks: Some((Asks::Hook, [2, 1, 295])),
        environment: &[
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
            "CLAUDE_CODE_OAUTH_TOKEN",
        ],
        fixed: &[
            ("DISABLE_AUTOUPDATER", "1"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            // The program refuses to run unattended as root unless it is told that it is confined.
            ("IS_SANDBOX", "1"),
        ],
        dialect: Dialect::Claude,
        model_arguments: &["--model", "{model}"],
        oldest: [1, 0, 0],
        fix: "install it where agents can read it: npm install -g @anthropic-ai/claude-code",
    },
    BuiltIn {
        name: "codex",
        command: &[
            "codex",
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "-",
        ],
        asking: Some(&["codex", "app-server"]),
        unasked: &[],
        asks: Some((Asks::AppServer, [0, 100, 0])),
        environment: &["OPENAI_API_KEY", "CODEX_API_KEY", "OPENAI_BASE_URL"],
        fixed: &[],
        dialect: Dialect::Codex,
        model_arguments: &["--model", "{model}"],
        oldest: [0, 40, 0],
        fix: "install it where agents can read it: npm install -g @openai/codex",
    },
    BuiltIn {
        name: "gemini",
        // What its home says of what it may do counts less than what it is told here.
        command: &[
            "gemini",
            "--experimental-acp",
            "--approval-mode",
            "default",
            "--admin-policy",
            "{gate}/policy.toml",
        ],
        asking: None,
        unasked: &[],
        asks: Some((Asks::Acp, [0, 61, 0])),
        environment: &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"],
        // The jail gives it no terminals of its own.
        fixed: &[("GEMINI_PTY_INFO", "child_process")],
        dialect: Dialect::Text,
        model_arguments: &["--model", "{model}"],
        oldest: [0, 61, 0],
        fix: "install it where agents can read it: npm install -g @google/gemini-cli",
    },
    BuiltIn {
        name: "opencode",
        // It speaks with a service of its own by TCP.
        command: &["opencode", "acp", "--port", "{port}"],
        asking: None,
        unasked: &[],
        asks: Some((Asks::Acp, [1, 0, 0])),
        environment: &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENCODE_API_KEY"],
        fixed: &[
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            // Neither plugins nor the project's settings: they could answer in a person's place.
            ("OPENCODE_PURE", "1"),
            ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
            ("OPENCODE_CONFIG_CONTENT", OPENCODE),
        ],
        dialect: Dialect::Text,
        model_arguments: &[],
        oldest: [1, 0, 0],
        fix: "install it where agents can read it: npm install -g opencode-ai",
    },
];

/// What `opencode` is told last, so that it is stronger than the settings in the agent's home, which the
/// agent can write. By its own word it asks for nothing. Agents of its own have their own permissions, so
/// there is one that works, and it starts no others.
const OPENCODE: &str = r#"{
    "default_agent": "build",
    "permission": {"*": "ask", "bash": "ask", "edit": "ask", "webfetch": "ask", "task": "deny"},
    "agent": {
        "build": {
            "permission": {"*": "ask", "bash": "ask", "edit": "ask", "webfetch": "ask", "task": "deny"}
        }
    }
}"#;
