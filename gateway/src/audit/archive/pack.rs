//! Packs a closed file: the same bytes in gzip format.
//!
//! Invariant: the plain file goes only after its packed copy was read back byte for byte and its
//! name is on the disk. Whatever moment a crash comes at, one of the two is whole.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;

use aws_lc_rs::digest::{Context, SHA256};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::is_plain;
use crate::audit::chain::Digest;
use crate::audit::files::{self, FileName};

/// Packs a file; one that is packed already is left alone.
pub(super) fn pack(directory: &File, name: FileName) -> io::Result<()> {
    if !is_plain(directory, name)? {
        return Ok(());
    }
    let mut plain = match files::open_to_read(directory, name) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
        other => other?.file,
    };
    let draft = format!("{}.draft", name.packed());
    files::remove(directory, &draft)?;
    let packed = write(directory, &mut plain, &draft);
    if let Err(error) = packed {
        files::remove(directory, &draft)?;
        return Err(error);
    }
    rustix::fs::renameat(directory, &draft, directory, name.packed())?;
    rustix::fs::fsync(directory.as_fd())?;
    files::remove(directory, &name.to_string())?;
    rustix::fs::fsync(directory.as_fd())?;
    Ok(())
}

/// Writes the packed copy, and reads it back.
fn write(directory: &File, plain: &mut File, draft: &str) -> io::Result<()> {
    let mut copy = files::create(directory, draft)?;
    let mut encoder = GzEncoder::new(&mut copy, Compression::default());
    let wanted = hash_of(plain, |bytes| encoder.write_all(bytes))?;
    encoder.finish()?;
    copy.sync_all()?;
    copy.rewind()?;
    let found = hash_of(&mut GzDecoder::new(&mut copy), |_| Ok(()))?;
    if found == wanted {
        Ok(())
    } else {
        Err(io::Error::other(format!("{draft} reads back differently")))
    }
}

fn hash_of(
    bytes: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Digest> {
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; 256 * 1024];
    loop {
        let length = match bytes.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        context.update(&block[..length]);
        each(&block[..length])?;
    }
    let mut hash = Digest::default();
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}
