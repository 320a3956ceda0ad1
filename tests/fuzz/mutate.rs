//! Chance that can be repeated, and changes to JSON, to lines and to bytes.

use serde_json::{Map, Value, json};

/// Longest input that is made, in bytes; the largest frame before the hello is as long.
pub const LONGEST: usize = 65_536;

/// A seeded source of chance (xorshift64*): the same seed gives the same inputs on every machine.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Texts that programs get wrong.
pub const TEXTS: [&str; 20] = [
    "",
    " ",
    "\u{0}",
    "\n",
    "\u{202e}gnp",
    "\u{feff}",
    "é",
    "e\u{301}",
    "𝒳",
    "operator.admin",
    "operator.",
    "node",
    "operator",
    "system.run",
    "__proto__",
    "constructor",
    "|",
    ",",
    "../../etc/passwd",
    "%s%n",
];

/// A value that does not belong where it stands.
fn odd_value(dice: &mut Dice) -> Value {
    match dice.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(0),
        4 => json!(1e308),
        5 => json!(u64::MAX),
        6 => json!(i64::MIN),
        7 => json!(3.5),
        8 => json!([]),
        9 => json!({}),
        10 => json!("x".repeat(dice.below(5_000))),
        11 => (0..dice.below(100)).fold(json!(1), |inner, _| json!([inner])),
        12 => json!(vec!["a"; dice.below(300)]),
        _ => json!(*dice.pick(&TEXTS)),
    }
}

/// Changes one place of a document.
pub fn vary_json(value: &mut Value, dice: &mut Dice) {
    let deeper = dice.below(3) > 0;
    match value {
        Value::Object(members) if deeper && !members.is_empty() => {
            let index = dice.below(members.len());
            if let Some(member) = members.values_mut().nth(index) {
                vary_json(member, dice);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = dice.below(items.len());
            vary_json(&mut items[index], dice);
        }
        Value::Object(members) => vary_members(members, dice),
        Value::Array(items) => match dice.below(3) {
            0 => items.push(odd_value(dice)),
            1 => items.truncate(dice.below(items.len() + 1)),
            _ => items.extend_from_within(..),
        },
        Value::String(text) if dice.once_in(2) => {
            let at = (0..=text.len())
                .filter(|at| text.is_char_boundary(*at))
                .collect::<Vec<_>>();
            let at = *dice.pick(&at);
            text.insert_str(at, dice.pick::<&str>(&TEXTS));
        }
        other => *other = odd_value(dice),
    }
}

fn vary_members(members: &mut Map<String, Value>, dice: &mut Dice) {
    let names: Vec<String> = members.keys().cloned().collect();
    if names.is_empty() || dice.once_in(4) {
        members.insert((*dice.pick(&TEXTS)).to_owned(), odd_value(dice));
        return;
    }
    let (one, other) = (dice.pick(&names).clone(), dice.pick(&names).clone());
    match dice.below(3) {
        0 => {
            members.shift_remove(&one);
        }
        1 => {
            let value = members.get(&other).cloned().unwrap_or_default();
            members.insert(one, value);
        }
        _ => {
            let value = members.shift_remove(&one).unwrap_or_default();
            members.insert(format!("{one}{}", dice.pick::<&str>(&TEXTS)), value);
        }
    }
}

/// Changes some bytes: flipped, left out, doubled, put elsewhere, cut off.
pub fn vary_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            bytes.push(dice.roll() as u8);
            continue;
        }
        let at = dice.below(bytes.len());
        let length = 1 + dice.below((bytes.len() - at).min(64));
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = *dice.pick(b"\0\r\n \t\"\\{}[]:,;/?%\x7f\x80\xff"),
            2 => {
                bytes.drain(at..at + length);
            }
            3 => {
                let piece = bytes[at..at + length].to_vec();
                let to = dice.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => bytes.insert(at, dice.roll() as u8),
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(LONGEST);
}

/// A document of the corpus with a few places changed; sometimes its text is broken as well.
pub fn vary_document(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut text = dice.pick(corpus).clone();
    if let Ok(mut value) = serde_json::from_slice::<Value>(&text) {
        for _ in 0..dice.below(4) {
            vary_json(&mut value, dice);
        }
        text = value.to_string().into_bytes();
    }
    if dice.once_in(5) {
        vary_bytes(&mut text, dice);
    }
    text.truncate(LONGEST);
    text
}

/// A head of the corpus with lines changed; sometimes its bytes as well.
pub fn vary_head(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const LINES: [&str; 12] = [
        "X-Forwarded-For: 203.0.113.9, ::1, [::1]:80, unknown",
        "Forwarded: for=\"[2001:db8::1]\";proto=https",
        "Origin: null",
        "Origin: http://localhost:1",
        "Host: a@b",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: chunked",
        "Authorization: Bearer \t x",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Connection: keep-alive, Upgrade",
        " folded: line",
        "no colon",
    ];
    let head = dice.pick(corpus).clone();
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    for _ in 0..dice.below(4) {
        let at = dice.below(lines.len());
        match dice.below(6) {
            0 => lines.insert(at, (*dice.pick(&LINES)).to_owned()),
            1 => {
                lines.remove(at);
            }
            2 => {
                let copies = vec![lines[at].clone(); dice.below(120)];
                lines.splice(at..at, copies);
            }
            3 => {
                let to = dice.below(lines.len());
                lines.swap(at, to);
            }
            4 => lines[at].push_str(dice.pick::<&str>(&TEXTS)),
            _ => lines[at] = lines[at].to_uppercase(),
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    let mut head = lines.join("\r\n").into_bytes();
    if dice.once_in(4) {
        vary_bytes(&mut head, dice);
    }
    head.truncate(LONGEST);
    head
}

/// What shells treat in a way of their own.
const SHELL_PIECES: [&str; 36] = [
    " ", "\t", "\n", "\r", "\u{0}", "\\", "\\\n", "'", "\"", "`", "$", "$(", "${", ")", "(", "{",
    "}", "<", ">", "<<X", "|", "||", "&", "&&", ";", "#", "!", "=", "~", "*", "$'", "$x", "eval ",
    "A=1 ", "\u{4f60}", "\u{a0}",
];

/// A script of the corpus with pieces put in, taken out or doubled.
pub fn vary_script(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut script = dice.pick(corpus).clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(script.len() + 1);
        match dice.below(8) {
            0 => script.truncate(at),
            1 => script.extend_from_slice(dice.pick::<Vec<u8>>(corpus)),
            2 => {
                let tail = script[at..].repeat(dice.below(40));
                script.extend_from_slice(&tail);
            }
            3 => {
                script.splice(at..(at + 1).min(script.len()), []);
            }
            _ => {
                script.splice(at..at, dice.pick::<&str>(&SHELL_PIECES).bytes());
            }
        }
    }
    script.truncate(LONGEST);
    script
}
