//! What a vendor's program is told of where to ask: its settings, in a folder that it can read only.
//!
//! Invariant: nothing that the agent can write takes part: the program is told to leave the user's and
//! the project's settings alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::private;
use serde_json::{Value, json};

/// Where a session's programs ask, under the names that they see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The program `loki-hook`.
    pub hook: PathBuf,
    /// The gate's folder.
    pub gate: PathBuf,
}

/// Returns the arguments by which `claude` asks.
#[must_use]
pub fn hook_arguments(place: &Place) -> Vec<OsString> {
    let file = |name: &str| place.gate.join(name).into_os_string();
    vec![
        "--setting-sources".into(),
        "".into(),
        "--settings".into(),
        file(SETTINGS),
        "--strict-mcp-config".into(),
        "--mcp-config".into(),
        file(SERVERS),
        "--permission-mode".into(),
        "default".into(),
        "--permission-prompt-tool".into(),
        "mcp__loki__approve".into(),
    ]
}

/// Returns the program and arguments by which a program that speaks by its streams is started.
#[must_use]
pub fn conversation(place: &Place, program_and_arguments: Vec<OsString>) -> Vec<OsString> {
    let mut all = vec![
        place.hook.clone().into_os_string(),
        "converse".into(),
        place.gate.clone().into_os_string(),
    ];
    let gate = place.gate.to_string_lossy();
    all.extend(
        program_and_arguments
            .into_iter()
            .map(|argument| match argument.to_str() {
                Some(text) if text.contains(GATE) => text.replace(GATE, &gate).into(),
                Some(_) | None => argument,
            }),
    );
    all
}

/// Writes what those arguments name into the gate's folder. The program's own timers run longer than
/// a person has for a decision.
pub(super) fn write(folder: &Path, place: &Place, within: Duration) -> io::Result<()> {
    let write = |name: &str, value: Value| {
        private::replace_file(&folder.join(name), value.to_string().as_bytes())
    };
    write(SETTINGS, settings(place, within))?;
    write(SERVERS, servers(place))?;
    private::replace_file(&folder.join(POLICY), ASK_FOR_ALL.as_bytes())?;
    write(SYSTEM, system())
}

/// Returns the variables that go with them.
pub(super) fn variables(place: &Place, within: Duration) -> BTreeMap<String, String> {
    let timeout = patience(within).as_millis().to_string();
    let system = place.gate.join(SYSTEM).to_string_lossy().into_owned();
    BTreeMap::from([
        ("MCP_TOOL_TIMEOUT".to_owned(), timeout),
        ("GEMINI_CLI_SYSTEM_SETTINGS_PATH".to_owned(), system),
    ])
}

/// What `gemini` takes for the system's settings, which are stronger than those of user and project.
fn system() -> Value {
    json!({
        "general": {
            "defaultApprovalMode": "default",
            "disableAutoUpdate": true,
            "enableAutoUpdate": false,
        },
        "privacy": { "usageStatisticsEnabled": false },
        "security": { "disableYoloMode": true },
        "telemetry": { "enabled": false },
        "tools": { "allowed": [], "autoAccept": false },
    })
}

fn settings(place: &Place, within: Duration) -> Value {
    let command = format!("{} tool-use {}", quoted(&place.hook), quoted(&place.gate));
    json!({
        "disableAllHooks": false,
        "hooks": {
            "PreToolUse": [{
                "hooks": [{
                    "type": "command",
                    "command": command,
                    "timeout": patience(within).as_secs(),
                    "onFailure": "block",
                }],
            }],
        },
        "permissions": {
            "defaultMode": "default",
            "disableBypassPermissionsMode": "disable",
        },
    })
}

fn servers(place: &Place) -> Value {
    json!({
        "mcpServers": {
            "loki": {
                "type": "stdio",
                "command": place.hook,
                "args": ["permission", place.gate],
            },
        },
    })
}

fn patience(within: Duration) -> Duration {
    within.saturating_add(MARGIN)
}

/// Returns a path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\'', "'\\''");
    format!("'{text}'")
}

const SETTINGS: &str = "settings.json";
const SERVERS: &str = "servers.json";
const SYSTEM: &str = "system.json";
const POLICY: &str = "policy.toml";

/// What stands for the gate's folder in a program's arguments.
const GATE: &str = "{gate}";

/// Rules of `gemini` that are stronger than those in the agent's home, which the agent can write. The
/// system's settings it believes only if they are root's.
const ASK_FOR_ALL: &str = "[[rule]]\ntoolName = \"*\"\ndecision = \"ask_user\"\npriority = 999\n";

/// How much longer the programs' timers run than a person has.
const MARGIN: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Place, conversation, quoted, settings};

    #[test]
    fn the_gate_s_folder_stands_where_a_program_s_arguments_name_it() {
        let place = Place {
            hook: "/opt/loki-hook".into(),
            gate: "/run/loki/gate".into(),
        };
        let program = ["gemini", "--admin-policy", "{gate}/policy.toml", "{port}"];
        let all = conversation(&place, program.map(Into::into).into());
        let expected = [
            "/opt/loki-hook",
            "converse",
            "/run/loki/gate",
            "gemini",
            "--admin-policy",
            "/run/loki/gate/policy.toml",
            "{port}",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_failed_handler_blocks_and_a_person_has_less_time_than_it() {
        let place = Place {
            hook: "/opt/it's/loki-hook".into(),
            gate: "/run/loki/gate".into(),
        };
        assert_eq!(quoted(&place.hook), r"'/opt/it'\''s/loki-hook'");
        let settings = settings(&place, Duration::from_secs(3_600));
        let handler = &settings["hooks"]["PreToolUse"][0];
        assert!(handler.get("matcher").is_none(), "it is for every tool");
        let handler = &handler["hooks"][0];
        assert_eq!(handler["onFailure"], "block");
        assert!(handler["timeout"].as_u64() > Some(3_600), "{handler}");
        assert_eq!(settings["disableAllHooks"], false);
    }
}
