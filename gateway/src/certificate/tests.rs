use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use config::gateway::tls::Pair;
use rcgen::{CertificateParams, KeyPair};

use super::{CertificateError, load};

fn pair(directory: &Path, name: &str) -> Pair {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 12, 31);
    let certificate = params.self_signed(&key).expect("certificate");
    let tls = Pair {
        certificate: directory.join(format!("{name}-cert.pem")),
        key: directory.join(format!("{name}-key.pem")),
    };
    fs::write(&tls.certificate, certificate.pem()).expect("write");
    fs::write(&tls.key, key.serialize_pem()).expect("write");
    set_mode(&tls.key, 0o600);
    tls
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("time")
}

#[test]
fn an_unusable_pair_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let one = pair(directory.path(), "one");
    let two = pair(directory.path(), "two");
    let mixed = Pair {
        certificate: one.certificate.clone(),
        key: two.key,
    };
    assert!(matches!(
        load(&mixed, now()),
        Err(CertificateError::Mismatch { .. })
    ));
    let late = now() + TimeDelta::days(365);
    assert!(matches!(
        load(&one, late),
        Err(CertificateError::Expired { .. })
    ));
    let early = now() - TimeDelta::days(365);
    assert!(matches!(
        load(&one, early),
        Err(CertificateError::NotYetValid { .. })
    ));
    let absent = Pair {
        certificate: directory.path().join("absent"),
        key: one.key.clone(),
    };
    assert!(matches!(
        load(&absent, now()),
        Err(CertificateError::Unreadable { .. })
    ));
    let swapped = Pair {
        certificate: one.key.clone(),
        key: one.key.clone(),
    };
    assert!(matches!(
        load(&swapped, now()),
        Err(CertificateError::NotPem { .. })
    ));
    fs::write(&two.certificate, "nonsense").expect("write");
    let nonsense = Pair {
        certificate: two.certificate,
        key: one.key,
    };
    assert!(matches!(
        load(&nonsense, now()),
        Err(CertificateError::NotPem { .. })
    ));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let tls = pair(directory.path(), "one");
    for mode in [0o644, 0o604, 0o660, 0o602] {
        set_mode(&tls.key, mode);
        assert!(
            matches!(load(&tls, now()), Err(CertificateError::KeyTooOpen { .. })),
            "{mode:o}"
        );
    }
    for mode in [0o600, 0o400, 0o640] {
        set_mode(&tls.key, mode);
        assert!(load(&tls, now()).is_ok(), "{mode:o}");
    }
}
