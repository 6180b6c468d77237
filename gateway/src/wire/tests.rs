use proptest::prelude::*;

use super::{Bounds, Fault, Waits, Wire};

const BOUNDS: Bounds = Bounds {
    bytes_max: 4_096,
    fields_max: 20,
    target_bytes_max: 1_024,
};

fn pass(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut passed = Vec::new();
    Wire::new(BOUNDS).take(bytes, &mut passed).map(|()| passed)
}

#[test]
fn ambiguous_bytes_never_pass() {
    let cases: &[&str] = &[
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET status HTTP/1.1\r\nHost: a\r\n\r\n",
        "get / HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX_Y: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{0}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for case in cases {
        assert!(
            matches!(pass(case.as_bytes()), Err(Fault::Malformed(_))),
            "{case:?}"
        );
    }
}

#[test]
fn ambiguous_chunks_never_pass() {
    for body in [
        "\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "1\r\naX\r\n",
        "1\r\na\n0\r\n\r\n",
        "1;x=y\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n",
        "0x1\r\na\r\n",
        "-1\r\na\r\n",
        "g\r\n",
        "1\r\na\r\n0\r\nTrailer: x\r\n\r\n",
        "1000000000000\r\n",
        "2\r\na\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let bytes = format!("{head}{body}");
        assert!(
            matches!(pass(bytes.as_bytes()), Err(Fault::Malformed(_))),
            "{body:?}"
        );
    }
}

#[test]
fn what_is_over_a_bound_never_passes() {
    let fill = |length: usize| "x".repeat(length);
    let endless = format!("GET / HTTP/1.1\r\nX: {}", fill(5_000));
    assert_eq!(pass(endless.as_bytes()), Err(Fault::HeadTooLong));
    let fields = "X: y\r\n".repeat(21);
    let many = format!("GET / HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(pass(many.as_bytes()), Err(Fault::HeadTooLong));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", fill(1_024));
    assert_eq!(pass(target.as_bytes()), Err(Fault::TargetTooLong));
}

#[test]
fn a_second_request_hidden_in_a_body_is_a_body() {
    let hidden = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let mut wire = Wire::new(BOUNDS);
    let mut passed = Vec::new();
    assert_eq!(wire.take(bytes.as_bytes(), &mut passed), Ok(()));
    assert_eq!(passed, bytes.as_bytes());
    assert_eq!(wire.waits(), Waits::Idle);
}

fn sound_requests() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        Just(b"GET /api/status?x=1 HTTP/1.1\r\nHost: a:1\r\nAccept: */*\r\n\r\n".to_vec()),
        Just(b"HEAD / HTTP/1.0\r\nhost: a\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..200).prop_map(|body| {
            let mut bytes = format!(
                "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            bytes.extend(body);
            bytes
        }),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5).prop_map(
            |chunks| {
                let mut bytes =
                    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for chunk in chunks {
                    bytes.extend(format!("{:X}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
                bytes
            }
        ),
    ];
    proptest::collection::vec(request, 1..5).prop_map(|requests| requests.concat())
}

proptest! {
    #[test]
    fn sound_requests_pass_unchanged_however_they_are_cut(
        bytes in sound_requests(),
        cuts in proptest::collection::vec(1_usize..40, 1..200),
    ) {
        let mut wire = Wire::new(BOUNDS);
        let (mut passed, mut rest) = (Vec::new(), bytes.as_slice());
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            prop_assert_eq!(wire.take(now, &mut passed), Ok(()));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(passed, bytes);
        prop_assert_eq!(wire.waits(), Waits::Idle);
    }

    #[test]
    fn what_is_seen_at_a_glance_is_what_is_taken(
        bytes in sound_requests(),
        harm in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = bytes;
        if let Some((place, byte)) = harm {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let (mut quick, mut slow) = (Wire::new(BOUNDS), Wire::new(BOUNDS));
        let mut passed = Vec::new();
        let taken = slow.take(&bytes, &mut passed);
        match quick.glance(&bytes) {
            Ok(false) => prop_assert_eq!(quick.waits(), Waits::Idle),
            Ok(true) => {
                prop_assert_eq!(taken, Ok(()));
                prop_assert_eq!(&passed, &bytes);
                prop_assert_eq!(quick.place, slow.place);
            }
            Err(fault) => prop_assert_eq!(taken, Err(fault)),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_hold_little(bytes in proptest::collection::vec(any::<u8>(), 0..6_000)) {
        let mut wire = Wire::new(BOUNDS);
        let mut passed = Vec::new();
        let outcome = wire.take(&bytes, &mut passed);
        prop_assert!(outcome.is_err() || passed.len() <= bytes.len());
    }
}
