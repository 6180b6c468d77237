//! Commands that only read: the few that a supervised session runs without asking.
//!
//! Invariant: a short list that knows its flags; whatever is not on it changes something. Pure.

use super::piece::Piece;
use super::word::Word;

/// Returns whether every command only reads.
pub(super) fn only(pieces: &[Piece]) -> bool {
    !pieces.is_empty() && pieces.iter().all(reads)
}

fn reads(piece: &Piece) -> bool {
    let writes_nothing = piece.writes.iter().all(|word| word.text == "/dev/null");
    writes_nothing && piece.arguments.iter().all(Word::is_known) && by_name(piece)
}

fn by_name(piece: &Piece) -> bool {
    let lacks = |flags: &[&str]| {
        !piece.arguments.iter().any(|word| {
            flags.iter().any(|flag| {
                word.text == *flag
                    || word.text.starts_with(&format!("{flag}="))
                    || (flag.len() == 2 && word.text.starts_with(flag))
            })
        })
    };
    let operands = piece
        .arguments
        .iter()
        .filter(|word| !word.text.starts_with('-'))
        .count();
    match piece.name.as_str() {
        "[" | "basename" | "cat" | "cd" | "cmp" | "cut" | "df" | "dirname" | "du" | "echo"
        | "egrep" | "false" | "fgrep" | "grep" | "head" | "id" | "ls" | "nl" | "printf" | "pwd"
        | "readlink" | "realpath" | "stat" | "tail" | "test" | "tr" | "true" | "type" | "uname"
        | "wc" | "which" | "whoami" => true,
        "diff" => lacks(&["--output"]),
        "file" => lacks(&["-C", "--compile"]),
        "sort" => lacks(&["-o", "--output", "--compress-program", "-T"]),
        "uniq" => operands <= 1,
        "rg" => lacks(&["--pre", "--hostname-bin", "-z", "--search-zip"]),
        "find" => lacks(&[
            "-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf",
            "-fls",
        ]),
        _ => false,
    }
}
