//! Files that are believed because only their owner can write them, or secret because only their
//! owner can read them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use ::config::private;

use crate::failure::Failure;

const BYTES_MAX: u64 = 64 * 1024;

/// Returns the content of a file that belongs to this user and is closed to others; none if there
/// is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Failure> {
    let opened = File::options()
        .read(true)
        .custom_flags(private::NO_FOLLOW)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io("open", path, &error)),
    };
    let metadata = file
        .metadata()
        .map_err(|error| Failure::io("open", path, &error))?;
    let shown = path.display();
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let owner = metadata.uid();
        return Err(Failure::failed(format!(
            "{shown} belongs to user {owner}, so it is not trusted"
        ))
        .fix("run the command as that user, or remove the file"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(
            Failure::failed(format!("{shown} has mode {mode:04o}, others can use it"))
                .fix(format!("chmod 600 {shown}")),
        );
    }
    let mut text = String::new();
    Read::by_ref(&mut file)
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::io("read", path, &error))?;
    Ok(Some(text))
}
