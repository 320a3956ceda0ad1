//! Notices that this machine's network comes up: a link gets its carrier, or a route appears.
//!
//! Who listens sleeps in the kernel's announcements and costs nothing while nothing changes. Where the system
//! has no such announcements, nobody is told, and whoever wants to know has to try.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use std::collections::HashSet;
use std::io;

/// The watcher only sits in one system call.
#[cfg(target_os = "linux")]
const STACK_BYTES: usize = 64 * 1024;

/// What the kernel announced, the more important last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing that matters here.
    Nothing,
    /// Something went, or became another.
    Changed,
    /// A way into a network may have come back.
    CameUp,
}

/// The kernel's announcements, for who waits for other things too: when its descriptor is readable, ask
/// [`LinkNews::look`].
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct LinkNews {
    socket: std::os::fd::OwnedFd,
    links: Links,
    buffer: Vec<u8>,
}

#[cfg(target_os = "linux")]
impl LinkNews {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the kernel refuses its announcements.
    pub fn open() -> io::Result<LinkNews> {
        use rustix::net::netlink::SocketAddrNetlink;
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

        let kind = SocketType::RAW;
        let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(LinkNews {
            socket,
            links: Links::default(),
            buffer: vec![0_u8; 16 * 1024],
        })
    }

    /// What was announced since the last look; does not wait.
    ///
    /// # Errors
    /// When nothing will be announced any more.
    pub fn look(&mut self) -> io::Result<News> {
        self.receive(rustix::net::RecvFlags::DONTWAIT)
    }

    fn receive(&mut self, flags: rustix::net::RecvFlags) -> io::Result<News> {
        match rustix::net::recv(&self.socket, &mut self.buffer[..], flags) {
            Ok((_, read)) => Ok(self.links.read(self.buffer.get(..read).unwrap_or_default())),
            // More was announced than the socket holds: what it was is lost.
            Err(rustix::io::Errno::NOBUFS) => Ok(News::CameUp),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(News::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for LinkNews {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Nothing is announced: this system has no announcements that are understood here.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct LinkNews(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl LinkNews {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open() -> io::Result<LinkNews> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn look(&mut self) -> io::Result<News> {
        match self.0 {}
    }
}

#[cfg(not(target_os = "linux"))]
impl std::os::fd::AsFd for LinkNews {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self.0 {}
    }
}

/// Calls `came_up` from a thread of its own whenever a way into a network may have come back, for as long as
/// the process lives.
///
/// # Errors
/// When the kernel refuses its announcements, or a thread.
#[cfg(target_os = "linux")]
pub fn watch(came_up: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut news = LinkNews::open()?;
    let listen = move || {
        loop {
            match news.receive(rustix::net::RecvFlags::empty()) {
                Ok(News::CameUp) => came_up(),
                Ok(News::Changed | News::Nothing) => {}
                Err(error) => {
                    log::warn!(target: "links", "changes of the network go unnoticed: {error}");
                    return;
                }
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
const DELETED_ROUTE: u16 = 25;
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
    /// The most important of the announcements. What cannot be read ends the reading.
    fn read(&mut self, mut bytes: &[u8]) -> News {
        let mut news = News::Nothing;
        while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length < HEADER_BYTES || length > bytes.len() {
                break;
            }
            news = news.max(self.note(kind, &bytes[HEADER_BYTES..length]));
            // Messages start at multiples of four bytes.
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        news
    }

    fn note(&mut self, kind: u16, body: &[u8]) -> News {
        match kind {
            NEW_ROUTE => return News::CameUp,
            DELETED_ROUTE => return News::Changed,
            _ => {}
        }
        let (Some(index), Some(flags)) = (u32_at(body, 4), u32_at(body, 8)) else {
            return News::Nothing;
        };
        if body.len() < LINK_BYTES || !matches!(kind, NEW_LINK | DELETED_LINK) {
            return News::Nothing;
        }
        let runs = kind == NEW_LINK && flags & RUNNING != 0;
        let moved = match runs {
            true => self.running.insert(index),
            false => self.running.remove(&index),
        };
        match (moved, runs) {
            (true, true) => News::CameUp,
            (true, false) => News::Changed,
            (false, _) => News::Nothing,
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
        use News::{CameUp, Changed, Nothing};
        let mut links = Links::default();
        let up = |index| link(NEW_LINK, index, RUNNING | 1);
        let down = |index| link(NEW_LINK, index, 1);
        for (announced, news) in [
            (up(2), CameUp),
            (up(2), Nothing),
            (down(2), Changed),
            (down(2), Nothing),
            (up(2), CameUp),
            (up(3), CameUp),
            (link(DELETED_LINK, 3, RUNNING), Changed),
            (up(3), CameUp),
            ([down(2), up(2)].concat(), CameUp),
            ([down(2), down(3)].concat(), Changed),
        ] {
            assert_eq!(links.read(&announced), news, "{announced:?}");
        }
    }

    #[test]
    fn a_new_route_is_news_and_one_that_goes_a_change() {
        let mut links = Links::default();
        let gone = message(DELETED_ROUTE, &[0; 13]);
        let new = message(NEW_ROUTE, &[]);
        assert_eq!(links.read(&new), News::CameUp);
        assert_eq!(links.read(&gone), News::Changed);
        assert_eq!(links.read(&[gone, new].concat()), News::CameUp);
    }

    #[test]
    fn broken_announcements_are_none() {
        let mut links = Links::default();
        let whole = link(NEW_LINK, 2, RUNNING);
        for end in 0..whole.len() {
            assert_eq!(links.read(&whole[..end]), News::Nothing, "{end}");
        }
        let mut short = whole.clone();
        short[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(links.read(&short), News::Nothing);
        short[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(links.read(&short), News::Nothing);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_lets_us_listen() {
        watch(|| {}).unwrap();
    }
}
