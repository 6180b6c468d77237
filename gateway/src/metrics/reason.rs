//! Why requests are refused, as the metrics tell it.
//!
//! Invariant: a label value comes from here and nowhere else, so no caller can add one.

/// The reason of one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The audit trail cannot be written.
    AuditUnavailable,
    /// The request is not well-formed HTTP, or ambiguous.
    BadRequest,
    /// The request body is longer than the operation allows.
    BodyTooLarge,
    /// The gateway is stopping.
    Draining,
    /// The credential's time is over.
    ExpiredCredential,
    /// The request's header is longer than allowed.
    HeaderTooLarge,
    /// The credential has not the shape of one.
    MalformedCredential,
    /// The path is known, but not with this method.
    MethodNotAllowed,
    /// There is no credential.
    MissingCredential,
    /// The credential grants less than the operation demands.
    MissingScope,
    /// The `Host` is not one of ours.
    OtherHost,
    /// The `Origin` may not call.
    OtherOrigin,
    /// The peer is another user of this host.
    OtherUser,
    /// The credential was revoked.
    RevokedCredential,
    /// The runtime cannot be reached or did not answer.
    RuntimeUnavailable,
    /// Too many requests.
    Throttled,
    /// The request did not arrive in time.
    TooSlow,
    /// Nobody knows the credential.
    UnknownCredential,
    /// There is no such path.
    UnknownPath,
}

impl Reason {
    /// Every reason, in the order of their positions.
    pub const EVERY: [Self; 19] = [
        Self::AuditUnavailable,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::Draining,
        Self::ExpiredCredential,
        Self::HeaderTooLarge,
        Self::MalformedCredential,
        Self::MethodNotAllowed,
        Self::MissingCredential,
        Self::MissingScope,
        Self::OtherHost,
        Self::OtherOrigin,
        Self::OtherUser,
        Self::RevokedCredential,
        Self::RuntimeUnavailable,
        Self::Throttled,
        Self::TooSlow,
        Self::UnknownCredential,
        Self::UnknownPath,
    ];

    /// Returns the name as written in metrics and in the audit's `details.reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuditUnavailable => "audit_unavailable",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::Draining => "draining",
            Self::ExpiredCredential => "expired_credential",
            Self::HeaderTooLarge => "header_too_large",
            Self::MalformedCredential => "malformed_credential",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MissingCredential => "missing_credential",
            Self::MissingScope => "missing_scope",
            Self::OtherHost => "other_host",
            Self::OtherOrigin => "other_origin",
            Self::OtherUser => "other_user",
            Self::RevokedCredential => "revoked_credential",
            Self::RuntimeUnavailable => "runtime_unavailable",
            Self::Throttled => "throttled",
            Self::TooSlow => "too_slow",
            Self::UnknownCredential => "unknown_credential",
            Self::UnknownPath => "unknown_path",
        }
    }

    /// Returns the position in [`Self::EVERY`].
    pub(crate) const fn position(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_stands_at_its_position() {
        for (position, reason) in Reason::EVERY.into_iter().enumerate() {
            assert_eq!(reason.position(), position, "{reason:?}");
        }
    }
}
