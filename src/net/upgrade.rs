//! From HTTP to WebSocket, on both ends (RFC 6455 section 4). No extension and no subprotocol is ever
//! agreed on, so compression is declined by silence.

use std::time::Instant;

use tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::net::{
    error::{HeadFault, NetError},
    head::{Head, ResponseHead},
    http::{Response, read_head_bytes},
    stream::Stream,
};

/// Characters of a refusal's body that are shown to the person who reads the error.
const SHOWN_BODY_CHARACTERS: usize = 200;

/// Whether a request asks for a WebSocket; then [`accept`] decides.
pub fn is_wanted(head: &Head) -> bool {
    head.headers.has_word("Upgrade", "websocket")
}

/// The head of the 101 answer to a valid upgrade, or the response that refuses it.
pub fn accept(head: &Head) -> Result<String, Response> {
    let bad = |what: &str| Err(Response::text(400, what));
    if head.method != "GET" || head.minor_version != 1 {
        return bad("Upgrade needs GET and HTTP/1.1");
    }
    if !is_wanted(head) || !head.headers.has_word("Connection", "upgrade") {
        return bad("Missing upgrade headers");
    }
    if head.header("Sec-WebSocket-Version") != Some("13") {
        return Err(
            Response::text(426, "Upgrade Required").with_header("Sec-WebSocket-Version", "13")
        );
    }
    let Some(key) = head.header("Sec-WebSocket-Key").filter(|key| is_key(key)) else {
        return bad("Missing or invalid Sec-WebSocket-Key header");
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    ))
}

/// Answers a valid upgrade, or sends the refusal and says that it did.
pub fn accept_on(stream: &mut Stream, head: &Head, deadline: Instant) -> Result<bool, HeadFault> {
    match accept(head) {
        Ok(answer) => {
            stream.write_all_until(answer.as_bytes(), deadline)?;
            Ok(true)
        }
        Err(refusal) => {
            refusal.send(stream, head.method == "HEAD", deadline)?;
            Ok(false)
        }
    }
}

/// Asks for a WebSocket at `target` of `host` (as in a `Host` header, with its port) and checks the
/// answer. Returns the bytes that already followed it.
pub fn request(
    stream: &mut Stream,
    host: &str,
    target: &str,
    deadline: Instant,
) -> Result<Vec<u8>, NetError> {
    let key = generate_key();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream.write_all_until(request.as_bytes(), deadline)?;
    let (head, rest) = read_head_bytes(stream, deadline, None)?;
    let head = ResponseHead::parse(&head, rest).ok_or(HeadFault::Malformed)?;
    if head.status != 101 {
        let body = String::from_utf8_lossy(&head.rest);
        let shown = body.chars().filter(|letter| !letter.is_control());
        let body = shown.take(SHOWN_BODY_CHARACTERS).collect();
        return Err(NetError::Refused {
            status: head.status,
            body,
        });
    }
    let accepted = head.headers.first("Sec-WebSocket-Accept");
    let upgraded = head.headers.has_word("Upgrade", "websocket")
        && head.headers.has_word("Connection", "upgrade")
        && accepted == Some(derive_accept_key(key.as_bytes()).as_str());
    if upgraded {
        Ok(head.rest)
    } else {
        Err(NetError::AcceptKeyMismatch)
    }
}

/// Whether a key is the base64 of 16 bytes.
fn is_key(key: &str) -> bool {
    data_encoding::BASE64
        .decode(key.as_bytes())
        .is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::net::{http::read_head, stream::testing::pair};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn head(first: &str, headers: &[(&str, &str)]) -> Head {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        Head::parse(format!("{first}\r\n{lines}\r\n").as_bytes(), Vec::new()).unwrap()
    }

    const GOOD: &[(&str, &str)] = &[
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];

    #[test]
    fn a_good_upgrade_is_accepted_without_extensions() {
        let answer = accept(&head("GET /any?x HTTP/1.1", GOOD)).unwrap();
        assert_eq!(
            answer,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn bad_upgrades_are_refused() {
        let without = |name: &str| {
            GOOD.iter()
                .copied()
                .filter(|(key, _)| *key != name)
                .collect::<Vec<_>>()
        };
        let with = |name: &'static str, value: &'static str| {
            let mut headers = without(name);
            headers.push((name, value));
            headers
        };
        let table = [
            ("POST / HTTP/1.1", GOOD.to_vec(), 400),
            ("GET / HTTP/1.0", GOOD.to_vec(), 400),
            ("GET / HTTP/1.1", without("upgrade"), 400),
            ("GET / HTTP/1.1", without("connection"), 400),
            ("GET / HTTP/1.1", without("sec-websocket-version"), 426),
            ("GET / HTTP/1.1", with("sec-websocket-version", "8"), 426),
            ("GET / HTTP/1.1", without("sec-websocket-key"), 400),
            ("GET / HTTP/1.1", with("sec-websocket-key", "short"), 400),
            (
                "GET / HTTP/1.1",
                with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"),
                400,
            ),
        ];
        for (first, headers, status) in table {
            let text = accept(&head(first, &headers)).unwrap_err().render(false);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{headers:?} {text}"
            );
            assert_eq!(
                text.contains("\r\nSec-WebSocket-Version: 13\r\n"),
                status == 426
            );
        }
    }

    fn answered(answer: impl FnOnce(Head) -> String + Send + 'static) -> Result<Vec<u8>, NetError> {
        let (mut near, mut far) = pair();
        let server = thread::spawn(move || {
            let head = read_head(&mut far, soon(), None).unwrap();
            let answer = answer(head);
            far.write_all_until(answer.as_bytes(), soon()).unwrap();
            far
        });
        let result = request(&mut near, "127.0.0.1:1", "/", soon());
        drop(server.join().unwrap());
        result
    }

    #[test]
    fn the_two_ends_agree() {
        let rest = answered(|head| accept(&head).unwrap() + "already");
        assert_eq!(rest.unwrap(), b"already");
    }

    #[test]
    fn a_client_refuses_what_is_no_websocket() {
        let wrong_key = answered(|_| accept(&head("GET / HTTP/1.1", GOOD)).unwrap());
        assert!(
            matches!(wrong_key, Err(NetError::AcceptKeyMismatch)),
            "{wrong_key:?}"
        );
        let refused = answered(|_| Response::text(503, "Too many\u{1b} sockets").render(false));
        let Err(NetError::Refused { status: 503, body }) = refused else {
            panic!("{refused:?}")
        };
        assert!(body.is_empty() || body == "Too many sockets", "{body}");
        let garbage = answered(|_| "SSH-2.0-x\r\n\r\n".to_owned());
        assert!(
            matches!(garbage, Err(NetError::Head(HeadFault::Malformed))),
            "{garbage:?}"
        );
    }
}
