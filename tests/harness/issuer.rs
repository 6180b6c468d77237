//! A small OpenID Connect issuer on loopback: discovery, a key set, and tokens of every kind,
//! honest or not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

/// A running issuer; it ends when dropped.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    key: Key,
    published: Option<Value>,
    keys_asked: usize,
    away: bool,
    /// What it answers to a target instead of the truth, byte for byte.
    lies: BTreeMap<String, String>,
    /// How far its clock is before ours, in seconds.
    ahead: i64,
    over: bool,
}

#[derive(Debug)]
struct Key {
    id: String,
    pair: KeyPair,
}

impl Key {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            pair: KeyPair::generate_for(&PKCS_ED25519).expect("a key"),
        }
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::start()
    }
}

impl Issuer {
    /// Starts an issuer with one key.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        Self::begin(None)
    }

    /// Starts an issuer that publishes this key set; whoever made the keys signs its tokens.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn publishing(key_set: Value) -> Self {
        Self::begin(Some(key_set))
    }

    fn begin(published: Option<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            key: Key::new("first"),
            published,
            keys_asked: 0,
            away: false,
            lies: BTreeMap::new(),
            ahead: 0,
            over: false,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || serve(&listener, address, &shared));
        Self { address, state }
    }

    /// Returns the issuer's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns where its keys are.
    #[must_use]
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url())
    }

    /// Replaces the key by a new one.
    pub fn rotate(&self, id: &str) {
        self.state().key = Key::new(id);
    }

    /// Lets every connection fail from now on, or answers again.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// Answers these bytes to a target from now on.
    pub fn lie(&self, target: &str, answer: &str) {
        let target = target.to_owned();
        self.state().lies.insert(target, answer.to_owned());
    }

    /// Answers the truth again.
    pub fn repent(&self) {
        self.state().lies.clear();
    }

    /// Sets its clock so many seconds before ours; negative is behind.
    pub fn set_clock(&self, ahead: i64) {
        self.state().ahead = ahead;
    }

    /// Returns how often the key set was asked for.
    #[must_use]
    pub fn keys_asked(&self) -> usize {
        self.state().keys_asked
    }

    /// Returns claims with nothing wrong, for the client `client`.
    #[must_use]
    pub fn claims(&self, subject: &str) -> Value {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time after 1970")
            .as_secs();
        json!({
            "iss": self.url(), "aud": "client", "sub": subject,
            "iat": now - 5, "exp": now + 300,
        })
    }

    /// Returns a good token.
    #[must_use]
    pub fn token(&self, subject: &str) -> String {
        self.token_of(&self.claims(subject), &json!({}))
    }

    /// Returns a token with these claims, signed with the present key; `header` overrides members.
    ///
    /// # Panics
    /// When it cannot be signed.
    #[must_use]
    pub fn token_of(&self, claims: &Value, header: &Value) -> String {
        let state = self.state();
        let mut all = json!({"alg": "EdDSA", "kid": state.key.id});
        for (name, value) in header.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&all), encode(claims));
        let signature = state
            .key
            .pair
            .sign(message.as_bytes())
            .expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.state().over = true;
        // Wakes the thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(listener: &TcpListener, address: SocketAddr, state: &Mutex<State>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let over = state.lock().unwrap_or_else(PoisonError::into_inner).over;
        if over {
            return;
        }
        // Whoever hangs up early harms nobody but itself.
        drop(answer(stream, address, state));
    }
}

fn answer(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.away {
        return Ok(());
    }
    let target = first.split(' ').nth(1);
    if let Some(lie) = target.and_then(|target| state.lies.get(target)) {
        return stream.write_all(lie.as_bytes());
    }
    let body = match target {
        Some("/.well-known/openid-configuration") => {
            let url = format!("http://{address}");
            json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
        }
        Some("/keys") => {
            state.keys_asked += 1;
            state.published.clone().unwrap_or_else(|| {
                let x = URL_SAFE_NO_PAD.encode(state.key.pair.public_key_raw());
                json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig",
                    "kid": state.key.id, "x": x}]})
            })
        }
        _ => json!({}),
    };
    let date = chrono::Utc::now() + chrono::TimeDelta::seconds(state.ahead);
    drop(state);
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         date: {}\r\nconnection: close\r\n\r\n{body}",
        body.len(),
        date.format("%a, %d %b %Y %H:%M:%S GMT")
    )
}
