//! Processes by id: signals, ends, and what is left of a deployment.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::poll;

/// Sends a signal; a process that is gone already is no error.
///
/// # Panics
/// When the system refuses.
pub fn signal(id: u32, signal: Signal) {
    match kill_process(pid(id), signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("cannot signal process {id}: {error}"),
    }
}

/// Returns whether a process runs; one that only waits to be collected does not.
#[must_use]
pub fn is_alive(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        !state.starts_with(['Z', 'X'])
    })
}

/// Lets a process write files, or has every write of it fail as on a full disk.
///
/// # Panics
/// When the system refuses.
pub fn let_write(id: u32, may: bool) {
    let current = if may { None } else { Some(0) };
    let limit = Rlimit {
        current,
        maximum: None,
    };
    prlimit(Some(pid(id)), Resource::Fsize, limit).expect("the limit can be set");
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident bytes.
    pub resident: u64,
    /// The most resident bytes since they were last forgotten.
    pub resident_max: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Processor time, in all.
    pub processor: Duration,
}

/// Returns what a process uses.
///
/// # Panics
/// When it is gone.
#[must_use]
pub fn usage(id: u32) -> Usage {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        let kibibytes: u64 = number.and_then(|text| text.parse().ok()).expect("a size");
        kibibytes * 1024
    };
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs");
    Usage {
        resident: bytes("VmRSS:"),
        resident_max: bytes("VmHWM:"),
        descriptors: descriptors.count() as u64,
        processor: processor_time(Path::new(&format!("/proc/{id}/stat"))),
    }
}

/// Forgets the most resident bytes of a process.
///
/// # Panics
/// When the system refuses.
pub fn forget_resident_max(id: u32) {
    fs::write(format!("/proc/{id}/clear_refs"), "5").expect("it can be forgotten");
}

/// Returns the processor time of the calling thread.
///
/// # Panics
/// When the system does not tell.
#[must_use]
pub fn thread_time() -> Duration {
    processor_time(Path::new("/proc/thread-self/stat"))
}

fn processor_time(stat: &Path) -> Duration {
    /// The unit of these figures on every Linux that people run.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(stat).expect("it runs");
    // The name stands in parentheses and may hold anything; user and system time follow as 12th
    // and 13th.
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let ticks = rest.split_whitespace().skip(11).take(2);
    TICK * ticks
        .map(|text| text.parse::<u32>().expect("a number"))
        .sum::<u32>()
}

/// Waits until a process is gone.
///
/// # Panics
/// When it stays.
pub fn wait_until_gone(id: u32) {
    poll::until(&format!("process {id} ends"), || {
        (!is_alive(id)).then_some(())
    });
}

/// Returns the processes in whose environment stands this `NAME=value`.
///
/// # Panics
/// When `/proc` is not there.
#[must_use]
pub fn with_variable(marker: &str) -> Vec<u32> {
    let is_marked = |id: &u32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == marker.as_bytes())
    };
    fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_marked)
        .collect()
}

/// Returns the processes that work in `directory` or speak of it, besides this one, each with its
/// command line.
#[must_use]
pub fn around(directory: &Path) -> Vec<(u32, String)> {
    let needle = directory.as_os_str().as_encoded_bytes();
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if id == own || !is_alive(id) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let works_there = fs::read_link(entry.path().join("cwd"))
            .is_ok_and(|folder| folder.starts_with(directory));
        if works_there || contains(&command, needle) || contains(&environment, needle) {
            found.push((id, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("process ids are small")).expect("not 0")
}
