//! Programs that run other programs: what is left when they are taken off.
//!
//! Pure: no I/O, no clock.

mod known;

use super::shell::Input;
use super::word::{HOLE, Word};

pub(super) use known::SHELLS;
use known::{GIT_RUNS, SSH_VALUES, WRAPPERS};

/// What a wrapper runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// A program, in another folder if one is named.
    Command {
        /// Program and arguments.
        words: Vec<Word>,
        /// Where.
        directory: Option<Word>,
    },
    /// A text that a shell runs.
    Script {
        /// The text.
        text: String,
        /// Its `$1`, `$2`, ….
        positional: Vec<Word>,
    },
    /// Something that is known only when it runs, and why.
    Unknown(String, &'static str),
}

/// Returns what a program runs, if it is a wrapper.
pub(super) fn inside(name: &str, arguments: &[Word], input: &Input) -> Vec<Inside> {
    if SHELLS.contains(&name) {
        return shell(name, arguments, input);
    }
    if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name == "ld.so" {
        return prefix(arguments, &["--library-path", "--preload", "--argv0"], 0);
    }
    match name {
        "find" => find(arguments),
        "fd" | "fdfind" => after(arguments, &["-x", "--exec", "-X", "--exec-batch"]),
        "xargs" => xargs(arguments, input),
        "parallel" => parallel(arguments, input),
        "watch" => script(prefix(arguments, &["-n", "--interval"], 0)),
        "ssh" => script(prefix(arguments, SSH_VALUES, 1)),
        "su" | "script" => by_option(arguments, &["-c", "--command"]),
        "runuser" => {
            let mut found = by_option(arguments, &["-c", "--command"]);
            found.extend(prefix(arguments, &["-u", "--user", "-g", "-G", "-s"], 0));
            found
        }
        "flock" => {
            let mut found = by_option(arguments, &["-c", "--command"]);
            found.extend(prefix(arguments, &["-w", "--timeout", "-E"], 1));
            found
        }
        "env" => env(arguments),
        "command"
            if arguments
                .iter()
                .any(|word| matches!(word.text.as_str(), "-v" | "-V")) =>
        {
            Vec::new()
        }
        "at" | "batch" | "crontab" => match input {
            Input::Text(text) => vec![Inside::Script {
                text: text.clone(),
                positional: Vec::new(),
            }],
            Input::Unknown => vec![Inside::Unknown(name.to_owned(), PIPED)],
            Input::Inherited => Vec::new(),
        },
        "git" => git(arguments),
        _ => WRAPPERS
            .iter()
            .find(|(wrapper, _, _)| *wrapper == name)
            .map(|(_, values, positionals)| prefix(arguments, values, *positionals))
            .unwrap_or_default(),
    }
}

/// Takes options and positional arguments off the front.
fn prefix(arguments: &[Word], values: &[&str], positionals: usize) -> Vec<Inside> {
    let mut left = positionals;
    let mut at = 0;
    let mut options_over = false;
    while let Some(word) = arguments.get(at) {
        let text = word.text.as_str();
        if !options_over && text == "--" {
            options_over = true;
        } else if !options_over && text.starts_with('-') && text.len() > 1 {
            at += usize::from(values.contains(&text));
        } else if text.starts_with(HOLE) && left == 0 {
            break;
        } else if is_assignment(text) && left == positionals && !options_over {
        } else if left > 0 {
            left -= 1;
            // Operands end the options of a wrapper.
            options_over = left == 0;
        } else {
            break;
        }
        at += 1;
    }
    command(arguments.get(at..).unwrap_or_default())
}

fn command(words: &[Word]) -> Vec<Inside> {
    if words.is_empty() {
        return Vec::new();
    }
    vec![Inside::Command {
        words: words.to_vec(),
        directory: None,
    }]
}

/// Turns a command into the text that a shell makes of its words.
fn script(found: Vec<Inside>) -> Vec<Inside> {
    found
        .into_iter()
        .map(|inside| match inside {
            Inside::Command { words, .. } => Inside::Script {
                text: joined(&words),
                positional: Vec::new(),
            },
            other @ (Inside::Script { .. } | Inside::Unknown(..)) => other,
        })
        .collect()
}

