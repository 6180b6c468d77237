//! A job exchanges its token for one of ours that is no wider and lives no longer (RFC 8693).

use serde_json::json;
use tests::client::Response;
use tests::deployment::Deployment;
use tests::issuer::Issuer;
use tests::job::{GITHUB, builder, get, github, job, table, wait_for_keys};

const EXCHANGE: &str = "/api/auth/exchange";

fn form(fields: &[(&str, &str)]) -> String {
    fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

fn exchange(deployment: &Deployment, fields: &[(&str, &str)]) -> Response {
    let client = deployment.client();
    let request = client.request("POST", EXCHANGE);
    let request = request.field("Content-Type", "application/x-www-form-urlencoded");
    request.body(form(fields).as_bytes()).send()
}

const GRANT: (&str, &str) = (
    "grant_type",
    "urn:ietf:params:oauth:grant-type:token-exchange",
);
const KIND: (&str, &str) = ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");

#[test]
fn an_exchange_that_is_not_clear_or_not_good_gives_nothing() {
    let issuer = Issuer::start();
    let deployment = github(&issuer);
    let token = job(&issuer, &json!({}));
    let subject = ("subject_token", token.as_str());
    for (fields, status) in [
        (vec![], 400),
        (vec![GRANT, KIND], 400),
        (vec![GRANT, subject], 400),
        (vec![KIND, subject], 400),
        (
            vec![("grant_type", "client_credentials"), KIND, subject],
            400,
        ),
        (
            vec![
                GRANT,
                (
                    "subject_token_type",
                    "urn:ietf:params:oauth:token-type:saml2",
                ),
                subject,
            ],
            400,
        ),
        (vec![GRANT, KIND, subject, subject], 400),
        (vec![GRANT, KIND, subject, ("actor_token", "x")], 400),
        (vec![GRANT, KIND, subject, ("scope", "superuser")], 400),
        (vec![GRANT, KIND, subject, ("scope", "*")], 403),
        (vec![GRANT, KIND, subject, ("scope", "read%20audit")], 403),
        (vec![GRANT, KIND, ("subject_token", "a.b.c")], 401),
        (vec![GRANT, KIND, ("subject_token", "nonsense")], 401),
    ] {
        let answer = exchange(&deployment, &fields);
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.text());
    }
    let json = deployment
        .client()
        .post(EXCHANGE, &json!({"subject_token": token}));
    assert_eq!(json.status, 400, "{}", json.text());
    let denied = job(&issuer, &json!({"actor": "mallory"}));
    assert_eq!(
        exchange(&deployment, &[GRANT, KIND, ("subject_token", &denied)]).status,
        401
    );
    assert!(!deployment.home().tokens().exists(), "no token was made");
}

#[test]
fn a_job_exchanges_its_token_for_one_that_is_no_wider_and_no_longer() {
    let issuer = Issuer::start();
    let settings = table("github", "github-actions", &issuer, GITHUB);
    let deployment = builder(&settings).with_tokens().start();
    let token = job(&issuer, &json!({}));
    wait_for_keys(&deployment, &token);
    let given = exchange(&deployment, &[GRANT, KIND, ("subject_token", &token)])
        .with_status(200)
        .json();
    assert_eq!(given["token_type"], "Bearer", "{given}");
    assert_eq!(given["scope"], "control write read", "{given}");
    let lives = given["expires_in"].as_u64().unwrap();
    assert!(
        (200..=300).contains(&lives),
        "as long as the job's own token: {given}"
    );
    let raw = given["access_token"].as_str().unwrap().to_owned();
    assert_eq!(get(&deployment, "/metrics", &raw).status, 200);
    let subject = format!("{}#repo:my-org/my-app:ref:refs/heads/main", issuer.url());
    let told = get(&deployment, "/api/auth/whoami", &raw).json();
    assert_eq!(
        (&told["principal"], &told["auth_method"]),
        (&json!(subject), &json!("token"))
    );
    let narrow = exchange(
        &deployment,
        &[GRANT, KIND, ("subject_token", &token), ("scope", "read")],
    );
    assert_eq!(narrow.with_status(200).json()["scope"], "read");
    // The rule's longest life holds although the job's token would live for an hour.
    let mut claims = issuer.claims("x");
    claims["exp"] = (claims["iat"].as_u64().unwrap() + 3_600).into();
    let long = job(&issuer, &json!({"exp": claims["exp"]}));
    let given = exchange(&deployment, &[GRANT, KIND, ("subject_token", &long)])
        .with_status(200)
        .json();
    assert_eq!(given["expires_in"], 600, "{given}");
    let record = deployment
        .audit()
        .until("the exchange is recorded", |record| {
            record["action"] == "token.exchange" && record["phase"] == "outcome"
        });
    assert_eq!(record["details"]["rules"], "deploy", "{record}");
    assert_eq!(
        record["details"]["issuer"],
        issuer.url().as_str(),
        "{record}"
    );
    // All of its issuer are withdrawn together: the job's own token and what it was exchanged for.
    let line = ["enterprise", "token", "revoke", "--issuer", &issuer.url()];
    let _done = deployment.loki(&line).ended_with(0);
    assert_eq!(get(&deployment, "/metrics", &raw).status, 401);
    assert_eq!(get(&deployment, "/metrics", &token).status, 401);
    assert_eq!(
        exchange(&deployment, &[GRANT, KIND, ("subject_token", &token)]).status,
        401
    );
}
