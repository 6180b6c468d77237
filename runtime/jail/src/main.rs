//! The program `loki-jail`. All of it is in the library's [`jail::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    jail::command::run(std::env::args_os().skip(1))
}
