//! Where everything lies on disk below the data directory (`~/.loki`).

use std::path::{Path, PathBuf};

/// The data directory and the places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// Wraps a data directory.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Returns the data directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Returns the folder of tokens and audit (mode 0700).
    #[must_use]
    pub fn dashboard(&self) -> PathBuf {
        self.0.join("dashboard")
    }

    /// Returns the token records.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.dashboard().join("tokens.json")
    }

    /// Returns when tokens were last used.
    #[must_use]
    pub fn token_usage(&self) -> PathBuf {
        self.dashboard().join("tokens.usage.json")
    }

    /// Returns the journal of revocations.
    #[must_use]
    pub fn revocations(&self) -> PathBuf {
        self.dashboard().join("revocations.jsonl")
    }

    /// Returns the folder of audit records (mode 0700).
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.dashboard().join("audit")
    }

    /// Returns the place up to which the syslog receiver was sent the audit trail (mode 0600).
    #[must_use]
    pub fn audit_syslog(&self) -> PathBuf {
        self.dashboard().join("audit-syslog.json")
    }

    /// Returns the folder in which running gateways acknowledge revocations.
    #[must_use]
    pub fn gateways(&self) -> PathBuf {
        self.dashboard().join("gateways")
    }

    /// Returns the folder in which the keys of issuers are kept (mode 0700).
    #[must_use]
    pub fn issuers(&self) -> PathBuf {
        self.dashboard().join("issuers")
    }

    /// Returns the folder of sockets and process files (mode 0700).
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Returns the file that says how to reach the running local gateway (mode 0600).
    #[must_use]
    pub fn endpoint(&self) -> PathBuf {
        self.run().join("endpoint.json")
    }

    /// Returns the runtime's socket.
    #[must_use]
    pub fn runtime_socket(&self) -> PathBuf {
        self.run().join("runtime.sock")
    }

    /// Returns the key of the caller statement (mode 0600).
    #[must_use]
    pub fn statement_key(&self) -> PathBuf {
        self.0.join("keys").join("statement.key")
    }

    /// Returns the key that seals each commit of the audit trail (mode 0600).
    #[must_use]
    pub fn audit_mac_key(&self) -> PathBuf {
        self.0.join("keys").join("audit-mac.key")
    }

    /// Returns the key that signs checkpoints of the audit trail (mode 0600).
    #[must_use]
    pub fn audit_signing_key(&self) -> PathBuf {
        self.0.join("keys").join("audit-signing.key")
    }

    /// Returns the public half of [`Self::audit_signing_key`], for auditors (PEM).
    #[must_use]
    pub fn audit_public_key(&self) -> PathBuf {
        self.0.join("keys").join("audit-signing.pub")
    }

    /// Returns the copy of the newest checkpoint, kept apart from the audit files (mode 0600).
    #[must_use]
    pub fn audit_checkpoint(&self) -> PathBuf {
        self.0.join("keys").join("audit-checkpoint.json")
    }

    /// Returns the folder of the runtime's store, repositories and workspaces (mode 0700).
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }

    /// Returns the folder of the processes' own logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Returns the gateway's settings file.
    #[must_use]
    pub fn gateway_settings(&self) -> PathBuf {
        self.0.join("gateway.toml")
    }

    /// Returns the runtime's settings file.
    #[must_use]
    pub fn runtime_settings(&self) -> PathBuf {
        self.0.join("runtime.toml")
    }

    /// Returns the token that the command line uses when none is named (mode 0600).
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials")
    }
}
