//! Code within arguments: texts of interpreters, and options whose value another program runs.
//!
//! Pure: no I/O, no clock.

use super::shell::Input;
use super::word::{HOLE, Word};

/// Code that a program is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// A text that a shell runs.
    Shell(String),
    /// A text of another language.
    Foreign(String),
    /// Something that is known only when it runs, and why.
    Unknown(&'static str),
}

/// Returns the code that a program is given.
pub(super) fn code(name: &str, arguments: &[Word], input: &Input) -> Vec<Code> {
    let mut found = of_options(name, arguments);
    if let Some((_, flags)) = INTERPRETERS
        .iter()
        .find(|(start, _)| is_version_of(start, name))
    {
        found.extend(interpreter(arguments, flags, input));
    }
    match name {
        "awk" | "gawk" | "mawk" | "nawk" => found.extend(awk(arguments)),
        "sed" => found.extend(sed(arguments)),
        "vi" | "vim" | "nvim" | "ex" | "view" | "ed" => found.extend(editor(arguments)),
        "make" if arguments.iter().any(|word| word.text.starts_with("--eval")) => {
            found.push(Code::Unknown("it runs rules that are given as text"));
        }
        _ => {}
    }
    found
}

/// Returns the texts between quotes in code of another language.
pub(super) fn quoted(code: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(['"', '\'', '`']) {
        let quote = rest[start..].chars().next().unwrap_or('"');
        let after = &rest[start + quote.len_utf8()..];
        let Some(end) = after.find(quote) else {
            break;
        };
        texts.push(after[..end].replace('\\', ""));
        rest = &after[end + quote.len_utf8()..];
        if texts.len() >= TEXTS_MAX {
            break;
        }
    }
    if texts.len() > 1 {
        // A list of words, as in `["rm", "-rf", "/"]`.
        texts.push(texts.join(" "));
    }
    texts
}

fn interpreter(arguments: &[Word], flags: &[&str], input: &Input) -> Vec<Code> {
    let mut found = Vec::new();
    let mut file = false;
    let mut skip = false;
    for (at, word) in arguments.iter().enumerate() {
        let text = word.text.as_str();
        if std::mem::take(&mut skip) {
            continue;
        }
        let cluster = text.starts_with('-') && !text.starts_with("--");
        let takes = flags.iter().any(|flag| match flag.strip_prefix('-') {
            Some(letter) if letter.len() == 1 && cluster => text.ends_with(letter),
            Some(_) | None => text == *flag || text.starts_with(&format!("{flag}=")),
        });
        if takes {
            let attached = text.split_once('=').map(|(_, code)| code);
            let next = arguments.get(at + 1).map(|word| word.text.as_str());
            let code = attached.or(next).unwrap_or("");
            found.push(Code::Foreign(code.to_owned()));
            return found;
        }
        if text == "-m" {
            return found;
        }
        if text == "-" {
            break;
        }
        if !text.starts_with('-') {
            file = true;
            if word.content.is_some() || !word.is_known() {
                found.push(Code::Unknown(FOREIGN_UNKNOWN));
            }
            break;
        }
        skip = matches!(text, "-W" | "-X" | "-r" | "--require");
    }
    let asks = arguments
        .iter()
        .any(|word| matches!(word.text.as_str(), "--version" | "-V" | "-v" | "--help"));
    if !file && !asks {
        match input {
            Input::Text(text) => found.push(Code::Foreign(text.clone())),
            Input::Unknown => found.push(Code::Unknown(FOREIGN_UNKNOWN)),
            Input::Inherited => {}
        }
    }
    found
}

fn awk(arguments: &[Word]) -> Vec<Code> {
    let runs = |text: &str| {
        text.contains("system(")
            || text.contains("getline")
            || text.contains("| \"")
            || text.contains("|\"")
    };
    arguments
        .iter()
        .filter(|word| runs(&word.text) || (word.text.contains(HOLE) && word.text.contains('{')))
        .map(|word| Code::Foreign(word.text.clone()))
        .collect()
}

