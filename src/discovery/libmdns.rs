//! The other advertiser, on libmdns: for hosts with one interface, built with `--features libmdns`.
//!
//! It offers what `mdns` offers to the advertiser, as far as libmdns can: it never asks whether somebody has its
//! names, and does not follow the interfaces.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libmdns::{Responder, Service};
use tokio::runtime;

use crate::discovery::beacon::Beacon;
use crate::discovery::found::SERVICE_TYPE;
use crate::discovery::mdns::{Contest, Event, Fault, GOODBYE, PORT};
use crate::net::interfaces::can_share;

/// What the library needs to send a goodbye: told to end, it forgets what it still has to send.
const SENDING: Duration = Duration::from_millis(200);

/// Pause between two looks at a thread that ends.
const LOOK: Duration = Duration::from_millis(5);

/// A published beacon. It stays published until [`Published::end`].
pub struct Published {
    responder: Responder,
    service: Service,
    thread: JoinHandle<()>,
}

impl Published {
    /// Publishes a beacon; its names are not asked for, whatever `_probe` says.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn publish(
        beacon: &Beacon,
        _probe: bool,
        told: impl Fn(Event) + Send + 'static,
    ) -> Result<Published, Fault> {
        can_share(PORT).map_err(|error| Fault::Port(error.to_string()))?;
        let unavailable = |error: std::io::Error| Fault::Unavailable(error.to_string());
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(unavailable)?;
        let (started, has_started) = mpsc::channel();
        let host = beacon.host.clone();
        let serve = move || {
            runtime.block_on(async move {
                match Responder::with_default_handle_and_ip_list_and_hostname(Vec::new(), host) {
                    Ok((responder, task)) => {
                        if started.send(Ok(responder)).is_ok() {
                            task.await;
                        }
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        };
        let thread = thread::Builder::new().name("mdns-responder".to_owned());
        let thread = thread.spawn(serve).map_err(unavailable)?;
        let responder = has_started.recv();
        let responder = responder.map_err(|_| Fault::Unavailable("it ended at once".to_owned()))?;
        let responder = responder.map_err(unavailable)?;
        let pairs = beacon.txt.iter();
        let text: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        let text: Vec<&str> = text.iter().map(String::as_str).collect();
        // The library makes one label of the name only where it has no dot.
        let name = beacon.instance.replace('.', "-");
        let service = responder.register(SERVICE_TYPE, &name, beacon.port, &text);
        told(Event::Announced);
        Ok(Published {
            responder,
            service,
            thread,
        })
    }

    /// The interfaces stay those of the beginning.
    pub fn look_for_interfaces(&self, _seconds: u32) {}

    /// Nobody is asked, so nobody contests.
    ///
    /// # Errors
    /// None.
    pub fn contest(
        &self,
        _beacon: &Beacon,
        _own: &HashSet<IpAddr>,
        _patience: Duration,
    ) -> Result<Contest, Fault> {
        Ok(Contest::default())
    }

    /// Says goodbye and ends, within [`GOODBYE`]. The library always says it.
    pub fn end(self, _goodbye: bool) {
        let deadline = Instant::now() + GOODBYE;
        drop(self.service);
        thread::sleep(SENDING);
        drop(self.responder);
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }
}
