//! Attacks by damage to a good token: what is done to it, and why it is refused.

use super::super::fault::Fault;

/// Changes a token.
type Damage = fn(&str) -> String;

/// Damage to a good token.
pub(super) static BY_SHAPE: &[(&str, Damage, Fault)] = &[
    (
        "two parts",
        |token| token.rsplit_once('.').expect("parts").0.to_owned(),
        Fault::Shape,
    ),
    ("one part", |token| token.replace('.', ""), Fault::Shape),
    ("four parts", |token| format!("{token}.AAAA"), Fault::Shape),
    (
        "five parts, as if encrypted",
        |token| format!("{token}.AAAA.AAAA"),
        Fault::Shape,
    ),
    (
        "a dot at the end",
        |token| format!("{token}."),
        Fault::Shape,
    ),
    (
        "a dot at the start",
        |token| format!(".{token}"),
        Fault::Shape,
    ),
    ("dots alone", |_| "..".to_owned(), Fault::Header),
    (
        "the JSON form",
        |_| r#"{"payload":"e30","signatures":[]}"#.to_owned(),
        Fault::Shape,
    ),
    ("padding", |token| format!("{token}="), Fault::Base64),
    (
        "padding inside",
        |token| token.replacen('.', "=.", 1),
        Fault::Base64,
    ),
    (
        "a blank",
        |token| token.replacen('.', " .", 1),
        Fault::Base64,
    ),
    ("a line end", |token| format!("{token}\n"), Fault::Base64),
    (
        "the other alphabet",
        |token| format!("{token}+/"),
        Fault::Base64,
    ),
    (
        "percent signs",
        |token| format!("{token}%3D"),
        Fault::Base64,
    ),
    ("bits left over in the signature", left_over, Fault::Base64),
    (
        "a longer signature",
        |token| format!("{token}AAAA"),
        Fault::Signature,
    ),
    (
        "a shorter signature",
        |token| token[..token.len() - 2].to_owned(),
        Fault::Signature,
    ),
    (
        "no signature",
        |token| token[..=token.rfind('.').expect("dot")].to_owned(),
        Fault::Signature,
    ),
    (
        "longer than 16 KiB",
        |token| format!("{token}{}", "A".repeat(16 * 1024)),
        Fault::TooLong,
    ),
    (
        "letters beyond ASCII",
        |token| format!("{token}\u{e9}"),
        Fault::Base64,
    ),
];

/// The last letter of 64 bytes carries 4 bits that mean nothing; other values of them make another
/// text of the same signature.
fn left_over(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = token.as_bytes().to_vec();
    let last = bytes.pop().expect("letter");
    let value = ALPHABET
        .iter()
        .position(|letter| *letter == last)
        .expect("alphabet");
    bytes.push(ALPHABET[value | 1]);
    String::from_utf8(bytes).expect("text")
}
