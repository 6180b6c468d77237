//! The way of a commit out of the agent's reach: a bundle made inside the clone, whose pack the
//! runtime's own repository takes in.
//!
//! Git's `fetch` would read a bundle as well, but before version 2.46 without checking its objects.
//! So the pack goes to `index-pack --strict`, which takes in all of it or nothing.
//!
//! Invariant: git that reads what the agent wrote can write neither the runtime's repository nor the
//! project, and git that writes the repository reads one file and checks every object in it.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::private;

use super::git::Call;
use super::{BranchError, Workspace};

impl Workspace {
    /// Brings the clone's branch, which is at `commit`, into the runtime's own repository.
    pub(super) async fn keep(&mut self, commit: &str) -> Result<(), BranchError> {
        // Git makes no empty bundle; and the base is there from the beginning.
        if commit != self.base {
            let pack = self.pack().await?;
            self.take_in(commit, pack).await?;
            self.empty_bundle_folder()?;
        }
        let set = Call::new("move the kept branch", &self.kept())
            .write(self.folder.repository())
            .arguments(["update-ref", "--end-of-options"])
            .arguments([self.reference().as_str(), commit]);
        self.git.run(set).await?;
        commit.clone_into(&mut self.tip);
        Ok(())
    }

    /// Packs what the branch has beyond the base, inside the clone. Returns the file of the pack.
    async fn pack(&self) -> Result<PathBuf, BranchError> {
        self.empty_bundle_folder()?;
        let folder = self.folder.bundle_folder();
        let (bundle, pack) = (folder.join("work.bundle"), self.folder.pack());
        let call = Call::new("pack the agent's commits", &self.in_clone())
            .write(self.folder.workspace())
            .write(&folder)
            .arguments(["bundle", "create", "--quiet"])
            .arguments([bundle.as_os_str()])
            .arguments([format!("{}..{}", self.base, self.reference())]);
        self.git.run(call).await?;
        copy_pack(&bundle, &pack).map_err(|source| BranchError::File {
            what: "take the pack out of",
            path: bundle,
            source,
        })?;
        Ok(pack)
    }

    async fn take_in(&self, commit: &str, pack: PathBuf) -> Result<(), BranchError> {
        let call = Call::new("take in the agent's objects", &self.kept())
            .write(self.folder.repository())
            .input(&pack)
            .arguments(["index-pack", "--stdin", "--fix-thin", "--strict"]);
        self.git.run(call).await?;
        let complete = Call::new("find all of the agent's objects", &self.kept())
            .arguments(["rev-list", "--objects", "--quiet", "--end-of-options"])
            .arguments([format!("{}..{commit}", self.base)]);
        self.git.run(complete).await?;
        fs::remove_file(&pack).map_err(|source| BranchError::File {
            what: "remove",
            path: pack,
            source,
        })
    }

    /// Makes the folder anew. The jail let git write it, in a clone that the agent had set up.
    fn empty_bundle_folder(&self) -> Result<(), BranchError> {
        let path = self.folder.bundle_folder();
        fs::remove_dir_all(&path)
            .and_then(|()| private::create_closed_directory(&path))
            .map_err(|source| BranchError::File {
                what: "empty",
                path,
                source,
            })
    }

    pub(super) fn unsound(&self, what: &'static str) -> BranchError {
        BranchError::Unsound {
            branch: self.branch.clone(),
            what,
        }
    }
}

/// Copies what follows a bundle's header: lines of text, ended by an empty one.
fn copy_pack(bundle: &Path, pack: &Path) -> io::Result<()> {
    // Opening a pipe would wait for ever, so the kind is asked for first.
    if !bundle.symlink_metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(private::NO_FOLLOW)
        .open(bundle)?;
    let mut bundle = BufReader::new(file);
    let mut header_bytes_left = HEADER_BYTES_MAX;
    loop {
        let mut line = Vec::new();
        let length = (&mut bundle)
            .take(header_bytes_left)
            .read_until(b'\n', &mut line)?;
        header_bytes_left -= u64::try_from(length).unwrap_or(header_bytes_left);
        match line.as_slice() {
            b"\n" => break,
            [.., b'\n'] => (),
            _ => return Err(io::Error::other("it is no bundle")),
        }
    }
    match fs::remove_file(pack) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => (),
    }
    io::copy(&mut bundle, &mut private::create_file(pack)?)?;
    Ok(())
}

/// More than a header with one reference and the parents of a merge needs.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;
