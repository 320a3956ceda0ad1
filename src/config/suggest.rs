//! "Did you mean": the nearest known word to one that was mistyped.

/// The known word nearest to `typed`, when it is near enough to be worth naming.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .filter(|word| !word.is_empty())
        .map(|word| (distance(typed, word), word))
        .filter(|(steps, word)| *steps <= tolerance(typed, word))
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, word)| word)
}

/// Up to two edits, but never more than half of the longer word.
fn tolerance(typed: &str, word: &str) -> usize {
    const MOST_EDITS: usize = 2;
    MOST_EDITS.min(typed.chars().count().max(word.chars().count()) / 2)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(from != to);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = last;
        last = current;
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let known = ["list", "status", "approve", "reject", "remove"];
        for (typed, expected) in [
            ("lsit", Some("list")),
            ("aprove", Some("approve")),
            ("statuss", Some("status")),
            ("rejct", Some("reject")),
            ("zzzz", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known.into_iter()), expected, "{typed}");
        }
    }
}
