//! Notices that files changed, and waits until they have settled.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another; none if it is not there.
type Identity = Option<(u64, i64, i64, u64)>;

/// What was seen of the files.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    seen: Vec<Identity>,
    /// A change that may not be whole yet.
    settling: Option<Vec<Identity>>,
}

impl Looks {
    /// Begins with the files as they are.
    pub(super) fn begin(files: &[PathBuf]) -> Self {
        Self {
            seen: identities(files),
            settling: None,
        }
    }

    /// Returns whether the files changed and then stayed as they are for one look.
    pub(super) fn have_changed(&mut self, files: &[PathBuf]) -> bool {
        let now = identities(files);
        if now == self.seen {
            self.settling = None;
            return false;
        }
        if self.settling.as_ref() == Some(&now) {
            return true;
        }
        self.settling = Some(now);
        false
    }
}

fn identities(files: &[PathBuf]) -> Vec<Identity> {
    files.iter().map(|path| identity(path)).collect()
}

fn identity(path: &Path) -> Identity {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Looks;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let folder = tempfile::tempdir().expect("folder");
        let files = [folder.path().join("one"), folder.path().join("absent")];
        fs::write(&files[0], "1").expect("write");
        let mut looks = Looks::begin(&files);
        assert!(!looks.have_changed(&files));
        fs::write(&files[0], "12").expect("write");
        assert!(!looks.have_changed(&files), "it may not be whole yet");
        fs::write(&files[0], "123").expect("write");
        assert!(!looks.have_changed(&files), "it changed again");
        assert!(looks.have_changed(&files));
        looks = Looks::begin(&files);
        assert!(!looks.have_changed(&files));
        fs::remove_file(&files[0]).expect("remove");
        assert!(!looks.have_changed(&files));
        assert!(looks.have_changed(&files));
    }
}