fn shell(name: &str, arguments: &[Word], input: &Input) -> Vec<Inside> {
    let mut wants_text = false;
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let text = word.text.as_str();
        if text == "--" {
            at += 1;
            break;
        }
        if !text.starts_with(['-', '+']) || text == "-" {
            break;
        }
        if matches!(text, "-o" | "+o" | "-O" | "+O" | "--rcfile" | "--init-file") {
            at += 1;
        } else if !text.starts_with("--") && text.contains('c') {
            wants_text = true;
        }
        at += 1;
    }
    let rest = arguments.get(at..).unwrap_or_default();
    match (wants_text, rest.split_first()) {
        (true, Some((text, arguments))) => vec![Inside::Script {
            text: text.text.clone(),
            positional: arguments.get(1..).unwrap_or_default().to_vec(),
        }],
        (
            false,
            Some((
                Word {
                    content: Some(text),
                    ..
                },
                positional,
            )),
        ) => vec![Inside::Script {
            text: text.clone(),
            positional: positional.to_vec(),
        }],
        (false, Some((file, _))) if !file.is_known() => {
            vec![Inside::Unknown(
                format!("{name} {}", file.text),
                "a shell runs a file that is known only when it runs",
            )]
        }
        (false, Some((file, _))) if file.text != "/dev/stdin" && file.text != "-" => Vec::new(),
        (true, None) | (false, _) => match input {
            Input::Text(text) => vec![Inside::Script {
                text: text.clone(),
                positional: Vec::new(),
            }],
            Input::Unknown => vec![Inside::Unknown(name.to_owned(), PIPED)],
            Input::Inherited => Vec::new(),
        },
    }
}

fn env(arguments: &[Word]) -> Vec<Inside> {
    let mut found = Vec::new();
    for (at, word) in arguments.iter().enumerate() {
        let text = word.text.as_str();
        let split = text
            .strip_prefix("--split-string=")
            .or_else(|| text.strip_prefix("-S").filter(|rest| !rest.is_empty()));
        if let Some(split) = split {
            found.push(text_of(split));
        } else if matches!(text, "-S" | "--split-string" | "-vS" | "-iS") {
            let rest = joined(arguments.get(at + 1..).unwrap_or_default());
            found.push(text_of(&rest));
        }
    }
    let directory = value(arguments, &["-C", "--chdir"]);
    for inside in prefix(
        arguments,
        &["-u", "--unset", "-C", "--chdir", "-S", "--split-string"],
        0,
    ) {
        found.push(match inside {
            Inside::Command { words, .. } => Inside::Command {
                words,
                directory: directory.clone(),
            },
            other @ (Inside::Script { .. } | Inside::Unknown(..)) => other,
        });
    }
    found
}

fn xargs(arguments: &[Word], input: &Input) -> Vec<Inside> {
    let values = &[
        "-I",
        "-i",
        "-n",
        "-P",
        "-L",
        "-l",
        "-d",
        "-E",
        "-e",
        "-s",
        "-a",
        "--max-args",
        "--max-procs",
        "--delimiter",
        "--arg-file",
        "--replace",
    ];
    let mark = value(arguments, &["-I", "--replace"]).or_else(|| {
        let attached = arguments
            .iter()
            .find_map(|word| word.text.strip_prefix("-I"));
        attached.map(Word::known)
    });
    let given: Vec<Word> = match input {
        Input::Text(text) => text.split_whitespace().map(Word::known).collect(),
        Input::Inherited | Input::Unknown => vec![Word::hole()],
    };
    let mut found = Vec::new();
    for inside in prefix(arguments, values, 0) {
        let Inside::Command { words, .. } = inside else {
            continue;
        };
        match &mark {
            Some(mark) => found.extend(given.iter().map(|value| Inside::Command {
                words: replaced(&words, &mark.text, &value.text),
                directory: None,
            })),
            None => found.push(Inside::Command {
                words: words.into_iter().chain(given.iter().cloned()).collect(),
                directory: None,
            }),
        }
    }
    found
}

fn parallel(arguments: &[Word], input: &Input) -> Vec<Inside> {
    let end = arguments
        .iter()
        .position(|word| word.text.starts_with(":::"))
        .unwrap_or(arguments.len());
    let given: Vec<Word> = match (arguments.get(end + 1..), input) {
        (Some(given), _) => given.to_vec(),
        (None, Input::Text(text)) => text.lines().map(Word::known).collect(),
        (None, Input::Inherited | Input::Unknown) => vec![Word::hole()],
    };
    let mut found = Vec::new();
    for inside in prefix(&arguments[..end], &["-j", "--jobs"], 0) {
        let Inside::Command { words, .. } = inside else {
            continue;
        };
        let text = joined(&words);
        found.extend(given.iter().map(|value| {
            text_of(&if text.contains("{}") {
                text.replace("{}", &value.text)
            } else {
                format!("{text} {}", value.text)
            })
        }));
        if given.is_empty() {
            found.push(text_of(&text));
        }
    }
    found
}

