//! What Prometheus is told: who may ask, that it is in the format word for word, and that the figures are true.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::device::Device;
use crate::support::job::whole_job_of;
use crate::support::peer::{Peer, node_params, operator_params};
use crate::support::process::{Gateway, SECRET, http};
use crate::support::reloading::{applied, config, logged, replace, start};
use crate::support::{tls, wait_for};

const ON: &str = "metrics: { enabled: true }";

/// A request as from behind a proxy that nobody trusts: not from this machine, whoever sends it.
fn from_elsewhere(gateway: &Gateway, authorization: &str) -> String {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n{authorization}\r\n"
    );
    http(gateway.address, &request)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Labels of a sample, by name.
type Labels = BTreeMap<String, String>;

/// One page, read by the rules of the text format 0.0.4 and by no code of the program.
#[derive(Default)]
struct Page {
    kinds: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Page {
    #[track_caller]
    fn read(text: &str) -> Page {
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
        let mut page = Page::default();
        let mut helped = BTreeSet::new();
        let mut current = String::new();
        let mut seen = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "helped twice: {line}");
                assert!(is_name(name) && !words.is_empty(), "{line}");
                unescape(words, &['\\', 'n']);
                current = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current, "type behind its help: {line}");
                assert!(
                    ["counter", "gauge", "histogram", "summary"].contains(&kind),
                    "{line}"
                );
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(
                    page.kinds
                        .insert(name.to_owned(), kind.to_owned())
                        .is_none()
                );
            } else {
                let (name, labels, value) = sample(line);
                let kind = page
                    .kinds
                    .get(&current)
                    .unwrap_or_else(|| panic!("untyped: {line}"));
                let suffixes: &[&str] = match kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    _ => &[""],
                };
                let own = suffixes
                    .iter()
                    .any(|suffix| name == format!("{current}{suffix}"));
                assert!(own, "outside its family {current}: {line}");
                assert!(
                    seen.insert((name.clone(), labels.clone())),
                    "said twice: {line}"
                );
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                page.samples.push((name, labels, value));
            }
        }
        page.check_histograms();
        page
    }

    #[track_caller]
    fn check_histograms(&self) {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let bucket = format!("{name}_bucket");
            let buckets: Vec<(f64, f64)> = self
                .samples
                .iter()
                .filter(|(sample, ..)| *sample == bucket)
                .map(|(_, labels, count)| (number(&labels["le"]), *count))
                .collect();
            let grows = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(buckets.windows(2).all(grows), "{buckets:?}");
            let (bound, all) = *buckets.last().unwrap();
            assert_eq!(
                (bound, all),
                (f64::INFINITY, self.value(&format!("{name}_count"), &[]))
            );
        }
    }

    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Labels = labels
            .iter()
            .map(|(label, word)| ((*label).to_owned(), (*word).to_owned()))
            .collect();
        let found = self
            .samples
            .iter()
            .find(|(sample, labels, _)| sample == name && *labels == wanted);
        found.unwrap_or_else(|| panic!("no {name} {labels:?}")).2
    }

    fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|(sample, ..)| sample == name)
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// The text behind escapes, of which only those in `known` may stand there.
#[track_caller]
fn unescape(text: &str, known: &[char]) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        let escaped = letters
            .next()
            .unwrap_or_else(|| panic!("open escape: {text}"));
        assert!(known.contains(&escaped), "unknown escape: {text}");
        plain.push(if escaped == 'n' { '\n' } else { escaped });
    }
    plain
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        digits => {
            assert!(
                digits.starts_with(|first: char| first.is_ascii_digit() || first == '-'),
                "{text}"
            );
            digits.parse().unwrap()
        }
    }
}

/// `name{label="value",…} number`.
#[track_caller]
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line
        .find(['{', ' '])
        .unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let mut escaped = false;
            let close = value.find(|letter| {
                let closes = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                closes
            });
            let (word, behind) = value.split_at(close.unwrap_or_else(|| panic!("open: {line}")));
            let word = unescape(word, &['\\', '"', 'n']);
            assert!(labels.insert(label.to_owned(), word).is_none(), "{line}");
            rest = &behind[1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), labels, number(value))
}

