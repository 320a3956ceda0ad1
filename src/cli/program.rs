//! This program as a person types it, so that a line of a message works on the files that the message is about.

use crate::cli::output::text::quoted;
use crate::config::{Environment, Paths};

/// `openclaw`, and the profile where there is one.
pub fn of_profile(profile: Option<&str>) -> String {
    match profile {
        Some(profile) => format!("openclaw --profile {profile}"),
        None => "openclaw".to_owned(),
    }
}

/// `openclaw` for the state directory of a run: with its profile, or with the variable where the directory does not
/// follow from that.
pub fn of_state(paths: &Paths, environment: &Environment) -> String {
    let moved = ["OPENCLAW_STATE_DIR", "OPENCLAW_HOME"];
    match moved.iter().any(|name| environment.setting(name).is_some()) {
        true => {
            let state = quoted(&paths.state_dir.to_string_lossy());
            format!("OPENCLAW_STATE_DIR={state} openclaw")
        }
        false => of_profile(paths.profile.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_to_type_means_the_same_state_directory() {
        let cases = [
            (None, None, "openclaw"),
            (Some("px"), None, "openclaw --profile px"),
            (None, Some("/s t"), "OPENCLAW_STATE_DIR='/s t' openclaw"),
            (Some("px"), Some("/s"), "OPENCLAW_STATE_DIR=/s openclaw"),
        ];
        for (profile, state, typed) in cases {
            let pairs = [("HOME", "/h"), ("OPENCLAW_STATE_DIR", state.unwrap_or(""))];
            let environment = Environment::from_pairs(pairs);
            let paths = Paths::resolve(&environment, profile).unwrap();
            assert_eq!(of_state(&paths, &environment), typed);
        }
    }
}