/// `find`: each command of `-exec` and its like, on each place where the search starts.
fn find(arguments: &[Word]) -> Vec<Inside> {
    let starts: Vec<Word> = arguments
        .iter()
        .take_while(|word| !word.text.starts_with(['-', '(', '!']))
        .cloned()
        .collect();
    let starts = if starts.is_empty() {
        vec![Word::known(".")]
    } else {
        starts
    };
    let mut found = Vec::new();
    let mut rest = arguments;
    while let Some(at) = rest
        .iter()
        .position(|word| matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir"))
    {
        let words = &rest[at + 1..];
        let end = words
            .iter()
            .position(|word| matches!(word.text.as_str(), ";" | "+"))
            .unwrap_or(words.len());
        for start in starts.iter().take(STARTS_MAX) {
            found.push(Inside::Command {
                words: replaced(&words[..end], "{}", &start.text),
                directory: None,
            });
        }
        rest = &words[end..];
    }
    found
}

/// `git`: aliases, hooks of its commands, and settings that it runs.
fn git(arguments: &[Word]) -> Vec<Inside> {
    let mut found = Vec::new();
    for (at, word) in arguments.iter().enumerate() {
        let next = |offset: usize| {
            arguments
                .get(at + offset)
                .map_or("", |word| word.text.as_str())
        };
        match word.text.as_str() {
            "-c" => {
                if let Some((key, value)) = next(1).split_once('=') {
                    found.extend(setting(key, value));
                }
            }
            "config" => {
                let operands: Vec<&Word> = arguments[at + 1..]
                    .iter()
                    .filter(|word| !word.text.starts_with("--"))
                    .collect();
                if let [key, value, ..] = operands.as_slice() {
                    found.extend(setting(&key.text, &value.text));
                }
            }
            "--exec" | "-x" | "--tree-filter" | "--index-filter" | "--msg-filter" => {
                found.push(text_of(next(1)));
            }
            "foreach" => found.push(text_of(&joined(&arguments[at + 1..]))),
            "run" if at > 0 && arguments[at - 1].text == "bisect" => {
                found.extend(command(&arguments[at + 1..]));
            }
            text => {
                if let Some(text) = text.strip_prefix("--exec=") {
                    found.push(text_of(text));
                }
            }
        }
    }
    found
}

fn setting(key: &str, value: &str) -> Option<Inside> {
    let key = key.to_ascii_lowercase();
    let is_alias = key.starts_with("alias.") || key.starts_with("credential.");
    let runs = GIT_RUNS.contains(&key.as_str())
        || (key.starts_with("filter.") && (key.ends_with(".clean") || key.ends_with(".smudge")));
    let text = if is_alias {
        value.strip_prefix('!')
    } else {
        runs.then_some(value)
    };
    text.map(text_of)
}

fn by_option(arguments: &[Word], options: &[&str]) -> Vec<Inside> {
    let attached = arguments
        .iter()
        .find_map(|word| word.text.strip_prefix("--command="));
    let separate = value(arguments, options);
    attached
        .map(str::to_owned)
        .or_else(|| separate.map(|word| word.text))
        .or_else(|| {
            // `script -qc TEXT`
            let at = arguments.iter().position(|word| {
                word.text.starts_with('-')
                    && !word.text.starts_with("--")
                    && word.text.ends_with('c')
            })?;
            arguments.get(at + 1).map(|word| word.text.clone())
        })
        .map(|text| text_of(&text))
        .into_iter()
        .collect()
}

fn after(arguments: &[Word], options: &[&str]) -> Vec<Inside> {
    arguments
        .iter()
        .position(|word| options.contains(&word.text.as_str()))
        .map(|at| command(&replaced(&arguments[at + 1..], "{}", &HOLE.to_string())))
        .unwrap_or_default()
}

fn value(arguments: &[Word], options: &[&str]) -> Option<Word> {
    let at = arguments
        .iter()
        .position(|word| options.contains(&word.text.as_str()))?;
    arguments.get(at + 1).cloned()
}

fn replaced(words: &[Word], mark: &str, value: &str) -> Vec<Word> {
    words
        .iter()
        .map(|word| Word {
            text: if mark.is_empty() {
                word.text.clone()
            } else {
                word.text.replace(mark, value)
            },
            ..word.clone()
        })
        .collect()
}

fn text_of(text: &str) -> Inside {
    Inside::Script {
        text: text.to_owned(),
        positional: Vec::new(),
    }
}

fn joined(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}

fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_')
            && name
                .chars()
                .all(|sign| sign.is_ascii_alphanumeric() || sign == '_')
    })
}

const PIPED: &str = "a shell runs what is piped into it";
const STARTS_MAX: usize = 8;
