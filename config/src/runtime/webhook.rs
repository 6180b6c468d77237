//! Whom the runtime tells that something waits for a person.

use std::path::PathBuf;

use crate::load::{Key, Reader};

/// The receiver of notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Whether it is spoken with in TLS.
    pub tls: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path that is posted to, with the query.
    pub path: String,
    /// The file with the key that notices are signed with.
    pub key_file: PathBuf,
    /// Where people reach the gateway; a notice names the approval below it.
    pub link: String,
}

pub(super) fn webhook(reader: &mut Reader) -> Option<Webhook> {
    let mut read = |key: &'static str| reader.value(&Key::new(key), String::new());
    let url = read("approvals.webhook.url");
    let key_file = read("approvals.webhook.key_file");
    let link = read("approvals.webhook.link");
    if url.is_empty() {
        for (key, value) in [
            ("approvals.webhook.key_file", &key_file),
            ("approvals.webhook.link", &link),
        ] {
            if !value.is_empty() {
                reader.mistake(key, "means nothing without approvals.webhook.url");
            }
        }
        return None;
    }
    let Some((tls, host, port, path)) = parts(&url) else {
        reader.mistake(
            "approvals.webhook.url",
            format!("{url:?} is no http or https address, such as https://hooks.example.org/loki"),
        );
        return None;
    };
    if !key_file.starts_with('/') {
        let why = "names no file: notices are signed, so set the absolute path of a key";
        reader.mistake("approvals.webhook.key_file", why);
    }
    if parts(&link).is_none() {
        let why =
            "is no address at which people reach the gateway, such as https://loki.example.org";
        reader.mistake("approvals.webhook.link", why);
    }
    Some(Webhook {
        tls,
        host,
        port,
        path,
        key_file: key_file.into(),
        link: link.trim_end_matches('/').to_owned(),
    })
}

fn parts(url: &str) -> Option<(bool, String, u16, String)> {
    let (tls, rest) = match url.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let lawful = |sign: char| sign.is_ascii_graphic() && !"@#\\\"'<>".contains(sign);
    if !rest.chars().all(lawful) {
        return None;
    }
    let (authority, path) = rest
        .find(['/', '?'])
        .map_or((rest, ""), |start| rest.split_at(start));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        Some(_) | None => (authority, if tls { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    (!host.is_empty() && port > 0).then(|| (tls, host.to_owned(), port, path))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_more() {
        let check = |url: &str, expected: Option<(bool, &str, u16, &str)>| {
            let expected = expected
                .map(|(tls, host, port, path)| (tls, host.to_owned(), port, path.to_owned()));
            assert_eq!(parts(url), expected, "{url}");
        };
        for wrong in [
            "",
            "hooks.example.org",
            "ftp://x/",
            "https://",
            "http://:80/",
            "http://x:port/",
            "http://x:0/",
            "http://user@x/",
            "http://x/ y",
            "http://x/\r\nHost: y",
        ] {
            check(wrong, None);
        }
        check("https://x", Some((true, "x", 443, "/")));
        check("http://x:81/a?b=c", Some((false, "x", 81, "/a?b=c")));
        check("http://[::1]:81", Some((false, "::1", 81, "/")));
        check("http://[::1]/a", Some((false, "::1", 80, "/a")));
    }
}
