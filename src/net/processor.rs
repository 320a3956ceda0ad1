//! The processor time of a thread, for whoever shares it out.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What the calling thread has computed so far.
pub fn thread_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    // Never negative; a clock that went wrong counts as nothing.
    Duration::try_from(spent).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_counts_and_sleeping_does_not() {
        let begun = thread_time();
        std::thread::sleep(Duration::from_millis(50));
        let slept = thread_time();
        assert!(slept - begun < Duration::from_millis(40));
        let mut sum = 0_u64;
        while thread_time() - slept < Duration::from_millis(2) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
