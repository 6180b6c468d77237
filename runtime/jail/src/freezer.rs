//! The control group by which a whole tree is held still for a moment, however fast it starts others.
//!
//! While it is held nobody in it can start anybody, so that every process can be told to halt; when it is
//! let go each of them halts before it runs again. Without such a group the tree is chased instead.
//!
//! Invariant: a tree is let go as soon as it has been told, whatever went wrong in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};

/// A group that can be held still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freezer {
    switch: PathBuf,
    words: Words,
}

/// How a version of control groups is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Words {
    hold: &'static str,
    let_go: &'static str,
    /// The file that tells, and its line once all is still.
    held: (&'static str, &'static str),
}

/// A group that is held still; dropping it lets it go.
#[derive(Debug)]
pub(crate) struct Held<'freezer>(&'freezer Freezer);

impl Freezer {
    /// Returns the freezer of a group, if it has one.
    pub(crate) fn of(group: &Path) -> Option<Self> {
        [
            ("freezer.state", VERSION_ONE),
            ("cgroup.freeze", VERSION_TWO),
        ]
        .into_iter()
        .map(|(name, words)| Self {
            switch: group.join(name),
            words,
        })
        .find(|freezer| freezer.switch.exists())
    }

    /// Holds the group still; none if that does not come about in time.
    pub(crate) fn hold(&self) -> Option<Held<'_>> {
        let held = Held(self);
        fs::write(&self.switch, self.words.hold).ok()?;
        let give_up = Instant::now() + HELD_WITHIN;
        while Instant::now() < give_up {
            if self.is_held() {
                return Some(held);
            }
            pause().ok()?;
        }
        None
    }

    fn is_held(&self) -> bool {
        let (file, line) = self.words.held;
        let text = fs::read_to_string(self.switch.with_file_name(file)).unwrap_or_default();
        text.lines().any(|found| found == line)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Freezer { switch, words } = self.0;
        // What could not be held need not be let go, and there is nothing else to try.
        match fs::write(switch, words.let_go) {
            Ok(()) | Err(_) => (),
        }
    }
}

fn pause() -> io::Result<()> {
    let pause = Timespec::try_from(LOOK_AGAIN).map_err(io::Error::other)?;
    poll(&mut [], Some(&pause))?;
    Ok(())
}

const VERSION_ONE: Words = Words {
    hold: "FROZEN",
    let_go: "THAWED",
    held: ("freezer.state", "FROZEN"),
};

const VERSION_TWO: Words = Words {
    hold: "1",
    let_go: "0",
    held: ("cgroup.events", "frozen 1"),
};

const HELD_WITHIN: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Freezer;

    #[test]
    fn a_group_that_does_not_come_to_rest_is_let_go() {
        let group = tempfile::tempdir().unwrap();
        assert_eq!(Freezer::of(group.path()), None);
        let switch = group.path().join("cgroup.freeze");
        fs::write(&switch, "0").unwrap();
        fs::write(
            group.path().join("cgroup.events"),
            "populated 1\nfrozen 0\n",
        )
        .unwrap();
        let freezer = Freezer::of(group.path()).unwrap();
        assert!(freezer.hold().is_none());
        assert_eq!(fs::read_to_string(&switch).unwrap(), "0");
    }

    #[test]
    fn both_versions_are_spoken_to_in_their_words() {
        for (name, told, held, free) in [
            (
                "freezer.state",
                ("freezer.state", "FROZEN"),
                "FROZEN",
                "THAWED",
            ),
            ("cgroup.freeze", ("cgroup.events", "frozen 1"), "1", "0"),
        ] {
            let group = tempfile::tempdir().unwrap();
            fs::write(group.path().join(name), free).unwrap();
            fs::write(group.path().join(told.0), told.1).unwrap();
            let freezer = Freezer::of(group.path()).unwrap();
            let switch = || fs::read_to_string(group.path().join(name)).unwrap();
            let still = freezer.hold();
            assert!(still.is_some(), "{name}");
            assert_eq!(switch(), held);
            drop(still);
            assert_eq!(switch(), free);
        }
    }
}
