//! A disk in a file: what was not written back is not in the file, so a copy of it is the disk after
//! the machine has died.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How often a free device is looked for.
const ATTEMPTS_MAX: u32 = 20;

/// A file system in a file.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    place: PathBuf,
}

impl Image {
    /// Makes one of 32 MiB in `root`; after an error of its own it can be read alone.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn make(root: &Path) -> Self {
        let file = root.join("disk.img");
        fs::File::create(&file)
            .and_then(|file| file.set_len(32 << 20))
            .expect("an empty file");
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-e", "remount-ro"])
            .arg(&file)
            .status();
        assert!(made.expect("mkfs.ext4").success(), "mkfs.ext4");
        Self {
            file,
            place: root.to_owned(),
        }
    }

    /// Mounts it until what is returned is dropped.
    ///
    /// # Errors
    /// What the system says if this machine does not allow it.
    ///
    /// # Panics
    /// When there is no folder to mount it on.
    pub fn mount(&self, on: &Path) -> Result<Mounted, String> {
        fs::create_dir_all(on).expect("a folder");
        let mut attempts = 0;
        loop {
            let output = Command::new("mount")
                .args(["-o", "loop"])
                .arg(&self.file)
                .arg(on)
                .output()
                .expect("mount");
            if output.status.success() {
                return Ok(Mounted(on.to_owned()));
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            attempts += 1;
            // Somebody else may have taken the free device in between.
            if attempts == ATTEMPTS_MAX || !said.contains("loop device") {
                return Err(said);
            }
        }
    }

    /// Returns a copy of it as it is now.
    ///
    /// # Panics
    /// When there is no room.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = self.place.join("copy.img");
        let _bytes = fs::copy(&self.file, &copy).expect("a copy");
        Self {
            file: copy,
            place: self.place.clone(),
        }
    }

    /// Repairs it, as an operator would before mounting it again.
    ///
    /// # Panics
    /// When it cannot be repaired.
    pub fn repair(&self) {
        let output = Command::new("e2fsck").arg("-fy").arg(&self.file).output();
        let output = output.expect("e2fsck");
        // 1: errors were corrected.
        let repaired = matches!(output.status.code(), Some(0 | 1));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(repaired, "e2fsck: {}: {said}", output.status);
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Lets the system find an error in the file system, after which it can be read alone, also by whoever
    /// has its files open for writing.
    ///
    /// # Errors
    /// What the system says if this machine does not allow it.
    pub fn turn_read_only(&self) -> Result<(), String> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
        let place = self.0.to_string_lossy();
        let device = mounts.lines().find_map(|line| {
            let (device, rest) = line.split_once(' ')?;
            rest.starts_with(&format!("{place} "))
                .then(|| device.trim_start_matches("/dev/"))
        });
        let device = device.ok_or("it is not mounted")?;
        let switch = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        fs::write(&switch, "1").map_err(|error| format!("{switch}: {error}"))
    }

    /// Takes its name away at once; who has it open keeps what there is.
    pub fn detach(self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
        std::mem::forget(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        if std::thread::panicking() {
            command.arg("-l");
        }
        let status = command.arg(&self.0).status().expect("umount");
        assert!(
            status.success() || std::thread::panicking(),
            "umount {}",
            self.0.display()
        );
    }
}
