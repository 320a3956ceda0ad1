//! What service commands answer: one document for every action, the same in words, and what to do next
//! (node-host §5.4, cli.md §2.6).

use serde_json::{Map, Value, json};

use crate::cli::answer::{Answer, FAILURE};
use crate::cli::service::is_no_manager;
use crate::cli::service::place::{LAUNCHD, Place};
use crate::service::{Kind, Manager, ServiceError, UnitFile};

/// One command under way.
pub struct Action<'a> {
    /// `install`, `start`, `stop`, `restart` or `uninstall`.
    pub word: &'static str,
    /// The service.
    pub place: &'a Place,
}

/// One line of advice and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What it is about, for programs.
    pub kind: &'static str,
    /// The command or sentence.
    pub text: String,
}

impl Action<'_> {
    fn kind(&self) -> Kind {
        self.place.name.kind
    }

    fn title(&self) -> &'static str {
        self.kind().title()
    }

    /// A success.
    pub fn done(&self, result: &str, text: String) -> Answer {
        self.success(result, None, text)
    }

    /// A success with a message of its own.
    pub fn success(&self, result: &str, message: Option<&str>, text: String) -> Answer {
        let mut document = self.document(true);
        document.insert("result".to_owned(), json!(result));
        if let Some(message) = message {
            document.insert("message".to_owned(), json!(message));
        }
        let loaded = match self.word {
            "uninstall" => false,
            "install" => true,
            _ => self.place.is_loaded().unwrap_or(false),
        };
        document.insert("service".to_owned(), service(&self.place.manager(), loaded));
        Answer::new(Value::Object(document), text)
    }

    /// There is no such service; whether that is a failure depends on what was wanted.
    pub fn not_loaded(&self, failed: bool) -> Answer {
        let message = format!("{} service disabled.", self.title());
        let mut document = self.document(!failed);
        document.insert("result".to_owned(), json!("not-loaded"));
        document.insert("message".to_owned(), json!(message));
        let hints = match failed {
            true => hints(self.place, None),
            false => Vec::new(),
        };
        add(&mut document, &hints);
        document.insert("service".to_owned(), service(&self.place.manager(), false));
        let lines = hints
            .iter()
            .map(|hint| format!("\nStart with: {}", hint.text));
        let text = message.clone() + &lines.collect::<String>();
        let answer = Answer::new(Value::Object(document), text);
        if failed { answer.exit(FAILURE) } else { answer }
    }

    /// It was not done, for this reason.
    pub fn refused(&self, error: String, hints: Vec<Hint>) -> Answer {
        let mut document = self.document(false);
        document.insert("error".to_owned(), json!(error));
        add(&mut document, &hints);
        let mut answer = Answer::new(Value::Object(document), "").note(error);
        // Without a service manager a person needs one first: what asks it would fail alike.
        let no_manager = hints.iter().any(|hint| hint.kind == "systemd-unavailable");
        let asks_it = |hint: &Hint| no_manager && matches!(hint.kind, "generic" | "install");
        for hint in hints.into_iter().filter(|hint| !asks_it(hint)) {
            answer = answer.note(format!("Tip: {}", hint.text));
        }
        answer.exit(FAILURE)
    }

    /// The service manager refused, or could not be asked.
    pub fn failed(&self, fault: &ServiceError) -> Answer {
        let (title, word) = (self.title(), self.word);
        let hints = match is_no_manager(fault) {
            true => hints(self.place, Some(fault)),
            false => Vec::new(),
        };
        self.refused(
            format!("{title} {word} failed: {}", self.reason(fault)),
            hints,
        )
    }

    /// Whether the service is installed could not be found out.
    pub fn check_failed(&self, fault: &ServiceError) -> Answer {
        if matches!(fault, ServiceError::ManagerMissing(_)) {
            return self.failed(fault);
        }
        let error = format!(
            "{} service check failed: {}",
            self.title(),
            self.reason(fault)
        );
        self.refused(error, hints(self.place, Some(fault)))
    }

    /// The machine's configuration is made by Nix, which no command may change.
    pub fn nix(&self) -> Answer {
        let word = self.word;
        self.refused(
            format!("Nix mode detected; service {word} is disabled."),
            Vec::new(),
        )
    }

    /// The unit is somebody else's to remove.
    pub fn not_ours(&self, source: &UnitFile) -> Answer {
        let (title, path) = (self.title(), source.path.display());
        let whose = source.whose().unwrap_or("the administrator's");
        let why = format!("{path} is {whose}, which uninstall leaves alone.");
        let error = format!("{title} uninstall failed: {}", self.reason(&why));
        let hint = |text: String| Hint {
            kind: "generic",
            text,
        };
        let mut hints = vec![hint(self.place.disable())];
        if source.is_packaged {
            hints.push(hint("sudo apt remove openclaw".to_owned()));
        }
        self.refused(error, hints)
    }

    /// Scripts for the node host look for the prefix (node-host §5.4).
    fn reason(&self, fault: &impl std::fmt::Display) -> String {
        match self.kind() {
            Kind::Node => format!("Error: {fault}"),
            Kind::Gateway => fault.to_string(),
        }
    }

    /// `Started systemd service: openclaw-node.service`.
    pub fn verb(&self, verb: &str) -> String {
        let place = self.place;
        match LAUNCHD {
            true => format!("{verb} LaunchAgent: {}", place.name.label()),
            false => format!("{verb} systemd service: {}", place.unit),
        }
    }

    /// What an uninstall says.
    pub fn removed(&self, there_was: bool) -> String {
        let file = self.place.manager().file();
        let file = file.display();
        match (LAUNCHD, there_was) {
            (true, true) => format!("Moved LaunchAgent to Trash: {file}"),
            (true, false) => format!("LaunchAgent not found at {file}"),
            (false, true) => format!("Removed systemd service: {file}"),
            (false, false) => format!("Systemd service not found at {file}"),
        }
    }

    fn document(&self, ok: bool) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("action".to_owned(), json!(self.word));
        document.insert("ok".to_owned(), json!(ok));
        document
    }
}

