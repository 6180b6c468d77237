//! What the steps of a request cost: finding a token, checking a signature, writing a record, and
//! proving the chain of records.
//!
//! `cargo bench -p gateway --bench request`
#![expect(clippy::expect_used, reason = "a bench ends at its first failure")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use config::contract::caller::{AuthMethod, Caller, StatementKey, StatementParts, VERSION};
use config::contract::id::{InstanceId, RequestId, TokenId};
use config::contract::scope::Scopes;
use config::home::Home;
use config::private;
use config::secret::Secret;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway::audit::Audit;
use gateway::audit::record::{Draft, Outcome, Phase};
use gateway::audit::verify;
use gateway::jws_verify;
use gateway::tokens::format::FreshToken;
use gateway::tokens::index::Index;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::json;

criterion_group!(benches, token, jwt, statement, audit);
criterion_main!(benches);

/// Records in the trail that is proven.
const RECORDS: usize = 50_000;

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Finds one token among few and among many.
fn token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for count in [1_usize, 1_000, 100_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(folder.path().join("home"));
        let tokens: Vec<FreshToken> = (0..count)
            .map(|_| FreshToken::generate().expect("a token"))
            .collect();
        store(&home, &tokens);
        let index = Index::load(&home).expect("the tokens are read");
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("find", count), |bencher| {
            bencher.iter(|| {
                // A prime step: neighbours in the file are no neighbours in time.
                turn = (turn + 7_919) % count;
                index
                    .credential(
                        &tokens[turn].raw(),
                        Ipv4Addr::LOCALHOST.into(),
                        DateTime::UNIX_EPOCH,
                    )
                    .is_ok()
            });
        });
    }
    group.finish();
}

fn store(home: &Home, tokens: &[FreshToken]) {
    let records: Vec<String> = tokens
        .iter()
        .enumerate()
        .map(|(number, token)| {
            let record = json!({
                "id": format!("tok-{number:08}"), "name": format!("bot-{number}"),
                "sha256": token.raw().digest(), "scopes": ["read"],
                "created_at": DateTime::<Utc>::UNIX_EPOCH, "created_by": "local:bench",
            });
            record.to_string()
        })
        .collect();
    let text = format!("{{\"version\":1,\"tokens\":[{}]}}", records.join(","));
    private::create_closed_directory(home.directory()).expect("a data directory");
    private::create_closed_directory(&home.dashboard()).expect("a folder of tokens");
    private::replace_file(&home.tokens(), text.as_bytes()).expect("a token file");
}

/// Takes a JSON Web Token apart and checks its signature, its key's JSON included.
fn jwt(criterion: &mut Criterion) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(json!({"alg": "EdDSA", "kid": "k"}).to_string());
    let claims = json!({"iss": "https://issuer.example", "aud": "us", "sub": "bot", "exp": 1});
    let message = format!("{header}.{}", encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()).expect("a signature"));
    let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let line = json!({
        "jwk": {"kty": "OKP", "crv": "Ed25519", "kid": "k", "use": "sig", "x": x},
        "jws": format!("{message}.{signature}"),
    });
    let line = format!("{line}\n");
    criterion.bench_function("jwt/verify EdDSA", |bencher| {
        bencher.iter(|| {
            let mut verdict = Vec::new();
            jws_verify::run(line.as_bytes(), &mut verdict).expect("a verdict");
            assert_eq!(verdict, b"accept\n");
        });
    });
}

/// States a caller to the runtime.
fn statement(criterion: &mut Criterion) {
    let key = StatementKey::new(&Secret::new(vec![7; 32]));
    let caller = Caller {
        user: "token:ci-bot".to_owned(),
        principal: "tok-Ab3dEf6h".to_owned(),
        auth_method: AuthMethod::Token,
        scopes: Scopes::NONE,
        projects: None,
    };
    let instance = InstanceId::from_random([7; 12]);
    let request_id = RequestId::from_random([7; 20]);
    criterion.bench_function("statement/sign", |bencher| {
        bencher.iter(|| {
            key.sign(StatementParts {
                version: VERSION,
                instance: &instance,
                counter: 1,
                issued_at_ms: 1_800_000_000_000,
                request_id: &request_id,
                method: "GET",
                target: black_box("/api/status"),
                sole_approver: false,
                caller: &caller,
            })
            .is_ok()
        });
    });
}

/// Writes a record into the queue, and proves the chain of many.
fn audit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(folder.path().join("home"));
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an executor");
    let audit = Audit::open(&home, true, 8_192).expect("an audit trail");
    let request = RequestId::from_random([7; 20]);
    let token = TokenId::from_random([7; 8]);
    let draft = || Draft {
        user: "token:ci-bot",
        resource: "session:sess-0123456789ab",
        ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        request_id: Some(&request),
        status: Some(200),
        auth_method: Some(AuthMethod::Token),
        token_id: Some(&token),
        user_agent: Some(AGENT),
        ..Draft::new("session.show", Phase::End, Outcome::Done)
    };
    let mut group = criterion.benchmark_group("audit");
    // With the time in which the writer numbers, chains and writes it: the queue is bounded.
    group.bench_function("record", |bencher| {
        bencher.iter(|| executor.block_on(audit.later(draft())));
    });
    executor.block_on(async {
        for _ in 0..RECORDS {
            audit.later(draft()).await;
        }
        audit.close().await.expect("the records are written");
    });
    let bytes: u64 = std::fs::read_dir(home.audit())
        .expect("audit files")
        .map(|file| {
            file.and_then(|file| file.metadata())
                .map_or(0, |data| data.len())
        })
        .sum();
    group.throughput(Throughput::Bytes(bytes));
    group.sample_size(10);
    group.bench_function("prove the chain", |bencher| {
        bencher.iter(|| {
            let trust = verify::Trust::in_keys_of(&home).expect("the keys");
            verify::verify(&home, &trust).expect("a report")
        });
    });
    group.finish();
}
