//! The DNS servers of this machine, as `/etc/resolv.conf` names them (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Where the system keeps them.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The port of DNS.
const PORT: u16 = 53;

/// Servers and attempts that count, as everywhere on the system.
const MAX_SERVERS: usize = 3;
const MAX_ATTEMPTS: u32 = 5;

/// The longest patience with one server, in seconds.
const MAX_PATIENCE_SECONDS: u64 = 30;

/// Bytes of the file that are read.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// Whom to ask, and how patiently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolvers {
    /// In the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// How long one may take before the next one is asked as well, at the most.
    pub patience: Duration,
    /// How often each is asked.
    pub attempts: u32,
}

impl Resolvers {
    /// These servers with the system's usual patience.
    pub fn new(servers: Vec<SocketAddr>) -> Resolvers {
        Resolvers {
            servers,
            patience: Duration::from_secs(5),
            attempts: 2,
        }
    }

    /// Those of this machine; a file that is missing or cannot be read names the server on this machine.
    pub fn of_this_machine() -> Resolvers {
        let text = std::fs::read(Path::new(RESOLV_CONF)).unwrap_or_default();
        let text = text.get(..MAX_FILE_BYTES).unwrap_or(&text);
        Resolvers::parse(&String::from_utf8_lossy(text))
    }

    /// Those of a `resolv.conf`; lines that cannot be read are passed over.
    pub fn parse(text: &str) -> Resolvers {
        let mut found = Resolvers::new(Vec::new());
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => found.servers.extend(words.next().and_then(server)),
                Some("options") => words.for_each(|word| found.option(word)),
                _ => {}
            }
        }
        found.servers.truncate(MAX_SERVERS);
        if found.servers.is_empty() {
            found
                .servers
                .push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT));
        }
        found
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':') {
            Some(("timeout", seconds)) => {
                if let Ok(seconds @ 1..) = seconds.parse() {
                    self.patience = Duration::from_secs(MAX_PATIENCE_SECONDS.min(seconds));
                }
            }
            Some(("attempts", attempts)) => {
                if let Ok(attempts @ 1..) = attempts.parse() {
                    self.attempts = MAX_ATTEMPTS.min(attempts);
                }
            }
            _ => {}
        }
    }
}

/// An address, IPv6 ones with the number of their scope.
fn server(text: &str) -> Option<SocketAddr> {
    let with_port = match text.contains(':') {
        true => format!("[{text}]:{PORT}"),
        false => format!("{text}:{PORT}"),
    };
    with_port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_patience_are_those_of_the_file() {
        let text = "# nameserver 9.9.9.9\n; c\nnameserver 100.100.100.100\n nameserver\t::1 \n\
                    nameserver fe80::1%2\nnameserver 10.0.0.4\nsearch lan\noptions edns0 timeout:1 attempts:3\n";
        let found = Resolvers::parse(text);
        let servers: Vec<String> = found.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            servers,
            ["100.100.100.100:53", "[::1]:53", "[fe80::1%2]:53"]
        );
        assert_eq!(
            (found.patience, found.attempts),
            (Duration::from_secs(1), 3)
        );
    }

    #[test]
    fn what_cannot_be_read_leaves_what_is_usual() {
        let local: SocketAddr = "127.0.0.1:53".parse().unwrap();
        for text in [
            "",
            "nameserver",
            "nameserver localhost\noptions timeout:0 attempts:x timeout:-1 attempts:",
            "nameserver 1.2.3\nnameserver fe80::1%eth0",
            "\0\u{fffd}",
        ] {
            assert_eq!(
                Resolvers::parse(text),
                Resolvers::new(vec![local]),
                "{text}"
            );
        }
        let greedy = Resolvers::parse("options timeout:4000000000 attempts:4000000000");
        assert_eq!((greedy.patience.as_secs(), greedy.attempts), (30, 5));
    }
}
