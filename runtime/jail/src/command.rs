//! The command line of `loki-jail`.
//!
//! Invariant: where the program could not be run, the exit code is 125, 126 or 127 and one line on
//! standard error says what could not be done, why, and how to fix it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::Pid;

use crate::bait;
use crate::enter::{self, EnterError, Program};
use crate::keeper;
use crate::probe::{self, TrialError};
use crate::scorecard;
use crate::supervisor::{self, SuperviseError};

/// Runs `loki-jail` with its arguments, the program's own name left out.
///
/// Leaves stdout alone but for `probe` and `--help`. May replace this process by another program.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let done = Action::parse(arguments.collect())
        .map_err(CommandError::from)
        .and_then(Action::run);
    match done {
        Ok(code) => code,
        Err(error) => {
            // If nobody listens to standard error, the exit code still tells.
            match writeln!(io::stderr(), "loki-jail: {error}") {
                Ok(()) | Err(_) => ExitCode::from(error.code()),
            }
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Supervise {
        policy: PathBuf,
        program: Program,
    },
    Enter {
        policy: PathBuf,
        supervisor: Option<Pid>,
        program: Program,
    },
    Probe,
    Keep(Option<Program>),
    Escapes,
    Bait(PathBuf),
    Help,
}

/// Says what is wrong with the arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum UsageError {
    #[error("cannot tell what to do: {0}; fix: see `loki-jail --help`")]
    Wrong(String),
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error(transparent)]
    Probe(#[from] TrialError),
    #[error(
        "cannot try the escapes: {0}; fix: run it where bash, perl and a folder for temporary files are"
    )]
    Escapes(io::Error),
    #[error("cannot write to standard output: {0}; fix: keep it open")]
    Output(#[from] io::Error),
}

impl Action {
    fn parse(arguments: Vec<OsString>) -> Result<Self, UsageError> {
        let wrong = |what: String| Err(UsageError::Wrong(what));
        let mut arguments = arguments.into_iter();
        let Some(verb) = arguments.next() else {
            return wrong("no command is given".to_owned());
        };
        match verb.to_str() {
            Some("supervise") => {
                let Options {
                    policy,
                    supervisor: None,
                    program,
                } = Options::parse(arguments)?
                else {
                    return wrong("`supervise` takes no --supervisor".to_owned());
                };
                Ok(Self::Supervise { policy, program })
            }
            Some("enter") => {
                let Options {
                    policy,
                    supervisor,
                    program,
                } = Options::parse(arguments)?;
                Ok(Self::Enter {
                    policy,
                    supervisor,
                    program,
                })
            }
            Some("probe") if arguments.len() == 0 => Ok(Self::Probe),
            Some("keep") => kept(arguments).map(Self::Keep),
            Some("escapes") if arguments.len() == 0 => Ok(Self::Escapes),
            Some("bait") if arguments.len() == 1 => Ok(Self::Bait(
                arguments.next().map(PathBuf::from).unwrap_or_default(),
            )),
            Some("help" | "--help" | "-h") if arguments.len() == 0 => Ok(Self::Help),
            Some(_) | None => wrong(format!(
                "{} is no command, or takes no argument",
                verb.display()
            )),
        }
    }

    fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Supervise { policy, program } => {
                let exit = supervisor::supervise(&policy, &program)?;
                Ok(ExitCode::from(exit.shell_code()))
            }
            Self::Enter {
                policy,
                supervisor,
                program,
            } => enter::enter(&policy, supervisor, &program).map_err(CommandError::from),
            Self::Probe => {
                let line = serde_json::to_string(&probe::try_out()?).map_err(io::Error::from)?;
                writeln!(io::stdout(), "{line}")?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Keep(program) => match keeper::keep(program.as_ref()) {
                Ok(code) => Ok(code),
                Err(error) => {
                    keeper::complain(&error);
                    Ok(ExitCode::from(CANNOT))
                }
            },
            Self::Escapes => {
                let kept = scorecard::run(&mut io::stdout()).map_err(CommandError::Escapes)?;
                Ok(if kept {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
            Self::Bait(socket) => {
                bait::serve(&socket).map_err(CommandError::Escapes)?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Help => {
                io::stdout().write_all(HELP.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// What stands behind `supervise` and `enter`.
struct Options {
    policy: PathBuf,
    supervisor: Option<Pid>,
    program: Program,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let (mut policy, mut supervisor) = (None, None);
        let missing = |what: &str| UsageError::Wrong(format!("{what} is missing"));
        loop {
            let name = arguments.next().ok_or_else(|| missing("`-- PROGRAM`"))?;
            let mut value = |what| arguments.next().ok_or_else(|| missing(what));
            match name.to_str() {
                Some("--") => break,
                Some("--policy") if policy.is_none() => {
                    policy = Some(value("the file of --policy")?);
                }
                Some("--supervisor") if supervisor.is_none() => {
                    supervisor = Some(process_id(&value("the process id of --supervisor")?)?);
                }
                Some(_) | None => {
                    return Err(UsageError::Wrong(format!(
                        "{} is no option, or is given twice",
                        name.display()
                    )));
                }
            }
        }
        Ok(Self {
            policy: policy
                .map(PathBuf::from)
                .ok_or_else(|| missing("--policy"))?,
            supervisor,
            program: Program {
                name: arguments.next().ok_or_else(|| missing("the program"))?,
                arguments: arguments.collect(),
            },
        })
    }
}

/// Reads what stands behind `keep`: nothing, or the program.
fn kept(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Program>, UsageError> {
    let missing = || UsageError::Wrong("`-- PROGRAM` is missing".to_owned());
    match arguments.next() {
        None => Ok(None),
        Some(dashes) if dashes == "--" => Ok(Some(Program {
            name: arguments.next().ok_or_else(missing)?,
            arguments: arguments.collect(),
        })),
        Some(_) => Err(missing()),
    }
}

fn process_id(digits: &OsString) -> Result<Pid, UsageError> {
    let number = digits
        .to_str()
        .and_then(|digits| digits.parse().ok())
        .filter(|number| *number > 0);
    number
        .and_then(Pid::from_raw)
        .ok_or_else(|| UsageError::Wrong(format!("{} is no process id", digits.display())))
}

impl CommandError {
    fn code(&self) -> u8 {
        match self {
            Self::Enter(EnterError::NotFound { .. }) => NOT_FOUND,
            Self::Enter(EnterError::NotExecutable { .. }) => NOT_EXECUTABLE,
            Self::Enter(
                EnterError::Policy(_)
                | EnterError::File { .. }
                | EnterError::Step { .. }
                | EnterError::Orphaned
                | EnterError::Detours(_)
                | EnterError::Landlock(_)
                | EnterError::Room(_),
            )
            | Self::Usage(_)
            | Self::Supervise(_)
            | Self::Probe(_)
            | Self::Escapes(_)
            | Self::Output(_) => CANNOT,
        }
    }
}

/// The exit code if `loki-jail` itself failed, so that the program did not run or was not ended.
pub const CANNOT: u8 = 125;

/// The exit code if the program cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;

/// The exit code if there is no such program.
pub const NOT_FOUND: u8 = 127;

const HELP: &str = "\
Narrows itself, then executes the agent.

Usage:
  loki-jail supervise --policy FILE -- PROGRAM [ARGUMENT...]
      Runs PROGRAM narrowed to the policy, and ends its whole process tree with it. Standard input is
      the lifeline: lines `stop MILLISECONDS`, `kill`, `freeze`, `thaw`; its end kills the tree.
  loki-jail enter --policy FILE -- PROGRAM [ARGUMENT...]
      Narrows itself to the policy and becomes PROGRAM, without anybody to end its tree.
  loki-jail keep [-- PROGRAM [ARGUMENT...]]
      Keeps a long-lived sandbox from within: runs PROGRAM, and opens shells for the runtime, which
      speaks over standard input.
  loki-jail probe
      Prints as one line of JSON what this host can enforce.
  loki-jail escapes
      Tries to get out of the sandbox in every way that is known here, each beside it as well, and
      prints one line of JSON per way. Ends with 1 if one of them got out.

Examples:
  loki-jail probe
  sleep 60 | loki-jail supervise --policy /run/loki/policy.json -- /bin/sh -c 'echo from inside'

Exit codes:
  PROGRAM's own, or 128 and the signal that killed it;
  125 loki-jail failed and says why, 126 PROGRAM cannot be executed, 127 PROGRAM cannot be found.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<Action, &str>) {
        let words = line.split_ascii_whitespace().map(OsString::from).collect();
        assert_eq!(
            Action::parse(words),
            expected.map_err(|what| UsageError::Wrong(what.to_owned()))
        );
    }

    #[test]
    fn arguments_that_say_too_little_or_too_much_are_refused() {
        check("", Err("no command is given"));
        check("run", Err("run is no command, or takes no argument"));
        check(
            "probe now",
            Err("probe is no command, or takes no argument"),
        );
        check("enter", Err("`-- PROGRAM` is missing"));
        check("enter --policy", Err("the file of --policy is missing"));
        check(
            "enter --policy a sh",
            Err("sh is no option, or is given twice"),
        );
        check(
            "enter --policy a --policy b -- sh",
            Err("--policy is no option, or is given twice"),
        );
        check("enter --policy a --", Err("the program is missing"));
        check("enter -- sh", Err("--policy is missing"));
        check("keep sh", Err("`-- PROGRAM` is missing"));
        check("keep --", Err("`-- PROGRAM` is missing"));
        check(
            "enter --policy a --supervisor 0 -- sh",
            Err("0 is no process id"),
        );
        check(
            "enter --policy a --supervisor -1 -- sh",
            Err("-1 is no process id"),
        );
        check(
            "supervise --policy a --supervisor 7 -- sh",
            Err("`supervise` takes no --supervisor"),
        );
    }

    #[test]
    fn everything_after_the_dashes_belongs_to_the_program() {
        let program = Program {
            name: "sh".into(),
            arguments: vec!["-c".into(), "--".into(), "--policy".into()],
        };
        let policy = PathBuf::from("a");
        let supervise = Action::Supervise {
            policy: policy.clone(),
            program: program.clone(),
        };
        check("supervise --policy a -- sh -c -- --policy", Ok(supervise));
        let enter = Action::Enter {
            policy,
            supervisor: Pid::from_raw(7),
            program,
        };
        check(
            "enter --supervisor 7 --policy a -- sh -c -- --policy",
            Ok(enter),
        );
        check("probe", Ok(Action::Probe));
        check("keep", Ok(Action::Keep(None)));
        check("--help", Ok(Action::Help));
    }
}