/// The block that names the manager and says whether it has the service.
pub fn service(manager: &Manager, loaded: bool) -> Value {
    let (yes, no) = manager.loaded_words();
    json!({"label": manager.label(), "loaded": loaded, "loadedText": yes, "notLoadedText": no})
}

fn add(document: &mut Map<String, Value>, hints: &[Hint]) {
    if hints.is_empty() {
        return;
    }
    let texts: Vec<&str> = hints.iter().map(|hint| hint.text.as_str()).collect();
    let items = hints
        .iter()
        .map(|hint| json!({"kind": hint.kind, "text": hint.text}));
    document.insert("hints".to_owned(), json!(texts));
    document.insert("hintItems".to_owned(), items.collect());
}

/// What to do about a service that is not there, or cannot be.
pub fn hints(place: &Place, fault: Option<&ServiceError>) -> Vec<Hint> {
    let hint = |kind, text: String| Hint { kind, text };
    let own = |word: &str| place.command_as_owner(word);
    let by_hand = match LAUNCHD {
        true => {
            let label = place.name.label();
            format!("launchctl bootstrap gui/$UID ~/Library/LaunchAgents/{label}.plist")
        }
        false => place.systemctl("start"),
    };
    let mut hints = match place.is_offered() {
        // What nobody has enabled needs no unit of its own.
        true => {
            let mut hints = vec![
                hint("install", place.systemctl("enable --now")),
                hint("generic", own("install")),
            ];
            let machine = place.of_the_machine();
            if !place.system && machine.is_offered() {
                hints.push(hint("generic", machine.systemctl("enable --now")));
            }
            hints
        }
        false => vec![
            hint("install", own("install")),
            hint("generic", own("start")),
            hint("generic", by_hand),
        ],
    };
    let Some(fault) = fault.filter(|fault| is_no_manager(fault)) else {
        return hints;
    };
    let (noun, foreground) = (place.name.kind.noun(), place.name.kind.foreground());
    hints.push(hint(
        "systemd-unavailable",
        format!("systemd user services are unavailable; install/enable systemd or run the {noun} under your supervisor."),
    ));
    if let ServiceError::NoUserBus { .. } = fault {
        hints.push(hint(
            "systemd-headless",
            "Without a desktop session the user's systemd has to stay by itself: sudo loginctl enable-linger \"$(id -un)\"".to_owned(),
        ));
        hints.push(hint(
            "systemd-headless",
            "This shell must know where it is: export XDG_RUNTIME_DIR=/run/user/$(id -u)"
                .to_owned(),
        ));
    }
    if !place.environment.in_container() {
        hints.push(hint(
            "container-foreground",
            format!("If you're in a container, run the {noun} in the foreground instead of installing it: {foreground}"),
        ));
    }
    hints
}
