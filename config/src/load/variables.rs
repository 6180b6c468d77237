//! Every environment variable that the programs know, and whose it is.

/// What a variable means to the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Read by the gateway, the runtime, or both.
    Daemon,
    /// Read by the command line; sent with a session, where it may only tighten.
    Session,
    /// Read by the command line alone.
    CommandLine,
    /// Would weaken a protection: setting it stops the start.
    Dangerous,
}

/// The known variables in alphabetical order.
pub const KNOWN: &[(&str, Standing)] = &[
    ("LOKI_ALLOWED_PATHS", Standing::Session),
    ("LOKI_API_HOST", Standing::Daemon),
    ("LOKI_AUDIT_DISABLED", Standing::Daemon),
    ("LOKI_AUDIT_NO_INTEGRITY", Standing::Dangerous),
    ("LOKI_AUDIT_SYSLOG_CA", Standing::Daemon),
    ("LOKI_AUDIT_SYSLOG_HOST", Standing::Daemon),
    ("LOKI_AUDIT_SYSLOG_PORT", Standing::Daemon),
    ("LOKI_AUDIT_SYSLOG_PROTO", Standing::Daemon),
    ("LOKI_AUTONOMY_MODE", Standing::Session),
    ("LOKI_BLOCKED_COMMANDS", Standing::Session),
    ("LOKI_BRANCH_PROTECTION", Standing::Session),
    ("LOKI_BUDGET_LIMIT", Standing::Daemon),
    ("LOKI_DASHBOARD_CORS", Standing::Daemon),
    ("LOKI_DASHBOARD_HOST", Standing::Daemon),
    ("LOKI_DASHBOARD_PORT", Standing::Daemon),
    ("LOKI_DATA_DIR", Standing::Daemon),
    ("LOKI_ENTERPRISE_AUDIT", Standing::Daemon),
    ("LOKI_ENTERPRISE_AUTH", Standing::Daemon),
    ("LOKI_GATEWAY_CONFIG", Standing::Daemon),
    ("LOKI_GATEWAY_USER", Standing::Daemon),
    ("LOKI_LOG", Standing::Daemon),
    ("LOKI_LOG_FORMAT", Standing::Daemon),
    ("LOKI_MAX_ITERATIONS", Standing::Daemon),
    ("LOKI_OIDC_ALLOWED_DOMAINS", Standing::Daemon),
    ("LOKI_OIDC_AUDIENCE", Standing::Daemon),
    ("LOKI_OIDC_CLIENT_ID", Standing::Daemon),
    ("LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT", Standing::Daemon),
    ("LOKI_OIDC_DEFAULT_ROLE", Standing::Daemon),
    ("LOKI_OIDC_ISSUER", Standing::Daemon),
    ("LOKI_OIDC_ROLES_CLAIM", Standing::Daemon),
    ("LOKI_OIDC_SKIP_SIGNATURE_VERIFY", Standing::Dangerous),
    ("LOKI_OPERATIONS_LISTEN", Standing::Daemon),
    ("LOKI_PROVIDER", Standing::Session),
    ("LOKI_RUNTIME_CONFIG", Standing::Daemon),
    ("LOKI_RUNTIME_SOCKET", Standing::Daemon),
    ("LOKI_SANDBOX_MODE", Standing::Session),
    ("LOKI_STAGED_AUTONOMY", Standing::Session),
    ("LOKI_STATEMENT_KEY", Standing::Daemon),
    ("LOKI_TLS_CERT", Standing::Daemon),
    ("LOKI_TLS_KEY", Standing::Daemon),
    ("LOKI_TOKEN", Standing::CommandLine),
    ("LOKI_TRUSTED_PROXIES", Standing::Daemon),
    ("LOKI_URL", Standing::CommandLine),
    ("LOKI_WORKSPACE_ROOTS", Standing::Daemon),
];

/// Returns the standing of a variable.
#[must_use]
pub fn standing(name: &str) -> Option<Standing> {
    KNOWN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, standing)| *standing)
}

/// Returns the known name most like `name`, if one is near.
#[must_use]
pub fn nearest<'known>(
    name: &str,
    known: impl Iterator<Item = &'known str>,
) -> Option<&'known str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, nearest};

    #[test]
    fn the_list_is_sorted_and_without_doubles() {
        assert!(KNOWN.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_slip_finds_its_name() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(
                nearest(name, KNOWN.iter().map(|(known, _)| *known)),
                expected
            );
        };
        check("LOKI_ENTERPISE_AUTH", Some("LOKI_ENTERPRISE_AUTH"));
        check("LOKI_TLS_CERTS", Some("LOKI_TLS_CERT"));
        check("LOKI_COUNCIL_SIZE", None);
    }
}
