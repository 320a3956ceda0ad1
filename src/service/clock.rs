//! Whether something keeps the machine's clock right, as systemd knows.

use std::time::Duration;

use crate::service::ask::Asker;

/// How long the question may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Whether the clock is synchronized with a time server; `None` where nobody knows.
pub fn is_synchronized(asker: &Asker) -> Option<bool> {
    let question = ["show", "--property=NTPSynchronized"];
    let answer = asker.ask("timedatectl", &question, QUESTION).ok()?;
    read(&answer.stdout)
}

fn read(answer: &str) -> Option<bool> {
    match answer.trim() {
        "NTPSynchronized=yes" => Some(true),
        "NTPSynchronized=no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_answer_counts() {
        assert_eq!(read("NTPSynchronized=yes\n"), Some(true));
        assert_eq!(read("NTPSynchronized=no\n"), Some(false));
        assert_eq!(read(""), None);
        assert_eq!(read("NTP=yes"), None);
    }
}
