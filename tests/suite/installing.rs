//! A new installation: settings and key are written closed to others, nothing that exists is
//! changed, and every command has a manual page.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tests::command;
use tests::installation::Installation;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_changes_nothing_that_exists() {
    let installation = Installation::new();
    installation.write_settings("runtime.toml", "provider = \"mine\"\n");
    let output = installation.loki(&["init"]).output();
    let home = installation.home();
    assert!(output.contains(&format!("kept  {}", home.runtime_settings().display())));
    let kept = fs::read_to_string(home.runtime_settings()).unwrap();
    assert_eq!(kept, "provider = \"mine\"\n");
    let key = fs::read(home.statement_key()).unwrap();
    let again = installation.loki(&["init"]).output();
    assert!(!again.contains("wrote"), "{again}");
    assert_eq!(fs::read(home.statement_key()).unwrap(), key);
}

#[test]
fn init_writes_settings_and_key_that_are_accepted_and_closed_to_others() {
    let installation = Installation::new();
    let _written = installation.loki(&["init"]).ended_with(0);
    let home = installation.home();
    for file in [
        home.gateway_settings(),
        home.runtime_settings(),
        home.statement_key(),
    ] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    for folder in [
        home.directory().to_owned(),
        home.dashboard(),
        home.run(),
        home.runtime(),
        home.logs(),
    ] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    let _accepted = installation.loki(&["config", "check"]).ended_with(0);
}

#[test]
fn every_command_has_a_manual_page() {
    let installation = Installation::new();
    let folder = installation.root().join("man");
    let _written = installation
        .loki(&["manual", folder.to_str().unwrap()])
        .ended_with(0);
    for (page, said) in [
        ("loki.1", "Exit codes"),
        ("loki-start.1", "loki start"),
        ("loki-projects-register.1", "my\\-app"),
        ("loki-enterprise-token-generate.1", "scopes"),
    ] {
        let text = fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(said), "{page}:\n{text}");
    }
    assert!(!folder.join("loki-run-detached.1").exists());
}

#[test]
fn completions_complete_commands_in_a_real_shell() {
    let installation = Installation::new();
    // Completes the last of these words.
    let script = "source <(loki completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _loki loki \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                  echo \"${COMPREPLY[@]}\"";
    for (words, expected) in [
        (&["loki", "enter"][..], "enterprise"),
        (&["loki", "enterprise", "tok"], "token"),
        (&["loki", "no-such"], ""),
    ] {
        let mut shell = installation.foreign_command("bash");
        shell.args(["-c", script, "bash"]).args(words);
        let completed = command::run(&mut shell).output();
        assert_eq!(completed.trim(), expected, "{words:?}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = installation.loki(&["completions", shell]).output();
        assert!(script.contains("enterprise"), "{shell}");
    }
}
