//! Log lines and audit lines that a stranger can cause as often as he likes: a few are written, the others
//! are counted and named in one line when the period is over.
//!
//! It owns one throttle per topic. Nothing wakes up while nothing is left out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::limits::throttle::{Line, Throttle};
use crate::gateway::timer::Timer;

/// Log lines of one topic within [`LOG_PERIOD`]: enough to see who it is.
pub const MAX_LOG_LINES: u32 = 30;

/// The period that log lines are counted in.
pub const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Lockouts, crowded sources and refused invitations that are audited within [`AUDIT_PERIOD`]: strangers must not push decisions of the owner
/// out of a trail that is bounded in size.
pub const MAX_AUDITED_LOCKOUTS: u32 = 60;

/// Lines about requests for approvals that nobody else decided, audited within [`AUDIT_PERIOD`]: more than persons are
/// asked, and little beside the size of the trail.
pub const MAX_AUDITED_REQUESTS: u32 = 240;

/// The period that audited lines are counted in.
pub const AUDIT_PERIOD: Duration = Duration::from_secs(60 * 60);

/// What lines are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Topic {
    /// Requests for approvals that were opened, ran out or were withdrawn, in the audit log.
    ApprovalAudit,
    /// Sources whose pairing requests found no place, in the audit log.
    CrowdAudit,
    /// Counted failures.
    Failure,
    /// Lockouts in the audit log.
    LockoutAudit,
    /// Invitations that were refused, in the audit log.
    InvitationAudit,
    /// Runs that nodes report.
    NodeReport,
    /// Frames of sessions that are no JSON.
    Noise,
    /// Devices that wait for an approval, or may not ask for one.
    Pairing,
    /// Connections that were refused.
    Refusal,
    /// Requests of sessions that were answered with an error.
    RefusedRequest,
    /// Sockets that were turned away.
    TurnedAway,
}

impl Topic {
    const ALL: [Topic; 11] = [
        Topic::ApprovalAudit,
        Topic::CrowdAudit,
        Topic::Failure,
        Topic::LockoutAudit,
        Topic::InvitationAudit,
        Topic::NodeReport,
        Topic::Noise,
        Topic::Pairing,
        Topic::Refusal,
        Topic::RefusedRequest,
        Topic::TurnedAway,
    ];

    fn what(self) -> &'static str {
        match self {
            Self::ApprovalAudit => {
                "lines about requests for approvals were not written to the audit log"
            }
            Self::CrowdAudit => {
                "sources whose pairing requests found no place were not written down"
            }
            Self::Failure => "failed attempts were counted without a line",
            Self::LockoutAudit => "lockouts were not written to the audit log",
            Self::InvitationAudit => "refused invitations were not written to the audit log",
            Self::NodeReport => "reports of nodes were taken without a line",
            Self::Noise => "frames that are not JSON were ignored without a line",
            Self::Pairing => "pairing attempts were answered without a line",
            Self::Refusal => "connections were refused without a line",
            Self::RefusedRequest => "requests were refused without a line",
            Self::TurnedAway => "sockets were turned away without a line",
        }
    }

    fn throttle(self) -> Throttle {
        match self {
            Self::ApprovalAudit => Throttle::new(MAX_AUDITED_REQUESTS, AUDIT_PERIOD),
            Self::CrowdAudit | Self::InvitationAudit | Self::LockoutAudit => {
                Throttle::new(MAX_AUDITED_LOCKOUTS, AUDIT_PERIOD)
            }
            _ => Throttle::new(MAX_LOG_LINES, LOG_PERIOD),
        }
    }
}

/// The throttles of one gateway.
#[derive(Debug)]
pub struct Chatter {
    throttles: Mutex<[Throttle; Topic::ALL.len()]>,
}

impl Default for Chatter {
    fn default() -> Self {
        Self {
            throttles: Mutex::new(Topic::ALL.map(Topic::throttle)),
        }
    }
}

impl Chatter {
    /// Whether one more line about `topic` is to be written now.
    pub fn allows(self: &Arc<Self>, topic: Topic, timer: &Timer) -> bool {
        let line = self.with(topic, |throttle| throttle.line(Instant::now()));
        if let Line::SkipUntil(end) = line {
            let weak = Arc::downgrade(self);
            timer.schedule(end, move || {
                if let Some(chatter) = weak.upgrade() {
                    let left_out = chatter.with(topic, Throttle::take_left_out);
                    log::warn!(target: "gateway", "{left_out} further {}", topic.what());
                }
            });
        }
        line == Line::Write
    }

    fn with<T>(&self, topic: Topic, action: impl FnOnce(&mut Throttle) -> T) -> T {
        let mut throttles = self
            .throttles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        action(&mut throttles[topic as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_do_not_silence_each_other_and_one_timer_waits_for_the_count() {
        let (timer, thread) = Timer::start().unwrap();
        let chatter = Arc::new(Chatter::default());
        for _ in 0..MAX_LOG_LINES {
            assert!(chatter.allows(Topic::Refusal, &timer));
        }
        for _ in 0..1_000 {
            assert!(!chatter.allows(Topic::Refusal, &timer));
        }
        assert!(chatter.allows(Topic::Failure, &timer));
        assert_eq!(timer.pending(), 1);
        for (at, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(at, topic as usize);
        }
        timer.stop();
        thread.join().unwrap();
    }
}
