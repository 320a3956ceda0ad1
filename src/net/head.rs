//! The head of an HTTP/1 message: first line and headers, read strictly.
//!
//! Anything doubtful is refused: bare line feeds, folded lines, spaces around names, control characters.

/// Most header lines a head may have.
pub const MAX_HEADERS: usize = 100;

/// A request head, and the bytes that were read behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method as sent, case-sensitive.
    pub method: String,
    /// The target as sent, with its query.
    pub target: String,
    /// 0 or 1: the minor version of HTTP/1.
    pub minor_version: u8,
    /// The header lines.
    pub headers: Headers,
    /// What followed the head in the stream.
    pub rest: Vec<u8>,
}

impl Head {
    /// Reads a request head that `end_of_head` found complete; `None` when it is malformed.
    pub fn parse(head: &[u8], rest: Vec<u8>) -> Option<Head> {
        let (first, headers) = split(head)?;
        let mut words = first.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let minor_version = minor_version(version)?;
        let is_target = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
        (words.next().is_none() && is_token(method) && is_target).then(|| Head {
            method: method.to_owned(),
            target: target.to_owned(),
            minor_version,
            headers,
            rest,
        })
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name)
    }
}

/// The head of a response, and the bytes that were read behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status code, 100 to 999.
    pub status: u16,
    /// The header lines.
    pub headers: Headers,
    /// What followed the head in the stream.
    pub rest: Vec<u8>,
}

impl ResponseHead {
    /// Reads a response head that `end_of_head` found complete; `None` when it is malformed.
    pub fn parse(head: &[u8], rest: Vec<u8>) -> Option<ResponseHead> {
        let (first, headers) = split(head)?;
        let mut words = first.splitn(3, ' ');
        minor_version(words.next()?)?;
        let code = words.next()?;
        let status = code
            .parse()
            .ok()
            .filter(|_| code.len() == 3 && !code.starts_with(['+', '0']))?;
        Some(ResponseHead {
            status,
            headers,
            rest,
        })
    }
}

/// Header lines in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a header that may be repeated.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let same = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// The value of a header that may stand once; `None` also when it is repeated.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether a comma-separated header contains a word, whatever its case.
    pub fn has_word(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).flat_map(|value| value.split(','));
        words.any(|candidate| candidate.trim().eq_ignore_ascii_case(word))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let lines = lines.into_iter();
        Headers(
            lines
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Length of the head at the start of `bytes` including its empty line, once that has arrived.
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// First line and headers of a complete head.
fn split(head: &[u8]) -> Option<(&str, Headers)> {
    // Header values may be in any encoding; every header we read is ASCII, so refuse the others.
    let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let first = lines.next().filter(|line| !line.contains(is_control))?;
    let headers = lines.map(header_line).collect::<Option<Vec<_>>>()?;
    (headers.len() <= MAX_HEADERS).then_some((first, Headers(headers)))
}

fn header_line(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    let valid = is_token(name) && !value.contains(|letter| letter != '\t' && is_control(letter));
    valid.then(|| (name.to_owned(), value.to_owned()))
}

fn minor_version(version: &str) -> Option<u8> {
    match version {
        "HTTP/1.0" => Some(0),
        "HTTP/1.1" => Some(1),
        _ => None,
    }
}

fn is_control(letter: char) -> bool {
    letter.is_ascii_control()
}

fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Head> {
        Head::parse(text.as_bytes(), Vec::new())
    }

    #[test]
    fn heads_are_read() {
        let text = "GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\
                    connection: keep-alive, Upgrade\r\nx-forwarded-for:\t2.2.2.2 \r\n\r\n";
        let head = parse(text).unwrap();
        assert_eq!(
            (head.method.as_str(), head.path(), head.minor_version),
            ("GET", "/healthz", 1)
        );
        assert_eq!(head.header("HOST"), Some("a"));
        assert_eq!(head.header("absent"), None);
        let forwarded: Vec<_> = head.headers.all("X-FORWARDED-FOR").collect();
        assert_eq!(forwarded, ["1.1.1.1", "2.2.2.2"]);
        assert!(head.headers.has_word("Connection", "upgrade"));
        assert!(!head.headers.has_word("Connection", "keep"));
        assert_eq!(parse("HEAD / HTTP/1.0\r\n\r\n").unwrap().minor_version, 0);
    }

    #[test]
    fn doubtful_heads_are_refused() {
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_HEADERS + 1)
        );
        let table = [
            "",
            "\r\n\r\n",
            "GET\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "G\tT / HTTP/1.1\r\n\r\n",
            "GET /\u{7f} HTTP/1.1\r\n\r\n",
            "GET /é HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\nc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            many.as_str(),
        ];
        for text in table {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(
            Head::parse(b"GET / HTTP/1.1\r\nA: \xff\r\n\r\n", Vec::new()),
            None
        );
    }

    #[test]
    fn response_heads_are_read() {
        let parse = |text: &str| ResponseHead::parse(text.as_bytes(), Vec::new());
        let head = parse("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").unwrap();
        assert_eq!(
            (head.status, head.headers.first("upgrade")),
            (101, Some("websocket"))
        );
        assert_eq!(parse("HTTP/1.1 503 \r\n\r\n").unwrap().status, 503);
        assert_eq!(parse("HTTP/1.1 200\r\n\r\n").unwrap().status, 200);
        for text in [
            "HTTP/1.1 20 x\r\n\r\n",
            "HTTP/1.1 +20 x\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "x\r\n\r\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Head::parse(&bytes, Vec::new());
            let _ = ResponseHead::parse(&bytes, Vec::new());
            if let Some(end) = end_of_head(&bytes) {
                prop_assert!(bytes[..end].ends_with(b"\r\n\r\n"));
            }
        }

        #[test]
        fn no_text_upsets_the_reader(text in "[GET/ HTP.1\r\nA:b ,\t]{0,80}") {
            if let Some(head) = parse(&format!("{text}\r\n\r\n")) {
                prop_assert!(is_token(&head.method) && head.target.is_ascii());
            }
        }
    }
}
