//! Follows the frames of one direction of a WebSocket (RFC 6455, section 5.2): how long each is, and
//! where it ends. What is in them is the two sides' business.

/// Where in a frame the direction stands.
#[derive(Debug)]
pub(super) struct Frames {
    bytes_max: u64,
    head: [u8; HEAD_BYTES_MAX],
    have: usize,
    payload_left: u64,
}

/// Two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;

/// A frame is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Frames {
    /// Begins before the first frame.
    pub(super) const fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            head: [0; HEAD_BYTES_MAX],
            have: 0,
            payload_left: 0,
        }
    }

    /// Returns whether the last frame is whole and no other has begun.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.have == 0 && self.payload_left == 0
    }

    /// Follows bytes.
    ///
    /// # Errors
    /// When a frame announces more payload than allowed.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let here = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
                let count = here.min(bytes.len());
                self.payload_left -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.head[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if let Some(length) = self.announced() {
                if length > self.bytes_max {
                    return Err(TooLong);
                }
                self.have = 0;
                self.payload_left = length;
            }
        }
        Ok(())
    }

    /// Returns the payload's length once the head is whole.
    fn announced(&self) -> Option<u64> {
        const MASKED: u8 = 0x80;
        if self.have < 2 {
            return None;
        }
        let second = self.head[1];
        let length_bytes = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if second & MASKED == 0 { 0 } else { 4 };
        if self.have < 2 + length_bytes + mask_bytes {
            return None;
        }
        if length_bytes == 0 {
            return Some(u64::from(second & !MASKED));
        }
        let digits = &self.head[2..2 + length_bytes];
        Some(
            digits
                .iter()
                .fold(0, |length, byte| (length << 8) | u64::from(*byte)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, TooLong};

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(mask | u8::try_from(length).expect("short")),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).expect("short").to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.extend(vec![0xff; length]);
        bytes
    }

    #[test]
    fn a_frame_over_the_bound_is_noticed_by_its_head() {
        for length in [101, 126, 65_536] {
            let bytes = frame(length, true);
            let head = bytes.len() - length;
            let mut frames = Frames::new(100);
            assert_eq!(frames.follow(&bytes[..head]), Err(TooLong), "{length}");
        }
        let endless = [0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Frames::new(u64::MAX - 1).follow(&endless), Err(TooLong));
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let lengths = [0, 1, 125, 126, 300, 65_535, 65_536];
        let bytes: Vec<u8> = lengths
            .iter()
            .flat_map(|length| frame(*length, length % 2 == 0))
            .collect();
        for step in [1, 2, 3, 7, 1_000, bytes.len()] {
            let mut frames = Frames::new(65_536);
            for piece in bytes.chunks(step) {
                assert_eq!(frames.follow(piece), Ok(()), "{step}");
            }
            assert!(frames.is_between_frames(), "{step}");
        }
        let mut frames = Frames::new(100);
        assert_eq!(frames.follow(&[0x82, 2, 0xff]), Ok(()));
        assert!(!frames.is_between_frames());
    }
}
