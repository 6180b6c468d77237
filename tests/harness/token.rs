//! Tokens, made by the documented command and read from what it prints.

use crate::installation::Installation;

/// A token as its owner has it after the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The name that was asked for.
    pub name: String,
    /// The id, as printed.
    pub id: String,
    /// The secret text, as printed.
    pub raw: String,
    /// The scopes, as printed.
    pub scopes: String,
    /// The day of expiry, as printed; none if the token does not expire.
    pub expires: Option<String>,
}

impl Token {
    /// Makes a token with these flags.
    ///
    /// # Panics
    /// When the command fails or prints something else than documented.
    #[must_use]
    pub fn generate(installation: &Installation, name: &str, flags: &[&str]) -> Self {
        let mut arguments = vec!["enterprise", "token", "generate", name];
        arguments.extend(flags);
        Self::read(&installation.loki(&arguments).output())
    }

    /// Reads what the command printed.
    ///
    /// # Panics
    /// When a line is missing.
    #[must_use]
    pub fn read(output: &str) -> Self {
        let value = |label: &str| {
            let start = format!("{label}:");
            output
                .lines()
                .find_map(|line| line.strip_prefix(&start))
                .map(|rest| rest.trim().to_owned())
        };
        let needed =
            |label: &str| value(label).unwrap_or_else(|| panic!("no line {label}: in\n{output}"));
        Self {
            name: needed("Name"),
            id: needed("ID"),
            raw: needed("Token"),
            scopes: needed("Scopes"),
            expires: value("Expires").filter(|expires| expires != "never"),
        }
    }
}

/// Returns a token of the right shape that nobody made.
#[must_use]
pub fn unknown() -> String {
    numbered(0)
}

/// Returns a token of the right shape that is told from others by its number.
#[must_use]
pub fn numbered(number: u32) -> String {
    let checked = format!("loki_{number:040}");
    format!("{checked}{}", checksum(checked.as_bytes()))
}

/// Six base62 digits of the CRC-32, most significant first.
fn checksum(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = usize::try_from(crc32(bytes)).expect("32 bits fit");
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest % 62];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

/// CRC-32 (ISO-HDLC), bit by bit: written again here so that the suite does not believe the
/// product's own arithmetic.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let last = sum & 1;
            sum >>= 1;
            if last == 1 {
                sum ^= 0xEDB8_8320;
            }
        }
    }
    !sum
}
