//! Checks what a token claims, once its signature is good: pure, told the time.
//!
//! Invariant: a claim that is missing, or of another type than expected, never grants anything;
//! issuer, audience, subject and expiry must be there.

use chrono::{DateTime, Utc};
use config::contract::scope::Role;
use config::gateway::oidc::{GOOGLE, Grant, Issuer, TokenKind};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::jws::Opened;
use super::rules::{self, Grants, Verdict};

/// Longest subject in bytes (OpenID Connect Core, section 2).
const SUBJECT_BYTES_MAX: usize = 255;

/// Longest e-mail address in bytes (RFC 5321).
const EMAIL_BYTES_MAX: usize = 254;

/// Longest list of audiences or roles that is looked at.
const ENTRIES_MAX: usize = 256;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The subject, unique within the issuer.
    pub(crate) subject: String,
    /// The e-mail address, if the issuer has verified it.
    pub(crate) email: Option<String>,
    /// What the holder may do.
    pub(crate) grants: Grants,
    /// The second that the token itself names as its end.
    pub(crate) expires: i64,
    /// The second after which it is not accepted any more, leeway included.
    pub(crate) until: i64,
    /// When it was issued, as far as it says so.
    pub(crate) issued_at: Option<DateTime<Utc>>,
}

/// Checks the claims of an opened token against its issuer's settings.
///
/// # Errors
/// The first check that fails.
pub(crate) fn check(
    opened: Opened<'_>,
    issuer: &Issuer,
    now: DateTime<Utc>,
) -> Result<Claims, Fault> {
    let claims = opened.payload.members()?;
    if claims.get("iss").and_then(Value::as_str) != Some(issuer.url.as_str()) {
        return Err(Fault::Issuer);
    }
    kind(opened.media_type, claims, issuer.token_kind)?;
    audience(claims, issuer)?;
    if claims.contains_key("cnf") {
        // RFC 7800: whoever presents it must prove a key, which a bearer does not.
        return Err(Fault::Bound);
    }
    let (expires, until) = times(claims, issuer, now)?;
    let subject = subject(claims)?;
    let email = verified_email(claims);
    domain(claims, email.as_deref(), issuer)?;
    Ok(Claims {
        subject,
        email,
        grants: grants(claims, &issuer.grant)?,
        expires,
        until,
        issued_at: issued_at(claims),
    })
}

/// RFC 8725, section 3.11: a token of one kind is never taken for one of another.
fn kind(
    media_type: Option<&str>,
    claims: &Map<String, Value>,
    kind: TokenKind,
) -> Result<(), Fault> {
    let by_type = match kind {
        TokenKind::Access => media_type == Some("at+jwt"),
        TokenKind::Id => media_type.is_none_or(|name| name == "jwt"),
    };
    // Keycloak says it in `typ`, Cognito in `token_use`.
    let says = |name: &str, expected: &[&str]| match claims.get(name) {
        None => true,
        Some(value) => value.as_str().is_some_and(|text| expected.contains(&text)),
    };
    let by_claims = match kind {
        TokenKind::Access => {
            says("typ", &["Bearer", "at+jwt"])
                && says("token_use", &["access"])
                && !claims.contains_key("nonce")
        }
        TokenKind::Id => {
            says("typ", &["ID", "JWT"]) && says("token_use", &["id"])
                // RFC 8417: a security event, such as a logout, is no sign-in.
                && !claims.contains_key("events")
        }
    };
    if by_type && by_claims {
        Ok(())
    } else {
        Err(Fault::Kind)
    }
}

fn audience(claims: &Map<String, Value>, issuer: &Issuer) -> Result<(), Fault> {
    let audiences = texts(claims.get("aud")).ok_or(Fault::Audience)?;
    let ours = |name: &str| issuer.audiences.iter().any(|audience| audience == name);
    if !audiences.iter().any(|name| ours(name)) {
        return Err(Fault::Audience);
    }
    match issuer.token_kind {
        TokenKind::Access => Ok(()),
        // OpenID Connect Core, section 3.1.3.7: with several audiences the token must say that it
        // was given to us.
        TokenKind::Id => match claims.get("azp") {
            Some(party)
                if party.as_str().is_some_and(|party| {
                    issuer
                        .client_id
                        .as_deref()
                        .map_or_else(|| ours(party), |id| party == id)
                }) =>
            {
                Ok(())
            }
            None if audiences.len() == 1 => Ok(()),
            Some(_) | None => Err(Fault::AuthorizedParty),
        },
    }
}

