//! What the program may do to files.

use std::fs;

use jail::LayerName;

use crate::arena::{Arena, is_root};

/// Asserts that a script, in which `@` stands for the folder outside, is refused inside.
#[track_caller]
fn refused(script: &str) {
    let Some(arena) = Arena::enforcing(LayerName::FileSystem) else {
        return;
    };
    arena.secret("secret", "s3cret\n");
    fs::create_dir(arena.outside("folder")).unwrap();
    std::os::unix::fs::symlink(arena.outside("secret"), arena.inside("way-out")).unwrap();
    std::os::unix::fs::symlink(arena.outside(""), arena.inside("folder-out")).unwrap();
    arena.refused(&script.replace(
        '@',
        arena.outside("").to_str().unwrap().trim_end_matches('/'),
    ));
}

#[test]
fn outside_nothing_is_read() {
    refused("cat @/secret");
    refused("ls @");
    refused("cat way-out");
    refused("cat folder-out/secret");
    refused("cd @ && cat secret");
    refused("cp @/secret copy");
}

#[test]
fn outside_nothing_is_written() {
    refused("echo changed > @/secret");
    refused("echo changed >> @/secret");
    refused("truncate --size 0 @/secret");
    refused("echo new > @/new");
    refused("echo changed > way-out");
    refused("echo new > folder-out/new");
    refused("mkdir @/new");
    refused("mkfifo @/new");
    refused("ln -s target @/new");
    refused("rm @/secret");
    refused("rmdir @/folder");
    refused("echo new > /dev/shm/loki-jail-$$ && rm /dev/shm/loki-jail-$$");
}

#[test]
fn nothing_moves_between_outside_and_inside() {
    refused("ln @/secret linked");
    refused("mv @/secret moved");
    refused("mv @/folder moved");
    refused("echo mine > file && mv file @/moved");
    refused("touch mine && ln mine @/linked");
}

#[test]
fn memory_and_environment_of_outside_processes_are_not_read() {
    let Some(arena) = Arena::enforcing(LayerName::FileSystem) else {
        return;
    };
    let own = std::process::id();
    arena.refused(&format!("cat /proc/{own}/environ > environ"));
    arena.refused(&format!("head --bytes 1 /proc/{own}/maps"));
    // The supervisor is the parent inside; beside the jail the parent is this process.
    arena.refused("cat /proc/$PPID/environ > environ");
}

#[test]
fn device_nodes_are_not_made() {
    let Some(arena) = Arena::enforcing(LayerName::FileSystem) else {
        return;
    };
    let script = "mknod made-null c 1 3";
    if is_root() {
        arena.refused(script);
    } else {
        assert_ne!(arena.run(script).code, Some(0));
    }
}

#[test]
fn inside_everything_else_works() {
    let arena = Arena::new();
    let script = "set -e
        echo first > file; echo second >> file; cat file
        mkdir folder; mv file folder/moved; ln folder/moved linked; ln -s linked soft; cat soft
        mkfifo pipe; truncate --size 3 linked; rm -r folder
        printf '#!/bin/sh\\necho ran\\n' > script; chmod +x script; ./script
        echo gone > /dev/null; head --bytes 2 /dev/zero | wc --bytes";
    let end = arena.run(script);
    assert_eq!(
        end.stdout, "first\nsecond\nfirst\nsecond\nran\n2\n",
        "{end:?}"
    );
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(arena.inside("linked")).unwrap(), "fir");
}

#[test]
fn a_single_file_can_be_allowed() {
    let Some(mut arena) = Arena::enforcing(LayerName::FileSystem) else {
        return;
    };
    let (readable, writable) = (
        arena.secret("readable", "r\n"),
        arena.secret("writable", "w\n"),
    );
    arena.policy.read.push(readable.clone());
    arena.policy.write.push(writable.clone());
    let (readable, writable) = (readable.display(), writable.display());
    let script = format!(
        "cat {readable} {writable}; echo new > {writable}; cat {writable}; echo new > {readable}"
    );
    let end = arena.run(&script);
    assert_eq!(
        (end.code, end.stdout.as_str()),
        (Some(1), "r\nw\nnew\n"),
        "{end:?}"
    );
}
