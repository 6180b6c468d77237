//! The logs of detached processes: `~/.loki/logs/{gateway,runtime}.log`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use ::config::home::Home;
use ::config::private;

use super::program::Program;
use crate::failure::Failure;

/// Most bytes of a log that are shown.
const SHOWN_BYTES_MAX: u64 = 16 * 1024;

/// Most lines of a log that are shown.
const SHOWN_LINES_MAX: usize = 40;

/// Returns a program's log.
pub(super) fn path(program: Program, home: &Home) -> PathBuf {
    home.logs().join(format!("{}.log", program.name()))
}

/// Opens a program's log for its two outputs.
pub(super) fn open(program: Program, home: &Home) -> Result<(File, File), Failure> {
    let path = path(program, home);
    private::create_closed_directory(&home.logs())
        .map_err(|error| Failure::io("make", &home.logs(), &error))?;
    let opened = private::append_file(&path).and_then(|file| Ok((file.try_clone()?, file)));
    opened.map_err(|error| Failure::io("open", &path, &error))
}

/// Returns a log's present length in bytes.
pub(super) fn length(program: Program, home: &Home) -> u64 {
    path(program, home)
        .metadata()
        .map_or(0, |metadata| metadata.len())
}

/// Returns the last lines that were written after a log had `begin` bytes.
pub(super) fn last_lines(program: Program, home: &Home, begin: u64) -> String {
    let path = path(program, home);
    let end = length(program, home);
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(
            begin.max(end.saturating_sub(SHOWN_BYTES_MAX)),
        ))?;
        let mut bytes = Vec::new();
        file.take(SHOWN_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", path.display()),
    }
}
