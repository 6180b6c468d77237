//! Which pair a client gets: by the name that it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::ServerCertificate;

/// The pairs by name; the main one for everybody else.
#[derive(Debug)]
pub(super) struct ByName {
    main: Option<Arc<CertifiedKey>>,
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// Takes the pairs, the main one first; of two that have a name the earlier gets it.
    pub(super) fn new(pairs: &[ServerCertificate]) -> Self {
        let mut names = HashMap::new();
        for pair in pairs {
            for name in &pair.names {
                names
                    .entry(name.clone())
                    .or_insert_with(|| Arc::clone(&pair.key));
            }
        }
        Self {
            main: pairs.first().map(|pair| Arc::clone(&pair.key)),
            names,
        }
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let found = name.map(str::to_ascii_lowercase).and_then(|name| {
            let (_, parent) = name.split_once('.').unwrap_or_default();
            self.names
                .get(&name)
                .or_else(|| self.names.get(&format!("*.{parent}")))
        });
        found.or(self.main.as_ref()).map(Arc::clone)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// Returns the DNS names of a certificate, in small letters.
pub(super) fn of(leaf: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(leaf) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names
        .value
        .general_names
        .iter()
        .filter_map(|name| {
            let GeneralName::DNSName(name) = name else {
                return None;
            };
            Some(name.to_ascii_lowercase())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::sign::CertifiedKey;

    use super::{ByName, ServerCertificate, of};

    fn pair(names: &[&str]) -> ServerCertificate {
        let key = KeyPair::generate().expect("key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let leaf = params.self_signed(&key).expect("certificate").der().clone();
        let names = of(&leaf);
        let secret = PrivateKeyDer::try_from(key.serialize_der()).expect("key");
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(vec![leaf], secret, &provider).expect("pair");
        ServerCertificate {
            key: Arc::new(key),
            names,
            leaf_sha256: String::new(),
        }
    }

    #[test]
    fn the_name_decides_and_a_stranger_gets_the_main_pair() {
        let pairs = [
            pair(&["main.example.org"]),
            pair(&["api.example.org", "*.agents.example.org"]),
        ];
        let by_name = ByName::new(&pairs);
        let check = |name: Option<&str>, expected: usize| {
            let found = by_name.find(name).expect("a pair");
            assert!(Arc::ptr_eq(&found, &pairs[expected].key), "{name:?}");
        };
        check(None, 0);
        check(Some("main.example.org"), 0);
        check(Some("other.example.org"), 0);
        check(Some("agents.example.org"), 0);
        check(Some("a.b.agents.example.org"), 0);
        check(Some("api.example.org"), 1);
        check(Some("API.Example.org"), 1);
        check(Some("one.agents.example.org"), 1);
        assert!(ByName::new(&[]).find(Some("x")).is_none());
    }
}