#[test]
fn metrics_are_off_until_they_are_enabled_and_need_no_restart() {
    let gateway = start("");
    let missing = gateway.get("/metrics");
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    replace(&gateway, &config(gateway.address.port(), SECRET, ON));
    logged(&gateway, &applied("gateway.metrics.enabled"), 1);
    let answer = gateway.get("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\r\nCache-Control: no-store\r\n"),
        "{answer}"
    );
    Page::read(body(&answer));
    replace(&gateway, &config(gateway.address.port(), SECRET, ""));
    logged(&gateway, &applied("gateway.metrics.enabled"), 2);
    assert!(gateway.get("/metrics").starts_with("HTTP/1.1 404 "));
}

#[test]
fn metrics_are_read_with_get_and_head_alone() {
    let gateway = start(ON);
    let ask = |method: &str| {
        http(
            gateway.address,
            &format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
    };
    let head = ask("HEAD");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && body(&head).is_empty(),
        "{head}"
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    assert!(length.unwrap().parse::<usize>().unwrap() > 1_000, "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(method);
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
}

#[test]
fn a_page_that_leads_its_name_to_this_machine_reads_neither_metrics_nor_details() {
    let gateway = start(ON);
    let ask = |path: &str, lines: &str| {
        http(
            gateway.address,
            &format!("GET {path} HTTP/1.1\r\n{lines}\r\n"),
        )
    };
    let port = gateway.address.port();
    let bearer = format!("Host: evil.example\r\nAuthorization: Bearer {SECRET}\r\n");
    for (lines, shown) in [
        (format!("Host: 127.0.0.1:{port}\r\n"), true),
        (format!("Host: [::1]:{port}\r\n"), true),
        ("Host: LOCALHOST\r\n".to_owned(), true),
        (bearer, true),
        (format!("Host: evil.example:{port}\r\n"), false),
        (String::new(), false),
        (
            "Host: localhost\r\nOrigin: http://evil.example\r\n".to_owned(),
            false,
        ),
    ] {
        let page = ask("/metrics", &lines);
        let status = if shown { "200 OK" } else { "401 Unauthorized" };
        assert!(
            page.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{lines}{page}"
        );
        assert_eq!(page.contains("openclaw_"), shown, "{lines}{page}");
        let ready = ask("/readyz", &lines);
        assert!(ready.starts_with("HTTP/1.1 200 OK\r\n"), "{lines}{ready}");
        assert_eq!(ready.contains("uptimeMs"), shown, "{lines}{ready}");
    }
}

#[test]
fn from_elsewhere_only_the_shared_secret_opens_the_metrics_and_guessing_locks_out() {
    let gateway = start(&format!("{ON}, trustedProxies: ['127.0.0.1']"));
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    let right = from_elsewhere(&gateway, &bearer(SECRET));
    assert!(right.starts_with("HTTP/1.1 200 OK\r\n"), "{right}");
    let none = from_elsewhere(&gateway, "");
    assert!(none.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{none}");
    assert!(none.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{none}");
    assert!(!none.contains("openclaw_"), "{none}");
    for _ in 0..10 {
        let wrong = from_elsewhere(&gateway, &bearer("wrong"));
        assert!(wrong.starts_with("HTTP/1.1 401 "), "{wrong}");
    }
    for secret in ["wrong", SECRET] {
        let locked = from_elsewhere(&gateway, &bearer(secret));
        assert!(
            locked.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
            "{locked}"
        );
        let after = locked
            .lines()
            .find_map(|line| line.strip_prefix("Retry-After: "));
        let after: u64 = after.unwrap().parse().unwrap();
        assert!((1..=300).contains(&after), "{locked}");
    }
    let page = Page::read(body(&gateway.get("/metrics")));
    let shared = [("credential", "shared-secret")];
    assert_eq!(page.value("openclaw_auth_failures_total", &shared), 10.0);
    assert_eq!(page.value("openclaw_auth_lockouts_total", &shared), 1.0);
    assert_eq!(page.value("openclaw_auth_locked_clients", &[]), 1.0);
}

#[test]
fn the_figures_tell_what_happened() {
    let gateway = start(ON);
    let look = || Page::read(body(&gateway.get("/metrics")));
    let before = look();
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
        "process_start_time_seconds",
        "openclaw_start_time_seconds",
        "openclaw_connections_limit",
    ] {
        assert!(before.value(name, &[]) > 0.0, "{name}");
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(before.value("openclaw_build_info", &version), 1.0);
    assert_eq!(before.value("openclaw_phase", &[("phase", "ready")]), 1.0);
    assert_eq!(
        before.value("openclaw_discovery_state", &[("state", "off")]),
        1.0
    );
    assert!(!before.has("openclaw_tls_certificate_expiry_timestamp_seconds"));

    let device = Device::new();
    let operator = Peer::operator(gateway.address, &gateway.token);
    let wrong = operator_params("wrong", &["operator.read"]);
    assert!(Peer::connect(gateway.address, wrong, Some(&Device::new())).is_err());
    let node = Peer::node(gateway.address, &gateway.token, &device, &["system.which"]).unwrap();
    let during = look();
    let sessions = |role: &str, mode: &str| {
        during.value("openclaw_sessions", &[("role", role), ("mode", mode)])
    };
    let node_mode = node_params("", &[])["client"]["mode"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(sessions("node", &node_mode), 1.0);
    assert_eq!(during.value("openclaw_connected_nodes", &[]), 1.0);
    assert_eq!(
        during.value("openclaw_pending_requests", &[("layer", "node")]),
        1.0
    );
    assert_eq!(during.value("openclaw_paired_devices", &[]), 1.0);
    assert_eq!(during.value("openclaw_paired_nodes", &[]), 0.0);
    whole_job_of(operator, node, &device);

    let after = wait_for("the node to leave", || {
        let page = look();
        (page.value("openclaw_connected_nodes", &[]) == 0.0).then_some(page)
    });
    for (name, labels, expected) in [
        ("openclaw_handshakes_total", [("outcome", "admitted")], 2.0),
        ("openclaw_handshakes_total", [("outcome", "refused")], 1.0),
        (
            "openclaw_handshakes_refused_total",
            [("reason", "credentials_wrong")],
            1.0,
        ),
        (
            "openclaw_auth_failures_total",
            [("credential", "shared-secret")],
            1.0,
        ),
        ("openclaw_invokes_total", [("outcome", "ok")], 1.0),
        ("openclaw_invokes_total", [("outcome", "timed_out")], 0.0),
        ("openclaw_pending_requests", [("layer", "node")], 0.0),
        ("openclaw_saves_total", [("outcome", "failed")], 0.0),
        ("openclaw_audit_lines_total", [("outcome", "lost")], 0.0),
    ] {
        assert_eq!(after.value(name, &labels), expected, "{name} {labels:?}");
    }
    for (name, labels) in [
        ("openclaw_saves_total", &[("outcome", "ok")][..]),
        ("openclaw_save_duration_seconds_sum", &[]),
        ("openclaw_audit_lines_total", &[("outcome", "written")]),
        ("openclaw_received_bytes_total", &[]),
        ("openclaw_sent_bytes_total", &[]),
        ("openclaw_invoke_duration_seconds_sum", &[]),
        ("openclaw_requests_total", &[("outcome", "answered")]),
        ("openclaw_http_requests_total", &[("endpoint", "metrics")]),
    ] {
        assert!(
            after.value(name, labels) > before.value(name, labels),
            "{name}"
        );
    }
    assert_eq!(
        after.value("openclaw_invoke_duration_seconds_count", &[]),
        1.0
    );
    let text = gateway.get("/metrics");
    for hidden in [SECRET, &device.id, "127.0.0.1", "system.which"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

#[test]
fn under_tls_the_end_of_the_certificate_is_told() {
    let port = crate::support::process::free_port();
    let home = crate::support::home::Home::new();
    home.write_config(&config(
        port,
        SECRET,
        &format!("{ON}, tls: {{ enabled: true }}"),
    ));
    let gateway = Gateway::start_at(home, port);
    let page = Page::read(body(&tls::get(&gateway, "/metrics")));
    let end = page.value("openclaw_tls_certificate_expiry_timestamp_seconds", &[]);
    let start = page.value("openclaw_start_time_seconds", &[]);
    let years = (end - start) / (365.25 * 24.0 * 3_600.0);
    assert!((9.9..10.1).contains(&years), "{years}");
    // A plain client fails before it asks for anything.
    let _ = gateway.get("/metrics");
    let page = Page::read(body(&tls::get(&gateway, "/metrics")));
    assert_eq!(
        page.value("openclaw_tls_handshake_failures_total", &[]),
        1.0
    );
    assert_eq!(
        json!(page.value("openclaw_sent_bytes_total", &[])),
        json!(0.0)
    );
}
