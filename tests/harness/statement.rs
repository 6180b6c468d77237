//! Caller statements made outside the gateway, by whoever holds the key file.

use chrono::Utc;
use config::contract::caller::{AuthMethod, Caller, Statement, StatementKey, VERSION};
use config::contract::id::{InstanceId, RequestId};
use config::contract::scope::Role;
use config::home::Home;
use config::secret::{self, Secret};

/// Returns the key that both processes share.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn shared_key(home: &Home) -> StatementKey {
    let keys = secret::load_or_create_keys(&home.statement_key()).expect("a key file");
    StatementKey::new(&keys[0])
}

/// Returns a key that nobody shares.
#[must_use]
pub fn foreign_key() -> StatementKey {
    StatementKey::new(&Secret::new(vec![7; secret::KEY_BYTES]))
}

/// Returns a good statement about a request, of a gateway run of its own.
#[must_use]
pub fn good(run: u8, counter: u64, method: &str, target: &str) -> Statement {
    Statement {
        version: VERSION,
        instance: InstanceId::from_random([run; InstanceId::RANDOM_BYTES]),
        counter,
        issued_at_ms: Utc::now().timestamp_millis(),
        request_id: RequestId::from_random([run; RequestId::RANDOM_BYTES]),
        method: method.to_owned(),
        target: target.to_owned(),
        sole_approver: false,
        caller: Caller {
            user: "token:suite".to_owned(),
            principal: "tok-00000000".to_owned(),
            auth_method: AuthMethod::Token,
            scopes: Role::Admin.scopes(),
            projects: None,
        },
    }
}
