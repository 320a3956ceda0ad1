//! The little HTTP that shares the port: one bounded request head in, one response out
//! (specification section 1.7). Upgrades are in `upgrade`.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    time::Instant,
};

use crate::net::{
    error::{CLOSE_LINGER, HeadFault, NetError},
    head::{Head, ResponseHead, end_of_head},
    readiness::{Interest, wait},
    stream::{Stream, is_would_block},
    wake::Wake,
};

/// Bytes a head may have, its empty line included.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Bytes read at once; what does not belong to the head is kept.
const CHUNK_BYTES: usize = 1024;

/// Sent with every response.
const SECURITY_HEADERS: &str = "X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Permissions-Policy: camera=(), microphone=(self), geolocation=()\r\n";

/// Reads one request head. `wake` ends the wait early, for a program that stops.
pub fn read_head(
    stream: &mut Stream,
    deadline: Instant,
    wake: Option<&Wake>,
) -> Result<Head, HeadFault> {
    let (head, rest) = read_head_bytes(stream, deadline, wake)?;
    Head::parse(&head, rest).ok_or(HeadFault::Malformed)
}

/// Reads the bytes of one head of either direction, and those that came with it.
pub(crate) fn read_head_bytes(
    stream: &mut Stream,
    deadline: Instant,
    wake: Option<&Wake>,
) -> Result<(Vec<u8>, Vec<u8>), HeadFault> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; CHUNK_BYTES];
    loop {
        let room = CHUNK_BYTES.min(MAX_HEAD_BYTES - bytes.len());
        match stream.read(&mut chunk[..room]) {
            Ok(0) => return Err(HeadFault::Closed),
            Ok(read) => {
                // The end may straddle two reads.
                let searched = bytes.len().saturating_sub(3);
                bytes.extend_from_slice(&chunk[..read]);
                // Another protocol, TLS for example, may never send an end of head.
                if !bytes[0].is_ascii_graphic() {
                    return Err(HeadFault::Malformed);
                }
                if let Some(end) = end_of_head(&bytes[searched..]) {
                    let rest = bytes.split_off(searched + end);
                    return Ok((bytes, rest));
                }
                if bytes.len() >= MAX_HEAD_BYTES {
                    return Err(HeadFault::TooLarge);
                }
            }
            Err(error) if is_would_block(&error) => {
                let ready = wait(Some(stream.as_fd()), Interest::READ, wake, Some(deadline))?;
                if ready.woken {
                    return Err(HeadFault::Woken);
                }
            }
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= deadline {
            return Err(HeadFault::TimedOut);
        }
    }
}

/// Asks `host` (as in a `Host` header, with its port) for `target` and gives the body of its answer, at most `limit`
/// bytes of it.
///
/// # Errors
/// [`NetError::Refused`] for every status but 200, [`NetError::TimedOut`] at the deadline, and what breaks the
/// connection.
pub fn get(
    stream: &mut Stream,
    host: &str,
    target: &str,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<u8>, NetError> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all_until(request.as_bytes(), deadline)?;
    let (head, rest) = read_head_bytes(stream, deadline, None)?;
    let head = ResponseHead::parse(&head, rest).ok_or(HeadFault::Malformed)?;
    let length = head.headers.first("Content-Length");
    let length = length.and_then(|length| length.parse().ok());
    let wanted = limit.min(length.unwrap_or(limit));
    let mut body = head.rest;
    body.extend(stream.read_to_end_until(wanted.saturating_sub(body.len()), deadline)?);
    if head.status == 200 {
        Ok(body)
    } else {
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(NetError::Refused {
            status: head.status,
            body,
        })
    }
}

/// A whole response; the connection closes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    /// A plain text response.
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        Self::of_type(status, "text/plain; charset=utf-8", body)
    }

    /// A text of another type, which must not be cached.
    pub fn page(content_type: &str, body: impl Into<String>) -> Response {
        Self::of_type(200, content_type, body).with_header("Cache-Control", "no-store")
    }

    /// A JSON response that must not be cached.
    pub fn json(status: u16, body: impl Into<String>) -> Response {
        Self::of_type(status, "application/json; charset=utf-8", body)
            .with_header("Cache-Control", "no-store")
    }

    /// The same response with one more header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// The response as it goes over the wire; the answer to HEAD has no body but its length.
    pub fn render(&self, without_body: bool) -> String {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(SECURITY_HEADERS);
        text.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.body.len()
        ));
        if !without_body {
            text.push_str(&self.body);
        }
        text
    }

    /// Sends the response and closes politely: the deadline bounds the sending, a short linger what
    /// comes after it.
    pub fn send(
        &self,
        stream: &mut Stream,
        without_body: bool,
        deadline: Instant,
    ) -> io::Result<()> {
        stream.write_all_until(self.render(without_body).as_bytes(), deadline)?;
        stream.linger(Instant::now() + CLOSE_LINGER);
        Ok(())
    }

    fn of_type(status: u16, content_type: &str, body: impl Into<String>) -> Response {
        let headers = vec![("Content-Type", content_type.to_owned())];
        Response {
            status,
            headers,
            body: body.into(),
        }
    }
}