/// Returns the second that the token names as its end, and the one until which it is accepted.
fn times(
    claims: &Map<String, Value>,
    issuer: &Issuer,
    now: DateTime<Utc>,
) -> Result<(i64, i64), Fault> {
    let now = now.timestamp();
    let leeway = i64::try_from(issuer.leeway.as_secs()).unwrap_or(0);
    let expires = second(claims.get("exp").ok_or(Fault::Time)?)?;
    let mut until = expires.saturating_add(leeway);
    if now >= until {
        return Err(Fault::Expired);
    }
    if let Some(not_before) = claims.get("nbf")
        && second(not_before)? > now.saturating_add(leeway)
    {
        return Err(Fault::NotYet);
    }
    match (claims.get("iat"), issuer.token_kind) {
        (Some(issued), TokenKind::Access | TokenKind::Id) => {
            let issued = second(issued).map_err(|_| Fault::IssuedAt)?;
            if issued > now.saturating_add(leeway) {
                return Err(Fault::IssuedAt);
            }
        }
        (None, TokenKind::Access) => {}
        (None, TokenKind::Id) => return Err(Fault::IssuedAt),
    }
    if let Some(most) = issuer.max_age {
        let most = i64::try_from(most.as_secs()).unwrap_or(i64::MAX);
        // What does not say when it was issued may be of any age.
        let issued = second(claims.get("iat").ok_or(Fault::IssuedAt)?)?;
        let oldest = issued.saturating_add(most).saturating_add(leeway);
        if now >= oldest {
            return Err(Fault::TooOld);
        }
        until = until.min(oldest);
    }
    Ok((expires, until))
}

/// Returns when the token was issued; [`times`] has checked the claim.
fn issued_at(claims: &Map<String, Value>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(second(claims.get("iat")?).ok()?, 0)
}

/// A `NumericDate` (RFC 7519, section 2), rounded down; one beyond the year 9999 is no time.
fn second(value: &Value) -> Result<i64, Fault> {
    const LATEST: i64 = 253_402_300_799;
    let second = value.as_i64().or_else(|| {
        let float = value.as_f64()?.floor();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the value was rounded and lies within the bounds"
        )]
        (0.0..=253_402_300_799.0)
            .contains(&float)
            .then_some(float as i64)
    });
    second
        .filter(|second| (0..=LATEST).contains(second))
        .ok_or(Fault::Time)
}

fn subject(claims: &Map<String, Value>) -> Result<String, Fault> {
    claims
        .get("sub")
        .and_then(Value::as_str)
        .filter(|text| printable(text, SUBJECT_BYTES_MAX))
        .map(str::to_owned)
        .ok_or(Fault::Subject)
}

/// An address that the issuer did not verify is whatever its holder typed.
fn verified_email(claims: &Map<String, Value>) -> Option<String> {
    if claims.get("email_verified") != Some(&Value::Bool(true)) {
        return None;
    }
    let email = claims.get("email")?.as_str()?;
    let (name, domain) = email.split_once('@')?;
    let plain = printable(email, EMAIL_BYTES_MAX)
        && !name.is_empty()
        && !domain.is_empty()
        && !domain.contains('@');
    plain.then(|| email.to_owned())
}

fn domain(claims: &Map<String, Value>, email: Option<&str>, issuer: &Issuer) -> Result<(), Fault> {
    if issuer.allowed_domains.is_empty() {
        return Ok(());
    }
    // Google says in `hd` to which organisation an account belongs; an address proves nothing
    // there, for anybody may have a personal account with an address of any domain.
    let domain = if issuer.url == GOOGLE {
        claims.get("hd").and_then(Value::as_str)
    } else {
        email
            .and_then(|email| email.split_once('@'))
            .map(|(_, domain)| domain)
    };
    let allowed = domain.is_some_and(|domain| {
        issuer
            .allowed_domains
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(domain))
    });
    if allowed { Ok(()) } else { Err(Fault::Domain) }
}

/// What the issuer's grant makes of the claims.
fn grants(claims: &Map<String, Value>, grant: &Grant) -> Result<Grants, Fault> {
    let of_role = |role: Role| Grants {
        scopes: role.scopes(),
        role: Some(role),
        ..Grants::default()
    };
    match grant {
        Grant::Everything => Ok(of_role(Role::Admin)),
        Grant::Role(role) => Ok(of_role(*role)),
        Grant::Claim { path, otherwise } => {
            let roles: Vec<Role> = texts(rules::at_path(claims, path))
                .unwrap_or_default()
                .into_iter()
                .filter_map(|name| Role::EVERY.into_iter().find(|role| role.name() == name))
                .collect();
            Ok(match roles[..] {
                [] => otherwise.map_or_else(Grants::default, of_role),
                [role] => of_role(role),
                _ => Grants {
                    scopes: roles.iter().flat_map(|role| role.scopes().iter()).collect(),
                    ..Grants::default()
                },
            })
        }
        Grant::Rules(rules) => match rules::judge(rules, claims) {
            Verdict::Granted(grants) => Ok(grants),
            Verdict::Denied(_) => Err(Fault::Denied),
            Verdict::Nothing => Err(Fault::NoRule),
        },
    }
}

/// A text, or a list of nothing but texts.
fn texts(value: Option<&Value>) -> Option<Vec<&str>> {
    match value? {
        Value::String(text) => Some(vec![text.as_str()]),
        Value::Array(list) if list.len() <= ENTRIES_MAX => list.iter().map(Value::as_str).collect(),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            None
        }
    }
}

/// Usable in a record and an id: not empty, not too long, no control characters.
fn printable(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
