//! All commands on one page of Markdown, from the description that parses them.

use clap::{Arg, Command};

const BEGINNING: &str = "\
# Commands

Every command, as `loki COMMAND --help` tells it; written by `loki manual --markdown`, and compared with it by a
test. Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 not reachable, 64 bad settings.
";

/// Returns the page.
pub(super) fn markdown(mut root: Command) -> String {
    // Names of whole paths, and the flags that every command has.
    root.build();
    let mut lines = vec![BEGINNING.to_owned()];
    describe(&root, "", &mut lines);
    lines.join("\n") + "\n"
}

/// Adds a command that does something, then those below it.
fn describe(command: &Command, above: &str, lines: &mut Vec<String>) {
    let name = format!("{above}{}", command.get_name());
    let mut below = command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
        .peekable();
    if below.peek().is_none() {
        lines.extend(one(command, &name));
    }
    for inner in below {
        describe(inner, &format!("{name} "), lines);
    }
}

fn one(command: &Command, name: &str) -> Vec<String> {
    let mut lines = vec![format!("## `{name}`\n")];
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let about = about.to_string();
        lines.push(format!("{}.\n", about.trim_end_matches('.')));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    lines.push(format!("```text\n{usage}\n```\n"));
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .collect();
    if arguments.is_empty() {
        return lines;
    }
    lines.push("| argument | meaning |\n|---|---|".to_owned());
    for argument in arguments {
        let help = argument.get_help().map(ToString::to_string);
        let row = format!(
            "| `{argument}` | {}{} |",
            help.unwrap_or_default().replace('|', "\\|"),
            choices(argument)
        );
        lines.push(row);
    }
    lines.push(String::new());
    lines
}

/// Returns what a value may be and what it is by default, as far as that is fixed.
fn choices(argument: &Arg) -> String {
    let mut said = String::new();
    if !argument.get_action().takes_values() {
        return said;
    }
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !choices.is_empty() && !argument.is_hide_possible_values_set() {
        said.push_str(": ");
        said.push_str(&choices.join(", "));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        said.push_str("; default ");
        said.push_str(&defaults.join(", "));
    }
    said
}