/// The reason phrase of the statuses that are used.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::net::stream::testing::{pair, read_to_end};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn bytes_behind_the_head_stay_for_what_follows() {
        let (mut near, mut far) = pair();
        for (head, rest) in [
            ("GET / HTTP/1.1\r\n\r\n", ""),
            ("GET /a HTTP/1.1\r\nA: b\r\n\r\n", "\r\nmore"),
        ] {
            far.write_all_until(format!("{head}{rest}").as_bytes(), soon())
                .unwrap();
            let read = read_head(&mut near, soon(), None).unwrap();
            assert_eq!(read.rest, rest.as_bytes());
        }
    }

    #[test]
    fn an_answer_ends_where_its_length_says_or_with_the_connection() {
        for (answer, stays_open, expected) in [
            ("200 OK\r\nContent-Length: 2\r\n\r\nhi", true, Some("hi")),
            ("200 OK\r\n\r\nhello", false, Some("hello")),
            ("404 Not Found\r\nContent-Length: 0\r\n\r\n", true, None),
        ] {
            let (mut near, mut far) = pair();
            let server = thread::spawn(move || {
                let asked = read_head(&mut far, soon(), None).unwrap();
                far.write_all_until(format!("HTTP/1.1 {answer}").as_bytes(), soon())
                    .unwrap();
                (asked.target, stays_open.then_some(far))
            });
            let body = get(&mut near, "h:1", "/x", 100, soon());
            assert_eq!(
                body.ok().as_deref(),
                expected.map(str::as_bytes),
                "{answer}"
            );
            assert_eq!(server.join().unwrap().0, "/x");
        }
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        let (mut near, mut far) = pair();
        let reader = thread::spawn(move || read_head(&mut near, soon(), None).unwrap());
        for byte in b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" {
            far.write_all_until(&[*byte], soon()).unwrap();
        }
        assert_eq!(reader.join().unwrap().path(), "/x");
    }

    #[test]
    fn the_size_limit_is_exact() {
        for (extra, fits) in [(0, true), (1, false)] {
            let (mut near, mut far) = pair();
            let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
            let fill = "x".repeat(MAX_HEAD_BYTES - frame + extra);
            let text = format!("GET / HTTP/1.1\r\nA: {fill}\r\n\r\n");
            far.write_all_until(text.as_bytes(), soon()).unwrap();
            let result = read_head(&mut near, soon(), None);
            assert_eq!(result.is_ok(), fits);
            assert!(fits || matches!(result, Err(HeadFault::TooLarge)));
        }
    }

    #[test]
    fn every_way_not_to_send_a_head_has_its_name() {
        let (mut near, mut far) = pair();
        far.write_all_until(b"GET / HT", soon()).unwrap();
        let stalled = read_head(&mut near, Instant::now() + Duration::from_millis(20), None);
        assert!(matches!(stalled, Err(HeadFault::TimedOut)), "{stalled:?}");
        let wake = Wake::new().unwrap();
        wake.notify();
        let woken = read_head(&mut near, soon(), Some(&wake));
        assert!(matches!(woken, Err(HeadFault::Woken)), "{woken:?}");
        drop(far);
        let closed = read_head(&mut near, soon(), None);
        assert!(matches!(closed, Err(HeadFault::Closed)), "{closed:?}");
        let (mut near, mut far) = pair();
        far.write_all_until(b"\x16\x03\x01\x02\r\n\r\n", soon())
            .unwrap();
        let malformed = read_head(&mut near, soon(), None);
        assert!(
            matches!(malformed, Err(HeadFault::Malformed)),
            "{malformed:?}"
        );
    }

    #[test]
    fn a_peer_that_trickles_does_not_extend_its_deadline() {
        let (mut near, mut far) = pair();
        far.write_all_until(&[b'x'; MAX_HEAD_BYTES - 1], soon())
            .unwrap();
        let result = read_head(&mut near, Instant::now(), None);
        assert!(matches!(result, Err(HeadFault::TimedOut)), "{result:?}");
    }

    #[test]
    fn responses_carry_the_security_headers() {
        let response = Response::json(200, "{}");
        let expected = "HTTP/1.1 200 OK\r\n\
            Content-Type: application/json; charset=utf-8\r\n\
            Cache-Control: no-store\r\n\
            X-Content-Type-Options: nosniff\r\n\
            Referrer-Policy: no-referrer\r\n\
            Permissions-Policy: camera=(), microphone=(self), geolocation=()\r\n\
            Content-Length: 2\r\n\
            Connection: close\r\n\r\n";
        assert_eq!(response.render(true), expected);
        assert_eq!(response.render(false), format!("{expected}{{}}"));
        let refusal = Response::text(405, "Method Not Allowed").with_header("Allow", "GET, HEAD");
        assert!(
            refusal
                .render(false)
                .starts_with("HTTP/1.1 405 Method Not Allowed\r\n")
        );
        assert!(refusal.render(false).contains("\r\nAllow: GET, HEAD\r\n"));
    }

    #[test]
    fn a_response_arrives_although_the_request_was_not_read() {
        let (mut near, mut far) = pair();
        far.write_all_until(&[b'x'; 4096], soon()).unwrap();
        let sender =
            thread::spawn(move || Response::text(404, "Not Found").send(&mut near, false, soon()));
        let text = String::from_utf8(read_to_end(&mut far, soon())).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 404 ") && text.ends_with("\r\n\r\nNot Found"),
            "{text}"
        );
        drop(far);
        sender.join().unwrap().unwrap();
    }
}
