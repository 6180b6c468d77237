//! Issuers that many strangers share, and the claims that say whose token it is there.
//!
//! Invariant: a rule for a shared issuer names its tenant by a claim that the tenant cannot choose
//! and that nobody else can ever have; a name that can be given up and taken again does not count.

/// An issuer that many share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Its host.
    host: &'static str,
    /// Claims of which a rule must pin one.
    pub(super) tenant_claims: &'static [&'static str],
}

/// Issuers whose callers choose the audience themselves, or where anybody can have an account.
const SHARED: &[Shared] = &[
    Shared {
        host: "token.actions.githubusercontent.com",
        tenant_claims: GITHUB,
    },
    Shared {
        host: "gitlab.com",
        tenant_claims: GITLAB,
    },
    Shared {
        host: "accounts.google.com",
        tenant_claims: &["hd", "sub"],
    },
    Shared {
        host: "agent.buildkite.com",
        tenant_claims: &["organization_id", "pipeline_id"],
    },
    Shared {
        host: "api.bitbucket.org",
        tenant_claims: &["workspaceUuid", "repositoryUuid"],
    },
    Shared {
        host: "app.terraform.io",
        tenant_claims: &[
            "terraform_organization_id",
            "terraform_project_id",
            "terraform_workspace_id",
        ],
    },
    Shared {
        host: "oidc.circleci.com",
        tenant_claims: &["oidc.circleci.com/project-id", "sub"],
    },
    Shared {
        host: "oidc.vercel.com",
        tenant_claims: &["owner_id", "project_id"],
    },
    Shared {
        host: "vstoken.dev.azure.com",
        tenant_claims: &["sub"],
    },
    Shared {
        host: "appleid.apple.com",
        tenant_claims: &["sub"],
    },
    Shared {
        host: "api.login.yahoo.com",
        tenant_claims: &["sub"],
    },
    Shared {
        host: "github.com",
        tenant_claims: &["sub"],
    },
    Shared {
        host: "id.twitch.tv",
        tenant_claims: &["sub"],
    },
    Shared {
        host: "www.facebook.com",
        tenant_claims: &["sub"],
    },
    Shared {
        host: "www.linkedin.com",
        tenant_claims: &["sub"],
    },
];

/// Ids of GitHub; names of owners and repositories can be taken over, `sub` holds such names.
pub(super) const GITHUB: &[&str] = &["repository_id", "repository_owner_id", "enterprise_id"];

/// Ids of GitLab; paths can be taken over, `sub` holds one.
pub(super) const GITLAB: &[&str] = &["project_id", "namespace_id"];

/// Returns the issuer at a host if many share it.
pub(super) fn find(host: &str) -> Option<Shared> {
    SHARED.iter().copied().find(|shared| shared.host == host)
}
