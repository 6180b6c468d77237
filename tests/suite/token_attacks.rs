//! Forged, damaged and misused JSON Web Tokens: the list is `tests/attacks/tokens.toml`. Each is 401
//! without a word about the cause, leaves one record with the true one, and makes the gateway ask nobody.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use tests::deployment::Deployment;
use tests::forge::{Forge, base64url};
use tests::issuer::Issuer;
use tests::poll;
use tests::programs;

/// Claims with nothing wrong.
const GOOD: &str =
    r#"{"iss":"{ISSUER}","aud":"client","sub":"alice","exp":{NOW+300},"iat":{NOW-10}}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    attack: Vec<Attack>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    why: String,
    signer: Option<String>,
    #[serde(default)]
    kind: Kind,
    header: Option<String>,
    payload: Option<String>,
    token: Option<String>,
    reason: String,
}

/// What an issuer's tokens are.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Id,
    Access,
}

impl Kind {
    /// A header with nothing wrong.
    const fn header(self) -> &'static str {
        match self {
            Self::Id => r#"{"alg":"EdDSA","kid":"ed"}"#,
            Self::Access => r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#,
        }
    }
}

fn attacks() -> Vec<Attack> {
    let path = programs::project().join("tests/attacks/tokens.toml");
    let text = fs::read_to_string(path).expect("the list");
    let list: List = toml::from_str(&text).expect("a list of tokens");
    assert!(list.attack.len() > 140, "{}", list.attack.len());
    list.attack
}

/// A gateway that knows one issuer of each kind, all with the same keys.
struct Target {
    deployment: Deployment,
    forge: Forge,
    id: Issuer,
    access: Issuer,
    /// A server that is named in tokens, and must never be asked.
    elsewhere: TcpListener,
}

impl Target {
    fn new() -> Self {
        let forge = Forge::new();
        let [id, access] = [(); 2].map(|()| Issuer::publishing(forge.key_set()));
        // Forwarded addresses are believed, so that each attack comes from an address of its own:
        // neither the penalty of one address nor the bound of its records hides what is judged here.
        let settings = format!(
            "[listen]\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
             [oidc]\nallow_loopback_http = true\n\
             [[oidc.issuers]]\nname = \"services\"\nurl = \"{}\"\naudiences = [\"client\"]\n\
             token_kind = \"access\"\nallow_loopback_http = true\n\
             [[oidc.issuers.rules]]\nname = \"all\"\nany_account = true\nrole = \"viewer\"\n",
            access.url()
        );
        let deployment = Deployment::builder()
            .without_runtime()
            .with_tokens()
            .with_variable("LOKI_OIDC_ISSUER", &id.url())
            .with_variable("LOKI_OIDC_CLIENT_ID", "client")
            .with_gateway_settings(&settings)
            .start();
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
        elsewhere.set_nonblocking(true).expect("a plain socket");
        Self {
            deployment,
            forge,
            id,
            access,
            elsewhere,
        }
    }

    /// Returns a token with this header and payload, in which the words of the list are replaced.
    fn token(&self, kind: Kind, signer: &str, header: &str, payload: &str) -> String {
        let [header, payload] = [header, payload].map(|text| {
            let text = self.with_names(kind, text);
            base64url(with_times(&text).as_bytes())
        });
        let message = format!("{header}.{payload}");
        format!("{message}.{}", self.forge.sign(signer, &message))
    }

    fn good(&self, kind: Kind) -> String {
        self.token(kind, "ed", kind.header(), GOOD)
    }

    fn of(&self, attack: &Attack) -> String {
        let signer = attack.signer.as_deref().unwrap_or("ed");
        let header = attack.header.as_deref().unwrap_or(attack.kind.header());
        let payload = attack.payload.as_deref().unwrap_or(GOOD);
        let token = self.token(attack.kind, signer, header, payload);
        match &attack.token {
            None => token,
            Some(damage) => {
                let other = GOOD.replace("alice", "bob");
                let other = self.token(attack.kind, "ed", header, &other);
                damaged(damage, &token, &other)
            }
        }
    }

    fn with_names(&self, kind: Kind, text: &str) -> String {
        let issuer = match kind {
            Kind::Id => self.id.url(),
            Kind::Access => self.access.url(),
        };
        let host = issuer.trim_start_matches("http://");
        let elsewhere = self.elsewhere.local_addr().expect("an address");
        text.replace("{ISSUER_IN_CAPITALS}", &issuer.to_uppercase())
            .replace("{ISSUER}", &issuer)
            .replace("{HOST}", host)
            .replace("{ELSEWHERE}", &format!("http://{elsewhere}"))
    }

    /// The status and the request's id that a token gets at an address.
    fn bring(&self, token: &str, address: &str) -> (u16, String, String) {
        let client = self.deployment.client().with_token(token);
        let request = client.request("GET", "/metrics");
        let answer = request.field("X-Forwarded-For", address).send();
        let id = answer.field("x-request-id").unwrap_or_default().to_owned();
        (answer.status, id, answer.text().to_owned())
    }

