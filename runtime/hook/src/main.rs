//! The program `loki-hook`. All of it is in the library's [`hook::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hook::command::run(std::env::args_os().skip(1))
}
