//! Why connections are dropped before a request, as the metrics tell it.

/// The reason of one drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Too many control frames or cancelled streams in a second of HTTP/2.
    FrameFlood,
    /// The TLS handshake failed.
    HandshakeFailed,
    /// The TLS handshake took too long.
    HandshakeTimeout,
    /// There are too many connections, in all or from this address.
    NoPlace,
    /// The peer is another user of this host.
    OtherUser,
    /// A request's head or body came too slowly.
    TooSlow,
}

impl Dropped {
    /// Every reason, in the order of their positions.
    pub const EVERY: [Self; 6] = [
        Self::FrameFlood,
        Self::HandshakeFailed,
        Self::HandshakeTimeout,
        Self::NoPlace,
        Self::OtherUser,
        Self::TooSlow,
    ];

    /// Returns the label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrameFlood => "frame_flood",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::NoPlace => "no_place",
            Self::OtherUser => "other_user",
            Self::TooSlow => "too_slow",
        }
    }

    /// Returns the position in [`Self::EVERY`].
    #[must_use]
    pub const fn position(self) -> usize {
        match self {
            Self::FrameFlood => 0,
            Self::HandshakeFailed => 1,
            Self::HandshakeTimeout => 2,
            Self::NoPlace => 3,
            Self::OtherUser => 4,
            Self::TooSlow => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dropped;

    #[test]
    fn positions_are_those_of_the_list() {
        for (position, reason) in Dropped::EVERY.into_iter().enumerate() {
            assert_eq!(reason.position(), position);
        }
    }
}
