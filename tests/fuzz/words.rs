//! Words that somebody pastes: setup codes, URLs of gateways, targets of SSH, paths into the configuration.

use openclaw::client::ssh::SshTarget;
use openclaw::client::{GatewayUrl, SetupCode};
use openclaw::config::path::ConfigPath;

use super::mutate::{Dice, TEXTS, vary_bytes};

/// A word of the corpus with a piece changed.
pub fn vary(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut word = dice.pick(corpus).clone();
    if dice.once_in(2) {
        let at = dice.below(word.len() + 1);
        let piece = match dice.below(3) {
            0 => dice.pick::<&str>(&TEXTS).as_bytes().to_vec(),
            1 => dice.pick(b":/@[]%?#.-\\ 0a").to_string().into_bytes(),
            _ => dice.pick::<Vec<u8>>(corpus).clone(),
        };
        word.splice(at..at, piece);
    }
    if dice.once_in(2) {
        vary_bytes(&mut word, dice);
    }
    word.truncate(4_096);
    word
}

pub fn accepts(input: &[u8]) -> bool {
    let word = String::from_utf8_lossy(input);
    GatewayUrl::parse(&word).is_ok() || SshTarget::parse(&word).is_ok()
}

/// What is taken means the same when it is written down and read again, and leads nowhere by a trick.
pub fn check(input: &[u8]) -> Result<(), String> {
    let word = String::from_utf8_lossy(input);
    if let Ok(url) = GatewayUrl::parse(&word) {
        let text = url.to_string();
        if text.contains(|letter: char| letter.is_control() || letter.is_whitespace()) {
            return Err(format!("{text:?} would move a terminal"));
        }
        if !text.starts_with("ws://") && !text.starts_with("wss://") {
            return Err(format!("another scheme: {text:?}"));
        }
        let again = GatewayUrl::parse(&text).map_err(|fault| format!("{fault:?} in {text:?}"))?;
        if again.to_string() != text {
            return Err(format!("{text:?} is {again} when read again"));
        }
    }
    if let Ok(target) = SshTarget::parse(&word) {
        let shown = target.to_string();
        let again = SshTarget::parse(&shown);
        if again.as_ref() != Ok(&target) {
            return Err(format!("{shown:?} is {again:?} when read again"));
        }
        // What begins with a dash would be an option of ssh.
        if shown.starts_with('-') {
            return Err(format!("{shown:?} is an option"));
        }
    }
    if let Ok(code) = SetupCode::decode(&word) {
        let shown = format!("{code:?}");
        let secret = code.secret.as_str();
        if secret.len() > 8 && shown.contains(secret) {
            return Err(format!("a secret shows itself: {shown}"));
        }
        if let Some(url) = &code.url {
            let again = SetupCode::decode(&SetupCode::encode(&url.to_string(), &code.secret));
            if again.is_err() {
                return Err(format!("{shown} is refused when read again"));
            }
        }
    }
    if let Ok(path) = ConfigPath::parse(&word) {
        if path.segments().is_empty() || path.segments().iter().any(String::is_empty) {
            return Err(format!("an empty segment of {word:?}"));
        }
    }
    Ok(())
}
