//! Why connections are dropped before a request, as the metrics tell it.

/// The reason of one drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nobody vouches for the client's certificate any more.
    AuthorityRemoved,
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
    /// A request's head or body came too slowly, or its answer was not taken.
    TooSlow,
}

impl Dropped {
    /// Every reason, in the order of their positions.
    pub const EVERY: [Self; 7] = [
        Self::AuthorityRemoved,
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
            Self::AuthorityRemoved => "authority_removed",
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
            Self::AuthorityRemoved => 0,
            Self::FrameFlood => 1,
            Self::HandshakeFailed => 2,
            Self::HandshakeTimeout => 3,
            Self::NoPlace => 4,
            Self::OtherUser => 5,
            Self::TooSlow => 6,
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
