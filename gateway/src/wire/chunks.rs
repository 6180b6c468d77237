//! A chunked body, followed byte by byte to its end (RFC 9112, section 7.1).
//!
//! Extensions are refused as a whole: nothing that calls the gateway needs them, and readers
//! differ about where they end. Trailer fields are refused for the same reason.

/// Most hexadecimal digits of a chunk's size; 2^48 is above any body that an operation allows.
const SIZE_DIGITS_MAX: u8 = 12;

/// Where in a chunked body the bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a size.
    Size { digits: u8, size: u64 },
    /// After the carriage return behind a size.
    SizeEnd { size: u64 },
    /// In the data.
    Data { left: u64 },
    /// After the data: a carriage return comes.
    DataReturn,
    /// After the data: a line feed comes.
    DataFeed,
    /// After the empty chunk: a carriage return comes.
    LastReturn,
    /// After the empty chunk: a line feed comes, and the body is over.
    LastFeed,
}

impl Chunks {
    /// Begins before the first chunk.
    pub(super) const fn new() -> Self {
        Self::Size { digits: 0, size: 0 }
    }

    /// Follows bytes; returns how many belong to the body, and whether it is over.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut used = 0;
        while used < bytes.len() {
            if let Self::Data { left } = self {
                let here = usize::try_from(*left)
                    .map_or(bytes.len() - used, |left| left.min(bytes.len() - used));
                *left -= here as u64;
                used += here;
                if *left == 0 {
                    *self = Self::DataReturn;
                }
                continue;
            }
            let ended = *self == Self::LastFeed;
            *self = self.step(bytes[used])?;
            used += 1;
            if ended {
                return Ok((used, true));
            }
        }
        Ok((used, false))
    }

    fn step(self, byte: u8) -> Result<Self, &'static str> {
        match (self, byte) {
            (Self::Size { digits, size }, byte) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err("a chunk size is too long");
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Ok(Self::Size {
                    digits: digits + 1,
                    size: size * 16 + digit,
                })
            }
            (Self::Size { digits: 0, .. }, _) => Err("a chunk size has no digit"),
            (Self::Size { size, .. }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Size { .. }, _) => Err("a chunk size has an extension or a foreign character"),
            (Self::SizeEnd { size: 0 }, b'\n') => Ok(Self::LastReturn),
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataReturn, b'\r') => Ok(Self::DataFeed),
            (Self::DataFeed | Self::LastFeed, b'\n') => Ok(Self::new()),
            (Self::LastReturn, b'\r') => Ok(Self::LastFeed),
            (Self::LastReturn, _) => Err("a trailer field"),
            (
                Self::SizeEnd { .. }
                | Self::Data { .. }
                | Self::DataReturn
                | Self::DataFeed
                | Self::LastFeed,
                _,
            ) => Err("a chunk does not end where its size says"),
        }
    }
}
