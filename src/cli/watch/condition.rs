//! `--until`: what has to be true of the picture for the command to end.

use std::fmt;

/// How many there are of what is selected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connected now.
    pub connected: usize,
    /// Approved: for nodes, their commands too.
    pub paired: usize,
    /// Requests that wait.
    pub pending: usize,
}

/// `connected`, `disconnected`, `paired`, or a count compared with a number: `pending=0`, `connected>=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'a> {
    /// As it was typed.
    pub typed: &'a str,
    what: What,
    comparison: Comparison,
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Connected,
    Paired,
    Pending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Exactly,
}

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCondition;

impl fmt::Display for NoCondition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "expected connected, disconnected, paired, or a count such as pending=0, paired>=2, connected<=1",
        )
    }
}

impl<'a> Condition<'a> {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`NoCondition`].
    pub fn parse(typed: &'a str) -> Result<Condition<'a>, NoCondition> {
        const OPERATORS: [(&str, Comparison); 3] = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            ("=", Comparison::Exactly),
        ];
        let condition = |what, comparison, number| Condition {
            typed,
            what,
            comparison,
            number,
        };
        match typed {
            "connected" => return Ok(condition(What::Connected, Comparison::AtLeast, 1)),
            "disconnected" => return Ok(condition(What::Connected, Comparison::Exactly, 0)),
            "paired" => return Ok(condition(What::Paired, Comparison::AtLeast, 1)),
            _ => {}
        }
        let split = OPERATORS.iter().find_map(|(operator, comparison)| {
            let (what, number) = typed.split_once(operator)?;
            Some((what.trim(), *comparison, number.trim()))
        });
        let (what, comparison, number) = split.ok_or(NoCondition)?;
        let what = match what {
            "connected" => What::Connected,
            "paired" => What::Paired,
            "pending" => What::Pending,
            _ => return Err(NoCondition),
        };
        let number = number.parse().map_err(|_| NoCondition)?;
        Ok(condition(what, comparison, number))
    }

    /// Whether it is true.
    pub fn holds(&self, counts: &Counts) -> bool {
        let count = match self.what {
            What::Connected => counts.connected,
            What::Paired => counts.paired,
            What::Pending => counts.pending,
        };
        match self.comparison {
            Comparison::AtLeast => count >= self.number,
            Comparison::AtMost => count <= self.number,
            Comparison::Exactly => count == self.number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_counts() {
        let counts = |connected, paired, pending| Counts {
            connected,
            paired,
            pending,
        };
        for (typed, counts, holds) in [
            ("connected", counts(0, 9, 9), false),
            ("connected", counts(2, 0, 0), true),
            ("disconnected", counts(0, 1, 0), true),
            ("disconnected", counts(1, 1, 0), false),
            ("paired", counts(0, 1, 0), true),
            ("paired", counts(1, 0, 1), false),
            ("pending=0", counts(0, 0, 0), true),
            ("pending=0", counts(0, 0, 1), false),
            ("pending >= 1", counts(0, 0, 1), true),
            ("connected>=3", counts(2, 0, 0), false),
            ("paired<=1", counts(0, 1, 0), true),
            ("paired<=1", counts(0, 2, 0), false),
        ] {
            let condition = Condition::parse(typed).unwrap();
            assert_eq!(condition.holds(&counts), holds, "{typed} {counts:?}");
        }
        for typed in [
            "",
            "up",
            "pending",
            "pending=",
            "pending=x",
            "pending=-1",
            "known=1",
            "=1",
        ] {
            assert_eq!(Condition::parse(typed), Err(NoCondition), "{typed}");
        }
    }
}