    fn assert_good_tokens_pass(&self) {
        for kind in [Kind::Id, Kind::Access] {
            poll::until("the issuer's keys are known", || {
                let (status, _, _) = self.bring(&self.good(kind), "10.0.0.1");
                (status == 200).then_some(())
            });
        }
        for (signer, header) in [
            ("rs256", r#"{"alg":"RS256","kid":"rs"}"#),
            ("ps256", r#"{"alg":"PS256","kid":"rs"}"#),
            ("es256", r#"{"alg":"ES256","kid":"es","typ":"JWT"}"#),
            ("ed", r#"{"alg":"EdDSA"}"#),
            // What a header says about keys is not looked at.
            (
                "ed",
                r#"{"alg":"EdDSA","kid":"ed","jku":"{ELSEWHERE}/","x5u":"{ELSEWHERE}/"}"#,
            ),
        ] {
            let token = self.token(Kind::Id, signer, header, GOOD);
            let (status, _, text) = self.bring(&token, "10.0.0.1");
            assert_eq!(status, 200, "{header}: {text}");
        }
    }
}

/// Replaces `{NOW}`, `{NOW+300}` and `{NOW-10}` by seconds.
fn with_times(text: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a time after 1970").as_secs();
    let mut parts = text.split("{NOW");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (offset, rest) = part.split_once('}').expect("a closed brace");
        let offset: i64 = if offset.is_empty() {
            0
        } else {
            offset.parse().expect("seconds")
        };
        whole.push_str(&now.checked_add_signed(offset).expect("a time").to_string());
        whole.push_str(rest);
    }
    whole
}

/// Builds a damaged token from the parts of a good one, and of another good one.
fn damaged(template: &str, token: &str, other: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("three parts: {token}");
    };
    let (_, other_signature) = other.rsplit_once('.').expect("parts");
    template
        .replace("{TOKEN}", token)
        .replace("{HEADER}", header)
        .replace("{PAYLOAD}", payload)
        .replace("{SIGNATURE}", signature)
        .replace("{OTHER_SIGNATURE}", other_signature)
        .replace("{SIGNATURE_CUT}", &signature[..signature.len() - 2])
        .replace("{SIGNATURE_WITH_OTHER_BITS}", &other_bits(signature))
        .replace("{16_KIB}", &"A".repeat(16 * 1024))
}

/// The last letter of 64 bytes carries 4 bits that mean nothing; another value of them makes another
/// text of the same signature.
fn other_bits(signature: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = signature.split_at(signature.len() - 1);
    let value = ALPHABET.find(last).expect("base64url");
    let other = &ALPHABET[value | 1..][..1];
    assert_ne!(last, other, "the bits were zero");
    format!("{rest}{other}")
}

#[test]
fn each_attack_is_401_and_leaves_one_record_with_the_true_reason() {
    let mut target = Target::new();
    target.assert_good_tokens_pass();
    let mut expected = HashMap::new();
    let mut told = None;
    for (number, attack) in attacks().into_iter().enumerate() {
        let address = format!("10.1.{}.{}", number / 200, number % 200 + 1);
        let (status, id, text) = target.bring(&target.of(&attack), &address);
        assert_eq!(status, 401, "{}: {text}", attack.why);
        // The caller is told the same whatever is wrong.
        let mut problem: Value = serde_json::from_str(&text).expect("JSON");
        problem["request_id"] = Value::Null;
        assert_eq!(
            problem,
            *told.get_or_insert(problem.clone()),
            "{}",
            attack.why
        );
        assert_eq!(problem["type"], "urn:loki:problem:bad_credential");
        let before = expected.insert(id, (attack, address));
        assert!(before.is_none(), "each request has an id of its own");
    }
    target.assert_good_tokens_pass();
    let nobody = target.elsewhere.accept().map_err(|error| error.kind());
    assert!(
        matches!(nobody, Err(ErrorKind::WouldBlock)),
        "somebody asked a server that a token names: {nobody:?}"
    );
    // What is recorded asynchronously is on disk when the gateway has ended.
    assert_eq!(target.deployment.stop_gateway(), Some(0));
    assert_one_true_record_each(&target.deployment.audit().records(), expected);
}

/// Each attack has one record, and it says why; nothing was counted instead of recorded.
fn assert_one_true_record_each(records: &[Value], mut expected: HashMap<String, (Attack, String)>) {
    let mut wrong = Vec::new();
    for record in records {
        assert_eq!(record["details"]["suppressed"], Value::Null, "{record}");
        let id = record["request_id"].as_str().unwrap_or_default();
        let Some((attack, address)) = expected.remove(id) else {
            let failed = record["action"] == "auth.failure";
            assert!(!failed, "a second record, or of nobody: {record}");
            continue;
        };
        let true_reason = record["details"]["detail"] == attack.reason.as_str()
            && record["details"]["reason"] == "bad_credential"
            && record["action"] == "auth.failure"
            && record["outcome"] == "denied"
            && record["status"] == 401
            && record["user"] == "anonymous"
            && record["ip"] == address.as_str();
        if !true_reason {
            wrong.push(format!("{}: not {}: {record}", attack.why, attack.reason));
        }
    }
    let missing: Vec<String> = expected.into_values().map(|(a, _)| a.why).collect();
    assert!(missing.is_empty(), "without a record: {missing:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
