use proptest::prelude::*;

use super::*;
use crate::exec::document::{AgentPolicy, Source};
use crate::exec::policy::{Effective, HostPolicy, effective};

fn document(text: &str) -> Document {
    let text = format!("{{\"version\":1,{text}}}");
    let mut document = Document::parse(&text).unwrap();
    document.settle();
    document
}

#[test]
fn the_first_thing_that_would_be_allowed_more_is_said() {
    let cases = [
        (r#""defaults":{}"#, r#""defaults":{}"#, None),
        (
            r#""defaults":{}"#,
            r#""defaults":{"security":"deny","ask":"always","askFallback":"deny"}"#,
            None,
        ),
        (
            r#""defaults":{}"#,
            r#""defaults":{"security":"full"}"#,
            Some("security of every agent would go from not set to full"),
        ),
        // Who denies everything asks nobody.
        (
            r#""defaults":{"security":"allowlist","ask":"on-miss","askFallback":"deny"}"#,
            r#""defaults":{"security":"deny"}"#,
            None,
        ),
        (
            r#""defaults":{"security":"allowlist","ask":"always"},"agents":{"a":{"security":"full"}}"#,
            r#""defaults":{"security":"deny","ask":"off"}"#,
            None,
        ),
        (
            r#""defaults":{"security":"allowlist","ask":"always"}"#,
            r#""defaults":{"security":"deny"},"agents":{"a":{"security":"allowlist"}}"#,
            Some("ask of agent a would go from always to not set"),
        ),
        (
            r#""defaults":{"security":"deny"}"#,
            r#""defaults":{}"#,
            Some("security of every agent would go from deny to not set"),
        ),
        // Unset is not narrower than `allowlist`: the machine's configuration may say `full`.
        (
            r#""defaults":{"security":"allowlist"}"#,
            r#""defaults":{}"#,
            Some("security of every agent would go from allowlist to not set"),
        ),
        (
            r#""defaults":{"security":"full"}"#,
            r#""defaults":{}"#,
            None,
        ),
        (
            r#""defaults":{"ask":"always"}"#,
            r#""defaults":{"ask":"on-miss"}"#,
            Some("ask of every agent would go from always to on-miss"),
        ),
        (
            r#""defaults":{"askFallback":"deny"}"#,
            r#""defaults":{}"#,
            Some("askFallback of every agent would go from deny to not set"),
        ),
        (
            r#""agents":{"a":{"security":"deny"}}"#,
            r#""agents":{}"#,
            Some("security of agent a would go from deny to not set"),
        ),
        (
            r#""defaults":{"security":"deny"},"agents":{"a":{}}"#,
            r#""defaults":{"security":"deny"},"agents":{"a":{"security":"allowlist"}}"#,
            Some("security of agent a would go from deny to allowlist"),
        ),
        (
            r#""agents":{"*":{"security":"deny"},"a":{"security":"full"}}"#,
            r#""agents":{"*":{"security":"deny"}}"#,
            None,
        ),
        (
            r#""defaults":{}"#,
            r#""agents":{"*":{"autoAllowSkills":true}}"#,
            Some("autoAllowSkills of every agent would be switched on"),
        ),
        (
            r#""defaults":{"autoAllowSkills":true},"agents":{"a":{"autoAllowSkills":false}}"#,
            r#""defaults":{"autoAllowSkills":true}"#,
            Some("autoAllowSkills of agent a would be switched on"),
        ),
        (
            r#""agents":{"a":{"allowlist":["ls"]}}"#,
            r#""agents":{"b":{"allowlist":["ls"]}}"#,
            Some("agent b would get the rule ls"),
        ),
        // A rule for every agent may become one of some.
        (
            r#""agents":{"*":{"allowlist":["ls"]}}"#,
            r#""agents":{"a":{"allowlist":[" ls "]},"main":{"allowlist":["ls"]}}"#,
            None,
        ),
        (
            r#""agents":{"a":{"allowlist":["ls"]}}"#,
            r#""agents":{"*":{"allowlist":["ls"]}}"#,
            Some("every agent would get the rule ls"),
        ),
        (
            r#""agents":{"a":{"allowlist":[{"pattern":"ls","argPattern":"-l"}]}}"#,
            r#""agents":{"a":{"allowlist":["ls"]}}"#,
            Some("agent a would get the rule ls"),
        ),
        (
            r#""agents":{"a":{"allowlist":["ls"]}}"#,
            r#""agents":{"a":{"allowlist":[{"pattern":"ls","argPattern":"-l"}]}}"#,
            None,
        ),
        (
            r#""agents":{"a":{"allowlist":["=command:00"]}}"#,
            r#""agents":{"a":{"allowlist":[{"pattern":"=command:00","source":"allow-always"}]}}"#,
            Some(
                "agent a would get the rule =command:00 as an approval that sticks (allow-always)",
            ),
        ),
        (
            r#""socket":{"path":"/s","token":"t"}"#,
            r#""socket":{"path":"/s","token":"u"}"#,
            Some("socket.token would be replaced"),
        ),
        (
            r#""socket":{"path":"/s"}"#,
            r#""socket":{"path":"/t"}"#,
            Some("socket.path would be replaced"),
        ),
        (
            r#""agents":{"default":{"allowlist":["ls"]}}"#,
            r#""agents":{"main":{"allowlist":["ls"]}}"#,
            None,
        ),
    ];
    for (before, after, expected) in cases {
        let (before, after) = (document(before), document(after));
        let found = widens(Before::Policy(&before), &after).map(|widening| widening.to_string());
        assert_eq!(found.as_deref(), expected, "{before:?} -> {after:?}");
    }
}

#[test]
fn after_a_broken_file_only_denying_everything_is_narrower() {
    for (after, narrower) in [
        (r#""defaults":{"security":"deny"}"#, true),
        (r#""agents":{"*":{"security":"deny"}}"#, true),
        (r#""defaults":{}"#, false),
        (r#""agents":{"main":{"security":"deny"}}"#, false),
        (
            r#""defaults":{"security":"deny"},"agents":{"a":{"security":"allowlist"}}"#,
            false,
        ),
        (
            r#""defaults":{"security":"deny"},"agents":{"a":{"allowlist":["ls"]}}"#,
            false,
        ),
    ] {
        let found = widens(Before::Broken("line 3"), &document(after));
        assert_eq!(found.is_none(), narrower, "{after}: {found:?}");
    }
}

/// What a run is, as far as the policy can tell runs apart.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The pattern that names its program.
    program: &'static str,
    /// The pattern that means its command text.
    text: &'static str,
    analysis_ok: bool,
    skill: bool,
}

const PATTERNS: [&str; 5] = ["p", "q", "*", "=command:1", "=command:2"];
const KEYS: [&str; 4] = ["*", "main", "a", "b"];

/// The decision table of the specification's section 3.3 for a run nobody approved, written down once more.
fn allowed(policy: &Effective<'_>, run: Run) -> bool {
    let listed = |rule: &&Entry| [run.program, "*"].contains(&rule.pattern.as_str());
    let named = policy.allowlist.iter().any(&listed);
    let satisfied = named || (run.skill && policy.auto_allow_skills);
    let durable = policy
        .allowlist
        .iter()
        .any(|rule| rule.pattern == run.text && rule.is_durable())
        || (run.analysis_ok
            && policy
                .allowlist
                .iter()
                .find(|rule| listed(rule))
                .is_some_and(|rule| rule.is_durable()));
    match (policy.security, policy.ask) {
        (Security::Deny, _) | (_, Ask::Always) => false,
        (Security::Full, _) => true,
        (Security::Allowlist, Ask::Off) => satisfied || durable,
        (Security::Allowlist, Ask::OnMiss) => (run.analysis_ok && satisfied) || durable,
    }
}

/// Whether an approved run starts, and what happens when nobody can be asked.
fn openness(policy: &Effective<'_>) -> (bool, Security) {
    (policy.security != Security::Deny, policy.ask_fallback)
}

fn security() -> impl Strategy<Value = Option<Security>> {
    let values = vec![Security::Deny, Security::Allowlist, Security::Full];
    prop::option::of(prop::sample::select(values))
}

fn ask() -> impl Strategy<Value = Option<Ask>> {
    prop::option::of(prop::sample::select(vec![
        Ask::Always,
        Ask::OnMiss,
        Ask::Off,
    ]))
}

fn rule() -> impl Strategy<Value = Entry> {
    (prop::sample::select(&PATTERNS[..]), any::<bool>()).prop_map(|(pattern, durable)| {
        let mut rule = Entry::new(pattern);
        rule.source = durable.then_some(Source::AllowAlways);
        rule
    })
}

fn scalars() -> impl Strategy<Value = Scalars> {
    (
        security(),
        ask(),
        security(),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(security, ask, ask_fallback, auto_allow_skills)| Scalars {
            security,
            ask,
            ask_fallback,
            auto_allow_skills,
        })
}

fn policy() -> impl Strategy<Value = Document> {
    let agent = (scalars(), prop::collection::vec(rule(), 0..4));
    let agents = prop::collection::vec((prop::sample::select(&KEYS[..]), agent), 0..4);
    (scalars(), agents).prop_map(|(defaults, agents)| {
        let mut document = Document {
            defaults,
            ..Document::default()
        };
        for (key, (scalars, allowlist)) in agents {
            *document.agents.entry(key) = AgentPolicy {
                security: scalars.security,
                ask: scalars.ask,
                ask_fallback: scalars.ask_fallback,
                auto_allow_skills: scalars.auto_allow_skills,
                allowlist,
            };
        }
        document
    })
}

/// One small edit, so that many of the pairs do narrow.
fn edited(document: &Document, at: usize, scalars: Scalars, rule: &Entry, what: u8) -> Document {
    let mut edited = document.clone();
    let count = edited.agents.0.len();
    let Some((_, agent)) = edited.agents.0.get_mut(at % count.max(1)) else {
        edited.defaults = scalars;
        return edited;
    };
    match what % 8 {
        0 => agent.security = scalars.security,
        1 => agent.ask = scalars.ask,
        2 => agent.ask_fallback = scalars.ask_fallback,
        3 => agent.auto_allow_skills = scalars.auto_allow_skills,
        4 => agent.allowlist.push(rule.clone()),
        5 => drop(agent.allowlist.pop()),
        6 => drop(edited.agents.0.remove(at % count)),
        _ => edited.defaults = scalars,
    }
    edited
}

fn assert_narrows(before: &Document, after: &Document) {
    if widens(Before::Policy(before), after).is_some() {
        return;
    }
    let securities = [
        None,
        Some(Security::Deny),
        Some(Security::Allowlist),
        Some(Security::Full),
    ];
    let asks = [None, Some(Ask::Always), Some(Ask::OnMiss), Some(Ask::Off)];
    let agents = [
        None,
        Some("main"),
        Some("a"),
        Some("b"),
        Some("nobody"),
        Some("*"),
    ];
    for (security, ask) in securities
        .iter()
        .flat_map(|s| asks.iter().map(move |a| (*s, *a)))
    {
        let host = HostPolicy {
            security,
            ask,
            ..HostPolicy::default()
        };
        for agent in agents {
            let (was, is) = (
                effective(before, agent, &host),
                effective(after, agent, &host),
            );
            let ((ran, was_fallback), (runs, fallback)) = (openness(&was), openness(&is));
            assert!(runs <= ran, "{agent:?} {host:?}");
            // Where nothing runs, a fallback lets nothing run.
            assert!(!runs || fallback <= was_fallback, "{agent:?} {host:?}");
            for bits in 0..16 {
                let run = Run {
                    program: if bits & 1 == 0 { "p" } else { "q" },
                    text: if bits & 2 == 0 {
                        "=command:1"
                    } else {
                        "=command:2"
                    },
                    analysis_ok: bits & 4 == 0,
                    skill: bits & 8 == 0,
                };
                assert!(
                    allowed(&was, run) || !allowed(&is, run),
                    "{run:?} of {agent:?} under {host:?} is newly allowed"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_called_narrower_allows_nobody_anything_new(before in policy(), after in policy()) {
        assert_narrows(&before, &after);
    }

    #[test]
    fn no_small_edit_that_is_called_narrower_allows_anything_new(
        before in policy(), at in 0..4usize, scalars in scalars(), rule in rule(), what in any::<u8>(),
    ) {
        assert_narrows(&before, &edited(&before, at, scalars, &rule, what));
    }

    #[test]
    fn the_same_policy_and_the_empty_edit_are_narrower(policy in policy()) {
        prop_assert_eq!(widens(Before::Policy(&policy), &policy), None);
    }
}
