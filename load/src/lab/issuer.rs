//! A small OpenID Connect issuer on loopback, whose key can change, and its tokens.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::moment;

/// The audience of every token.
pub(crate) const AUDIENCE: &str = "loki-load";

/// How long tokens live, in seconds.
const LIFETIME_SECONDS: u64 = 7_200;

/// A running issuer; its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Issuer {
    address: SocketAddr,
    published: Arc<Mutex<Vec<Value>>>,
}

/// A key of the issuer.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    id: String,
    /// Prints nothing of itself.
    pair: Arc<KeyPair>,
    public: Value,
    pem: String,
}

impl Key {
    /// Makes an RSA key of 2,048 bits.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn generate(id: &str) -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .ok()
            .context("cannot make an RSA key")?;
        let public: PublicKeyX509Der<'_> = pair
            .public_key()
            .as_der()
            .ok()
            .context("cannot write a public key")?;
        let (modulus, exponent) = numbers(pair.public_key().as_ref()).context("no RSA key")?;
        let jwk = json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent),
        });
        Ok(Self {
            id: id.to_owned(),
            public: jwk,
            pem: pem("PUBLIC KEY", public.as_ref()),
            pair: Arc::new(pair),
        })
    }

    /// Returns the public half (PEM).
    pub(crate) fn public_pem(&self) -> &str {
        &self.pem
    }

    /// Returns the public half as a set of keys (RFC 7517).
    pub(crate) fn set(&self) -> Value {
        json!({"keys": [self.public]})
    }

    /// Returns so many different tokens, signed on all processors.
    ///
    /// # Errors
    /// When one cannot be signed.
    pub(crate) fn tokens(&self, issuer: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = count.div_ceil(threads);
        let made: Vec<anyhow::Result<Vec<String>>> = thread::scope(|scope| {
            let signers: Vec<_> = (0..threads)
                .map(|thread| {
                    let numbers = thread * share..((thread + 1) * share).min(count);
                    scope.spawn(move || numbers.map(|number| self.token(issuer, number)).collect())
                })
                .collect();
            signers
                .into_iter()
                .map(|signer| match signer.join() {
                    Ok(tokens) => tokens,
                    Err(_) => Err(anyhow::anyhow!("a signing thread failed")),
                })
                .collect()
        });
        Ok(made
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()?
            .concat())
    }

    fn token(&self, issuer: &str, number: usize) -> anyhow::Result<String> {
        let now = moment::now_seconds();
        let claims = json!({
            "iss": issuer, "aud": AUDIENCE, "sub": format!("bot-{}", number % 64),
            "iat": now, "nbf": now, "exp": now + LIFETIME_SECONDS, "jti": format!("{number:012}"),
            "email": format!("bot-{}@example.org", number % 64), "email_verified": true,
            "scope": "read",
        });
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.id});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                message.as_bytes(),
                &mut signature,
            )
            .ok()
            .context("cannot sign a token")?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Returns modulus and exponent of an RSA public key (RFC 8017, appendix A.1.1).
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (inside, _) = element(der, SEQUENCE)?;
    let (modulus, rest) = element(inside, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    // A leading zero only says that the number is positive.
    Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent))
}

/// Takes one element of this tag off; returns its content and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

impl Issuer {
    /// Starts an issuer that publishes one key.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) fn start(key: &Key) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let published = Arc::new(Mutex::new(vec![key.public.clone()]));
        let shared = Arc::clone(&published);
        thread::Builder::new()
            .name("issuer".to_owned())
            .spawn(move || serve(&listener, address, &shared))?;
        Ok(Self { address, published })
    }

    /// Returns the issuer's URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/main", self.address)
    }

    /// Returns the URL of a further issuer, which signs nothing here.
    pub(crate) fn other_url(&self, number: usize) -> String {
        format!("http://{}/other-{number}", self.address)
    }

    /// Returns what publishes a further key when it is called.
    pub(crate) fn publisher(&self, key: &Key) -> Box<dyn FnOnce() + Send> {
        let published = Arc::clone(&self.published);
        let key = key.public.clone();
        Box::new(move || {
            let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
            published.push(key);
        })
    }
}

fn serve(listener: &TcpListener, address: SocketAddr, published: &Mutex<Vec<Value>>) {
    for stream in listener.incoming().flatten() {
        // Whoever hangs up early harms nobody but itself.
        drop(answer(stream, address, published));
    }
}

fn answer(
    mut stream: TcpStream,
    address: SocketAddr,
    published: &Mutex<Vec<Value>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let name = first.split('/').nth(1).unwrap_or_default();
    let url = format!("http://{address}/{name}");
    let body = if first.contains("/keys") {
        let published = published.lock().unwrap_or_else(PoisonError::into_inner);
        json!({"keys": *published})
    } else {
        json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
    }
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}
