use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    AuthMethod, Caller, SKEW_MS_MAX, Statement, StatementError, StatementKey, VERSION, Verifier,
    WINDOW,
};
use crate::contract::id::{InstanceId, RequestId};
use crate::contract::scope::Role;
use crate::secret::Secret;

const NOW: i64 = 1_800_000_000_000;

fn key(byte: u8) -> StatementKey {
    StatementKey::new(&Secret::new(vec![byte; 32]))
}

fn statement(counter: u64) -> Statement {
    Statement {
        version: VERSION,
        instance: InstanceId::from_random([1; 12]),
        counter,
        issued_at_ms: NOW,
        request_id: RequestId::from_random([2; 20]),
        method: "POST".to_owned(),
        target: "/api/sessions?x=1".to_owned(),
        sole_approver: false,
        caller: Caller {
            user: "token:ci-bot".to_owned(),
            principal: "tok-00000000".to_owned(),
            auth_method: AuthMethod::Token,
            scopes: Role::Operator.scopes(),
            projects: None,
        },
    }
}

fn verifier() -> Verifier {
    Verifier::new(vec![key(1), key(2)], NOW - 60_000)
}

fn verify(verifier: &mut Verifier, header: &str) -> Result<Statement, StatementError> {
    verifier.verify(Some(header.as_bytes()), "POST", "/api/sessions?x=1", NOW)
}

#[test]
fn whoever_lacks_the_key_is_refused() {
    let mut verifier = verifier();
    assert_eq!(
        verifier.verify(None, "POST", "/", NOW),
        Err(StatementError::Missing)
    );
    let good = key(1).sign(&statement(1)).expect("signed");
    let foreign = key(9).sign(&statement(1)).expect("signed");
    assert_eq!(verify(&mut verifier, &foreign), Err(StatementError::BadTag));
    let forged = {
        let mut wider = statement(1);
        wider.caller.scopes = Role::Admin.scopes();
        let text = key(9).sign(&wider).expect("signed");
        let payload = text.split('.').next().expect("payload").to_owned();
        format!("{payload}.{}", good.split('.').nth(1).expect("tag"))
    };
    assert_eq!(verify(&mut verifier, &forged), Err(StatementError::BadTag));
    for text in ["", ".", "a.b.c", "!!.!!", "AAAA"] {
        assert!(verify(&mut verifier, text).is_err(), "{text:?}");
    }
}

#[test]
fn a_statement_about_another_request_is_refused() {
    let mut verifier = verifier();
    let header = key(1).sign(&statement(1)).expect("signed");
    for (method, target) in [("GET", "/api/sessions?x=1"), ("POST", "/api/sessions?x=2")] {
        assert_eq!(
            verifier.verify(Some(header.as_bytes()), method, target, NOW),
            Err(StatementError::OtherRequest)
        );
    }
}

#[test]
fn a_stale_statement_is_refused() {
    for issued_at_ms in [
        NOW - SKEW_MS_MAX - 1,
        NOW + SKEW_MS_MAX + 1,
        i64::MIN,
        i64::MAX,
    ] {
        let mut old = statement(1);
        old.issued_at_ms = issued_at_ms;
        let header = key(1).sign(&old).expect("signed");
        assert_eq!(
            verify(&mut verifier(), &header),
            Err(StatementError::Stale),
            "{issued_at_ms}"
        );
    }
}

#[test]
fn a_statement_from_before_the_start_is_refused() {
    let mut restarted = Verifier::new(vec![key(1)], NOW + 1);
    let header = key(1).sign(&statement(1)).expect("signed");
    assert_eq!(verify(&mut restarted, &header), Err(StatementError::Stale));
}

#[test]
fn a_replayed_statement_is_refused() {
    let mut verifier = verifier();
    let header = key(1).sign(&statement(1)).expect("signed");
    assert_eq!(verify(&mut verifier, &header), Ok(statement(1)));
    assert_eq!(
        verify(&mut verifier, &header),
        Err(StatementError::Replayed)
    );
}

#[test]
fn the_key_before_is_still_accepted() {
    let header = key(2).sign(&statement(1)).expect("signed");
    assert_eq!(verify(&mut verifier(), &header), Ok(statement(1)));
}

proptest! {
    #[test]
    fn each_counter_is_accepted_at_most_once(counters in proptest::collection::vec(0_u64..20_000, 1..300)) {
        let mut verifier = verifier();
        let mut taken = BTreeSet::new();
        for counter in counters {
            let header = key(1).sign(&statement(counter)).expect("signed");
            let accepted = verify(&mut verifier, &header).is_ok();
            let highest = taken.last().copied().unwrap_or(0);
            let fresh = !taken.contains(&counter) && (counter > highest || highest - counter < WINDOW);
            prop_assert_eq!(accepted, fresh, "{}", counter);
            if accepted {
                taken.insert(counter);
            }
        }
    }
}
