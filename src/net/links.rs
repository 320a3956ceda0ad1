//! Notices that this machine's network comes up: a link gets its carrier, or a route appears.
//!
//! One thread sleeps in the kernel's announcements and costs nothing while nothing changes. Where the system
//! has no such announcements, nobody is told, and whoever wants to know has to try.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use std::collections::HashSet;
use std::io;

/// The watcher only sits in one system call.
#[cfg(target_os = "linux")]
const STACK_BYTES: usize = 64 * 1024;

/// Calls `came_up` from a thread of its own whenever a way into a network may have come back, for as long as
/// the process lives.
///
/// # Errors
/// When the kernel refuses its announcements, or a thread.
#[cfg(target_os = "linux")]
pub fn watch(came_up: impl Fn() + Send + 'static) -> io::Result<()> {
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

    let kind = SocketType::RAW;
    let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    let listen = move || {
        let mut links = Links::default();
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let up = match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, read)) => links.read(buffer.get(..read).unwrap_or(&buffer)),
                // More was announced than the socket holds: what it was is lost.
                Err(rustix::io::Errno::NOBUFS) => true,
                Err(rustix::io::Errno::INTR) => false,
                Err(error) => {
                    log::warn!(target: "links", "changes of the network go unnoticed: {error}");
                    return;
                }
            };
            if up {
                came_up();
            }
        }
    };
    let builder = std::thread::Builder::new().name("links".to_owned());
    builder.stack_size(STACK_BYTES).spawn(listen).map(drop)
}

/// Nobody is told: this system announces nothing that is understood here.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn watch(_came_up: impl Fn() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// The groups of announcements (rtnetlink(7)): links, IPv4 routes, IPv6 routes. An address brings routes.
#[cfg(target_os = "linux")]
const GROUPS: u32 = 0x1 | 0x40 | 0x400;

const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const NEW_ROUTE: u16 = 24;
/// Length of a message's header, and of the fixed part of one about a link.
const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
/// The link has its carrier.
const RUNNING: u32 = 0x40;

/// The links that have their carrier, by index.
#[derive(Debug, Default)]
struct Links {
    running: HashSet<u32>,
}

impl Links {
    /// Whether one of the announcements says that something came up. What cannot be read ends the reading.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        let mut up = false;
        while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length < HEADER_BYTES || length > bytes.len() {
                break;
            }
            up |= self.note(kind, &bytes[HEADER_BYTES..length]);
            // Messages start at multiples of four bytes.
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        up
    }

    fn note(&mut self, kind: u16, body: &[u8]) -> bool {
        if kind == NEW_ROUTE {
            return true;
        }
        let (Some(index), Some(flags)) = (u32_at(body, 4), u32_at(body, 8)) else {
            return false;
        };
        if body.len() < LINK_BYTES || !matches!(kind, NEW_LINK | DELETED_LINK) {
            return false;
        }
        if kind == NEW_LINK && flags & RUNNING != 0 {
            self.running.insert(index)
        } else {
            self.running.remove(&index);
            false
        }
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..offset + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link(kind: u16, index: u32, flags: u32) -> Vec<u8> {
        let words = [0, index, flags, u32::MAX];
        message(kind, &words.map(u32::to_ne_bytes).concat())
    }

    #[test]
    fn a_carrier_that_comes_back_is_news_and_one_that_stays_is_none() {
        let mut links = Links::default();
        let up = |index| link(NEW_LINK, index, RUNNING | 1);
        let down = |index| link(NEW_LINK, index, 1);
        for (announced, news) in [
            (up(2), true),
            (up(2), false),
            (down(2), false),
            (up(2), true),
            (up(3), true),
            (link(DELETED_LINK, 3, RUNNING), false),
            (up(3), true),
            ([down(2), up(2)].concat(), true),
            ([down(2), down(3)].concat(), false),
        ] {
            assert_eq!(links.read(&announced), news, "{announced:?}");
        }
    }

    #[test]
    fn a_new_route_is_news() {
        let mut links = Links::default();
        assert!(links.read(&message(NEW_ROUTE, &[0; 12])));
        assert!(!links.read(&message(25, &[0; 12])));
        assert!(links.read(&[message(25, &[0; 13]), message(NEW_ROUTE, &[])].concat()));
    }

    #[test]
    fn broken_announcements_are_none() {
        let mut links = Links::default();
        let whole = link(NEW_LINK, 2, RUNNING);
        for end in 0..whole.len() {
            assert!(!links.read(&whole[..end]), "{end}");
        }
        let mut short = whole.clone();
        short[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert!(!links.read(&short));
        short[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(!links.read(&short));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_lets_us_listen() {
        watch(|| {}).unwrap();
    }
}