fn sed(arguments: &[Word]) -> Vec<Code> {
    let runs = |text: &str| {
        let script = text.trim();
        let command =
            script.trim_start_matches(|sign: char| sign.is_ascii_digit() || "$,! ".contains(sign));
        let flag = script.starts_with('s') && {
            let mark = script.chars().nth(1).unwrap_or('/');
            let flags = script.rsplit(mark).next().unwrap_or("");
            script.matches(mark).count() >= 3 && flags.contains('e')
        };
        flag || command == "e" || command.starts_with("e ")
    };
    arguments
        .iter()
        .filter(|word| runs(&word.text))
        .map(|word| {
            let text = word
                .text
                .trim_start_matches(|sign: char| sign.is_ascii_digit() || "$,! e".contains(sign));
            Code::Shell(text.to_owned())
        })
        .flat_map(|code| [code, Code::Unknown("sed runs commands")])
        .collect()
}

fn editor(arguments: &[Word]) -> Vec<Code> {
    arguments
        .iter()
        .filter_map(|word| {
            let text = word.text.trim_start_matches(['+', ':', ' ', '%']);
            let text = text
                .strip_prefix('!')
                .or_else(|| text.strip_prefix("silent !"))?;
            Some(Code::Shell(text.to_owned()))
        })
        .collect()
}

fn of_options(name: &str, arguments: &[Word]) -> Vec<Code> {
    let mut found = Vec::new();
    for (program, option) in OPTIONS {
        if *program != name {
            continue;
        }
        for (at, word) in arguments.iter().enumerate() {
            let text = word.text.as_str();
            if text == *option {
                let next = arguments.get(at + 1).map_or("", |word| word.text.as_str());
                found.push(Code::Shell(next.to_owned()));
            } else if let Some(value) = text.strip_prefix(option)
                && (option.ends_with('=') || !option.starts_with("--"))
            {
                found.push(Code::Shell(value.to_owned()));
            } else if let Some(value) = text
                .strip_prefix(option)
                .and_then(|rest| rest.strip_prefix('='))
            {
                found.push(Code::Shell(value.to_owned()));
            }
        }
    }
    found
}

/// Returns whether a program is an interpreter of this name, as `python3.12` is `python`.
fn is_version_of(start: &str, name: &str) -> bool {
    name.strip_prefix(start).is_some_and(|rest| {
        rest.chars()
            .all(|sign| sign.is_ascii_digit() || sign == '.' || sign == '-')
    })
}

const FOREIGN_UNKNOWN: &str = "an interpreter runs what is known only when it runs";
const TEXTS_MAX: usize = 32;

/// Interpreters and their options that take code.
const INTERPRETERS: &[(&str, &[&str])] = &[
    ("python", &["-c"]),
    ("pypy", &["-c"]),
    ("perl", &["-e", "-E"]),
    ("ruby", &["-e"]),
    ("node", &["-e", "-p", "--eval", "--print"]),
    ("nodejs", &["-e", "-p", "--eval", "--print"]),
    ("bun", &["-e", "--eval"]),
    ("deno", &["eval"]),
    ("php", &["-r", "-B", "-R"]),
    ("lua", &["-e"]),
    ("luajit", &["-e"]),
    ("Rscript", &["-e"]),
    ("tclsh", &["-c"]),
    ("expect", &["-c"]),
    ("osascript", &["-e"]),
    ("gdb", &["-ex", "--eval-command"]),
    ("irb", &["-e"]),
    ("pwsh", &["-c", "-Command"]),
];

/// Options whose value is run by a shell.
const OPTIONS: &[(&str, &str)] = &[
    ("tar", "--checkpoint-action=exec="),
    ("tar", "--to-command"),
    ("tar", "--use-compress-program"),
    ("tar", "--info-script"),
    ("tar", "-I"),
    ("rsync", "-e"),
    ("rsync", "--rsh"),
    ("rsync", "--rsync-path"),
    ("ssh", "-oProxyCommand="),
    ("ssh", "ProxyCommand="),
    ("ssh", "LocalCommand="),
    ("scp", "-S"),
    ("npx", "-c"),
    ("npm", "--script-shell"),
    ("man", "-P"),
    ("man", "--pager"),
    ("sort", "--compress-program"),
    ("zip", "-TT"),
    ("tcpdump", "-z"),
    ("rg", "--pre"),
    ("less", "+!"),
    ("entr", "-s"),
];
