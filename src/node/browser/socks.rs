//! The server's half of SOCKS 5 as browsers speak it: no authentication, `CONNECT` alone (RFC 1928).

use std::io::{self, Read, Write};

use super::guard::{self, Site};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// Kinds of addresses (section 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// How a request ends (section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// From now on the bytes are the client's and the server's.
    Connected = 0,
    /// Nobody may go there.
    NotAllowed = 2,
    /// There is no way there.
    Unreachable = 4,
    /// Only `CONNECT` is understood.
    UnknownCommand = 7,
    /// The destination is of no known kind, or no place at all.
    UnknownAddress = 8,
}

/// Reads where a client wants to go.
///
/// # Errors
/// It speaks something else, which it was told where SOCKS has a word for that; or those of the stream.
pub fn accept(stream: &mut (impl Read + Write)) -> io::Result<Site> {
    let [version, count] = read(stream)?;
    expect(version == VERSION, "another protocol")?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods)?;
    let open = methods.contains(&NO_AUTHENTICATION);
    let chosen = if open { NO_AUTHENTICATION } else { NO_METHOD };
    stream.write_all(&[VERSION, chosen])?;
    expect(open, "no method in common")?;
    let [version, command, _, kind] = read(stream)?;
    expect(version == VERSION, "another protocol")?;
    let host = match kind {
        IPV4 => read::<4>(stream).map(|octets| std::net::Ipv4Addr::from(octets).to_string())?,
        IPV6 => read::<16>(stream).map(|octets| std::net::Ipv6Addr::from(octets).to_string())?,
        NAME => {
            let [length] = read(stream)?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name)?;
            String::from_utf8(name).unwrap_or_default()
        }
        _ => String::new(),
    };
    let site = guard::place(&host, u16::from_be_bytes(read(stream)?));
    let refused = match (command, site) {
        (CONNECT, Some(site)) => return Ok(site),
        (CONNECT, None) => Reply::UnknownAddress,
        _ => Reply::UnknownCommand,
    };
    reply(stream, refused)?;
    expect(false, "a request that is not served").and_then(|()| Err(io::ErrorKind::Other.into()))
}

/// Answers a request; the address from which this side went on is nobody's business.
///
/// # Errors
/// Those of the stream.
pub fn reply(stream: &mut impl Write, reply: Reply) -> io::Result<()> {
    stream.write_all(&[VERSION, reply as u8, 0, IPV4, 0, 0, 0, 0, 0, 0])
}

fn read<const LENGTH: usize>(stream: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn expect(holds: bool, what: &str) -> io::Result<()> {
    match holds {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, what)),
    }
}
