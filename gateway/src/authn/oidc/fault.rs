//! Why a JSON Web Token is not accepted. For the audit record alone.

/// The check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the algorithm is not allowed")]
    Algorithm,
    #[error("the audience is not ours")]
    Audience,
    #[error("the token was given to another party")]
    AuthorizedParty,
    #[error("a part is not strict base64url")]
    Base64,
    #[error("the token is bound to a key of its holder")]
    Bound,
    #[error("a critical header field is not understood")]
    Critical,
    #[error("a claim rule denies it")]
    Denied,
    #[error("a member stands twice")]
    Duplicate,
    #[error("the account's domain is not allowed")]
    Domain,
    #[error("the token has expired")]
    Expired,
    #[error("the header is not a JSON object of known shape")]
    Header,
    #[error("the issue time is missing, not a time, or in the future")]
    IssuedAt,
    #[error("the issuer is not ours")]
    Issuer,
    #[error("the token is not of the issuer's kind")]
    Kind,
    #[error("no claim rule fits")]
    NoRule,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the payload is not a JSON object")]
    Payload,
    #[error("the token has not three parts")]
    Shape,
    #[error("the signature is wrong")]
    Signature,
    #[error("the subject is missing or unusable")]
    Subject,
    #[error("a time is missing or not a number")]
    Time,
    #[error("the token was issued too long ago")]
    TooOld,
    #[error("the token is too long")]
    TooLong,
    #[error("no key of the issuer fits")]
    UnknownKey,
}

impl Fault {
    /// Returns the word for records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Algorithm => "jwt_algorithm",
            Self::Audience => "jwt_audience",
            Self::AuthorizedParty => "jwt_authorized_party",
            Self::Base64 => "jwt_base64",
            Self::Bound => "jwt_bound",
            Self::Critical => "jwt_critical",
            Self::Denied => "jwt_denied",
            Self::Duplicate => "jwt_duplicate",
            Self::Domain => "jwt_domain",
            Self::Expired => "jwt_expired",
            Self::Header => "jwt_header",
            Self::IssuedAt => "jwt_issued_at",
            Self::Issuer => "jwt_issuer",
            Self::Kind => "jwt_kind",
            Self::NoRule => "jwt_no_rule",
            Self::NotYet => "jwt_not_yet",
            Self::Payload => "jwt_payload",
            Self::Shape => "jwt_shape",
            Self::Signature => "jwt_signature",
            Self::Subject => "jwt_subject",
            Self::Time => "jwt_time",
            Self::TooLong => "jwt_too_long",
            Self::TooOld => "jwt_too_old",
            Self::UnknownKey => "jwt_unknown_key",
        }
    }
}
