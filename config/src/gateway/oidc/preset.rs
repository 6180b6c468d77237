//! What is known of well-known issuers, so that settings need not say it.

use std::fmt;
use std::str::FromStr;

use super::shared::{GITHUB, GITLAB};

/// A well-known kind of issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// A directory of Microsoft Entra ID (Azure AD), by its tenant.
    AzureAd,
    /// GitHub Actions, of github.com or of an own server.
    GithubActions,
    /// GitLab CI, of gitlab.com or of an own server.
    GitlabCi,
    /// Google accounts and Workspace.
    Google,
    /// A realm of Keycloak.
    Keycloak,
    /// An organisation of Okta.
    Okta,
}

impl Preset {
    const EVERY: [Self; 6] = [
        Self::AzureAd,
        Self::GithubActions,
        Self::GitlabCi,
        Self::Google,
        Self::Keycloak,
        Self::Okta,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AzureAd => "azure-ad",
            Self::GithubActions => "github-actions",
            Self::GitlabCi => "gitlab-ci",
            Self::Google => "google",
            Self::Keycloak => "keycloak",
            Self::Okta => "okta",
        }
    }

    /// Returns the issuer's URL where it is the same for all.
    pub(super) const fn url(self) -> Option<&'static str> {
        match self {
            Self::GithubActions => Some("https://token.actions.githubusercontent.com"),
            Self::GitlabCi => Some("https://gitlab.com"),
            Self::Google => Some(super::GOOGLE),
            Self::AzureAd | Self::Keycloak | Self::Okta => None,
        }
    }

    /// Returns an example of the URL where everybody has their own.
    pub(super) const fn example(self) -> &'static str {
        match self {
            Self::AzureAd => "https://login.microsoftonline.com/TENANT-ID/v2.0, or set tenant",
            Self::Keycloak => "https://keycloak.example.org/realms/REALM",
            Self::Okta => "https://your-org.okta.com",
            Self::GithubActions | Self::GitlabCi | Self::Google => "https://issuer.example.org",
        }
    }

    /// Returns the claims of which a rule must pin one, also on an own server: jobs there are
    /// strangers to each other.
    pub(super) const fn tenant_claims(self) -> &'static [&'static str] {
        match self {
            Self::GithubActions => GITHUB,
            Self::GitlabCi => GITLAB,
            Self::Google => &["hd", "sub"],
            Self::AzureAd | Self::Keycloak | Self::Okta => &[],
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::EVERY
            .into_iter()
            .find(|preset| preset.name() == text)
            .ok_or_else(|| {
                format!(
                    "{text:?} is not one of {}",
                    Self::EVERY.map(Self::name).join(", ")
                )
            })
    }
}
