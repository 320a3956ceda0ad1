//! Files for the next input of a page that asks for some.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The files that wait for the next input.
#[derive(Debug, Default)]
pub struct Chooser {
    armed: Option<(Vec<String>, Instant)>,
}

impl Chooser {
    /// Gives these files to the next input that asks within `patience`.
    pub fn arm(&mut self, files: Vec<String>, patience: Duration) {
        let now = Instant::now();
        // Beyond the clock's range is as good as never.
        self.armed = Some((files, now.checked_add(patience).unwrap_or(now)));
    }

    /// The answer to an input that has just asked, as params of `DOM.setFileInputFiles`; `None` when it gets none.
    pub fn answer(&mut self, opened: &Value) -> Option<Value> {
        let (mut files, until) = self.armed.take()?;
        let node = opened.get("backendNodeId")?;
        if Instant::now() >= until {
            return None;
        }
        if opened.get("mode").and_then(Value::as_str) == Some("selectSingle") {
            files.truncate(1);
        }
        Some(json!({"files": files, "backendNodeId": node}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_input_gets_the_files_it_can_take_and_no_other_does() {
        let mut chooser = Chooser::default();
        let patient = Duration::from_secs(600);
        let files = || vec!["/a".to_owned(), "/b".to_owned()];
        let single = json!({"mode": "selectSingle", "backendNodeId": 7});
        let many = json!({"mode": "selectMultiple", "backendNodeId": 7});
        assert_eq!(chooser.answer(&single), None);
        chooser.arm(files(), patient);
        let expected = json!({"files": ["/a"], "backendNodeId": 7});
        assert_eq!(chooser.answer(&single), Some(expected));
        assert_eq!(chooser.answer(&single), None);
        chooser.arm(files(), patient);
        let expected = json!({"files": ["/a", "/b"], "backendNodeId": 7});
        assert_eq!(chooser.answer(&many), Some(expected));
        chooser.arm(files(), Duration::ZERO);
        assert_eq!(chooser.answer(&many), None);
    }
}
